"""The joint model for CP-SAT: placement, residency, order, lateness and budget in one, over one horizon.

``data`` prunes, ``variables`` declares, ``constraints`` and ``objective`` relate, ``hint`` and ``result`` translate.
"""
