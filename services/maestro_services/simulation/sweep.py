"""Runs the seeds of one experiment, one after the other or in several processes, and resumes what was interrupted."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path

from maestro.errors import InvalidInputError
from maestro_services.simulation.experiment import Experiment, Result, run
from maestro_services.simulation.policies import policy_named
from maestro_services.simulation.ray_cluster import on_ray

SeedProgress = Callable[[int, float], None]
"""Told a seed and the share of it that is done."""


def sweep(
    experiment: Experiment,
    policy: str,
    seeds: Sequence[int],
    *,
    out: Path | None = None,
    jobs: int = 1,
    ray: str | None = None,
    progress: SeedProgress | None = None,
) -> dict[str, list[Result]]:
    """``{"seeds": [...]}`` with a result for every seed, in order, the same however the seeds are shared out.

    They are run in ``jobs`` processes, or on the Ray cluster at the address ``ray`` (see ``on_ray``).
    With ``out``, every result is written there as soon as it is known, and seeds that stand there already are not run
    again. Raises InvalidInputError where the file holds something else, or cannot be written.
    """
    policy_named(policy)
    identity = fingerprint(experiment, policy)
    known = _read(out, identity) if out is not None else {}
    missing = [seed for seed in seeds if seed not in known]
    for result in _run(experiment, policy, missing, jobs, ray, progress):
        known[result["seed"]] = result
        if out is not None:
            _write(out, identity, known)
    return {"seeds": [known[seed] for seed in seeds]}


def fingerprint(experiment: Experiment, policy: str) -> str:
    """What tells experiments apart: equal ones give equal results."""
    text = repr((policy, experiment)).encode()
    return hashlib.sha256(text).hexdigest()[:16]


def _run(
    experiment: Experiment,
    policy: str,
    seeds: Sequence[int],
    jobs: int,
    ray: str | None,
    progress: SeedProgress | None,
) -> Iterator[Result]:
    if not seeds:
        return
    if ray is None and (jobs <= 1 or len(seeds) <= 1):
        for seed in seeds:
            yield _one(experiment, policy, seed, progress)
        return
    task = partial(_one, experiment, policy)
    for result in _in_processes(task, seeds, jobs) if ray is None else on_ray(ray, task, seeds, jobs):
        if progress is not None:
            progress(result["seed"], 1.0)
        yield result


def _in_processes(task: Callable[[int], Result], seeds: Sequence[int], jobs: int) -> Iterator[Result]:
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for future in as_completed([pool.submit(task, seed) for seed in seeds]):
            yield future.result()


def _one(experiment: Experiment, policy: str, seed: int, progress: SeedProgress | None = None) -> Result:
    told = None if progress is None else lambda share: progress(seed, share)
    result: Result = run(experiment, policy_named(policy), seed, told)
    if progress is not None:
        progress(seed, 1.0)
    return result


def _read(out: Path, identity: str) -> dict[int, Result]:
    if not out.exists():
        return {}
    try:
        found = json.loads(out.read_text())
        if found["experiment"] != identity:
            raise InvalidInputError(
                "out", "holds results of another experiment", value=str(out), remedy="give another file, or remove it"
            )
        return {result["seed"]: result for result in found["seeds"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInputError(
            "out", f"holds no results: {error}", value=str(out), remedy="give another file, or remove it"
        ) from error


def _write(out: Path, identity: str, known: dict[int, Result]) -> None:
    """Replaces the file as a whole, so that an interruption leaves the last good one."""
    beside = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        beside.write_text(json.dumps({"experiment": identity, "seeds": [known[seed] for seed in sorted(known)]}))
        beside.replace(out)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise InvalidInputError(
            "out", f"cannot be written: {error}", value=str(out), remedy="give a file on a disk with room"
        ) from error
