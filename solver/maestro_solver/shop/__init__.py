"""The shop: stages on accelerators as flat arrays, a compiled list scheduler, and a search over what it places.

Snapshots and core instances are both laid out as a :class:`~maestro_solver.shop.data.Shop`; what is found comes back as
a :class:`~maestro_solver.shop.data.Timeline`. The way through the room: data, decoder, search.
"""
