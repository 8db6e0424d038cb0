"""How the planner's inner loops are compiled.

Compiled code releases the interpreter's lock, so that searches run side by side in threads, and is kept on disk beside
the sources, so that only the first run after an installation compiles.

The cache of a function is renewed when its own file changes, not when a function of another file does that it calls:
after an edit, remove the ``*.nbi`` and ``*.nbc`` files beside the sources.

A constant that compiled code hands to other compiled code is made by ``constant``: a bare number has a type of its own,
and everything called with it would be compiled once more for that one value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar, cast

import numba
import numpy as np

_Function = TypeVar("_Function", bound=Callable[..., Any])


_OPTIONS: Final[Mapping[str, Any]] = {"cache": True, "nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
_PART_OPTIONS: Final[Mapping[str, Any]] = {**_OPTIONS, "no_cpython_wrapper": True}


def compiled(function: _Function) -> _Function:
    """The function as machine code; it takes numbers, arrays and named tuples of arrays only."""
    return cast("_Function", numba.njit(**_OPTIONS)(function))


def compiled_part(function: _Function) -> _Function:
    """The same for a function that only compiled code calls: there is no way in from Python, which compiles faster."""
    return cast("_Function", numba.njit(**_PART_OPTIONS)(function))


def constant(value: int) -> int:
    """The number, with the type that every other number has in compiled code."""
    return cast("int", np.int64(value))
