"""The joint model for CP-SAT: place, start and residency of the stages and accelerators in its scope, in one.

``scope`` says what is free, ``data`` prunes, ``variables`` declares and hints, ``constraints`` and ``objective``
relate, ``result`` translates back. With everything in scope it is the exact model; with a part, a neighbourhood.
"""
