"""Simulated engines: requests share an accelerator by the performance model, weights share a node's links.

Both are told the time and say when something happens next; neither knows of schedulers or nodes.
"""
