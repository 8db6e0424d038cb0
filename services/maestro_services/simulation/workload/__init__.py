"""What is simulated: workflow shapes with true lengths, when they arrive, and on which models they fall.

Shapes come from recorded traces or from synthetic families fitted to them.
"""
