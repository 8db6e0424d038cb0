"""What no plan can cost less than: workflows alone on an empty fleet, and a linear relaxation of who shares it.

``completion`` is about single workflows, :mod:`maestro_solver.shop.energy` about all of them together,
``lower_bound`` is the better of both.
"""
