"""The plan checker's families of constraints, one module each.

They read snapshots and plans in seconds and bytes as they stand and share no code with the heuristics or the model.
"""
