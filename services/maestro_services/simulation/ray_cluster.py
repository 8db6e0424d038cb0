"""Runs the seeds of a sweep on a Ray cluster instead of in processes of this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any, TypeVar

from maestro.errors import InvalidInputError

LOCAL = "local"
"""The address that stands for a cluster of this machine's cores, started for the sweep and ended after it."""

Found = TypeVar("Found")


def on_ray(address: str, task: Callable[[int], Found], seeds: Sequence[int], cores: int) -> Iterator[Found]:
    """What ``task`` returns for each seed, in the order in which they end; each takes a core of the cluster.

    ``address``: of a running cluster (``auto``: the one of this machine), or ``local``, then with ``cores`` cores. The
    machines of a cluster need this version of Maestro installed. Raises InvalidInputError where Ray is not installed
    or there is no cluster at the address.
    """
    ray = _ray()
    try:
        if address == LOCAL:
            ray.init(num_cpus=cores, include_dashboard=False, log_to_driver=False, configure_logging=False)
        else:
            ray.init(address, log_to_driver=False, configure_logging=False)
    except Exception as error:  # Ray raises plain exceptions where it cannot start
        raise InvalidInputError("ray", f"has no cluster there: {error}", value=address, remedy="use local") from error
    at_work = ray.remote(num_cpus=1)(_plain(task))
    try:
        pending = [at_work.remote(seed) for seed in seeds]
        while pending:
            done, pending = ray.wait(pending)
            yield from ray.get(done)
    finally:
        ray.shutdown()


def _plain(task: Callable[[int], Found]) -> Callable[[int], Found]:
    """The task as a plain function, which is all that Ray takes."""

    def plain(seed: int) -> Found:
        return task(seed)

    return plain


def _ray() -> Any:
    """The module, which is an extra."""
    try:
        return import_module("ray")
    except ImportError as error:
        raise InvalidInputError(
            "ray", "needs Ray, which is not installed", remedy='pip install "maestro-llm[ray]"'
        ) from error
