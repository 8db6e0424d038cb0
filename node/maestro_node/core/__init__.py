"""What a node may do next: memory ledger, replica lives, attempts. Pure values and rules, no clock, socket or task.

The live server and the simulator drive the same :class:`~maestro_node.core.node.NodeCore`.
"""
