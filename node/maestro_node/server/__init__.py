"""The running node: gRPC service, agent, registration with the scheduler. ``serve`` puts it together.

Decisions are in ``maestro_node.core``; this room carries them out.
"""
