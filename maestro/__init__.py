"""Maestro: a scheduler for multi-agent LLM workflows. The domain that all parts share, and the client."""
