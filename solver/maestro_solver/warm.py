"""Fill the cache of compiled code: ``python -m maestro_solver.warm``, once after an installation.

Without it the first plan pays for compiling; with it, start-up only loads what is on disk. A process that plans under a
limit calls :func:`warm` first.
"""

from __future__ import annotations

import numpy as np

from maestro.errors import MaestroError
from maestro_solver.discretize import discretize
from maestro_solver.grid import Grid
from maestro_solver.planner.generate import generate
from maestro_solver.search.layout import lay_out
from maestro_solver.shop.decoder import order_by_key
from maestro_solver.shop.search import Budget, KeySearch

_MOVES = 20


def warm() -> None:
    """Load, or compile and keep, every compiled function by searching a tiny snapshot."""
    snapshot = generate("small", 4, 2)
    layout = lay_out(discretize(snapshot, Grid.suited(snapshot), horizon_s=60.0))
    if layout is None:
        raise MaestroError("a generated snapshot has no place for its stages")
    order = order_by_key(layout.shop, np.arange(layout.positions.size, dtype=np.float64))
    KeySearch(layout.shop, order, 1.0, seed=0, workers=1).run(Budget(lambda: 0.0, 0.0, _MOVES))


if __name__ == "__main__":
    warm()
