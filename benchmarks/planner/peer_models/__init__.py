"""Other solvers' models of the instances that they can express, each with one ``solve(problem, limit_s, workers)``.

They schedule stages on accelerators whose models stay; loading and evicting is beyond two of the three.
"""
