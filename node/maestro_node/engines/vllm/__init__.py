"""vLLM as an engine: its OpenAI server as a process tree a replica, spoken to over a unix socket.

``command`` says how it is started, ``process`` starts and stops it, ``client`` speaks HTTP, ``stream`` reads its
events, ``engine`` puts them together. Documented interfaces of vLLM only.
"""

from maestro_node.engines.vllm.engine import VllmEngine

__all__ = ["VllmEngine"]
