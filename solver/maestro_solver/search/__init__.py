"""Search on snapshots: a snapshot's instance laid out as a shop, searched, and brought back as a schedule.

The way through the room: layout, portfolio and key search on the shop, neighbourhoods by CP-SAT, bounds.
"""
