"""Large-neighbourhood search with CP-SAT: free a part of the incumbent, residencies included, and solve it exactly.

``state`` describes the incumbent, ``choose`` picks what is free, ``bandit`` learns which picks pay, ``search`` loops.
"""
