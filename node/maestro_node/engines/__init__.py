"""Engines that run models, behind one narrow interface (``interface.py``).

``vllm`` drives vLLM's OpenAI server, one process tree a replica; ``simulated`` serves tests and the simulator.
"""
