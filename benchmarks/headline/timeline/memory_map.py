"""A memory map: what the memory of every accelerator is taken by over time."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Patch

from benchmarks.headline.figures.style import INK, canvas
from benchmarks.headline.timeline.gantt import Span, model_colours
from benchmarks.headline.timeline.record import Record, Replica

POINTS = 240
"""Instants that are drawn."""

_SHADES = {"fixed": 0.95, "used": 0.65, "reserved": 0.38, "free": 0.15}
_MEANINGS = {
    "fixed": "weights and engine",
    "used": "KV in use",
    "reserved": "KV reserved beyond it",
    "free": "rest of the KV pool",
}


def memory_map(record: Record, window: Span, title: str) -> Canvas:
    """A row for each accelerator, GiB over seconds; models are stacked in the same order everywhere."""
    names = list(record.sizes)
    made, axes = canvas(10.0, 0.9 + 1.3 * len(names), rows=len(names))
    colours = model_colours(record)
    instants = np.linspace(window.from_s, window.until_s, POINTS)
    for each, name in zip(axes, names, strict=True):
        _stack(each, record.at(name, instants.tolist()), instants, colours)
        size = record.sizes[name]
        each.axhline(size, color=INK, linewidth=0.9)
        each.set_ylabel(f"{name}\nGiB", rotation=0, ha="right", va="center")
        each.set(xlim=(window.from_s, window.until_s), ylim=(0, 1.04 * size))
    for each in axes[:-1]:
        each.tick_params(labelbottom=False)
    axes[-1].set_xlabel("seconds")
    axes[0].set_title(title, loc="left")
    models = [Patch(facecolor=colours[model], label=model) for model in record.models]
    shades = [Patch(facecolor=INK, alpha=_SHADES[part], label=_MEANINGS[part]) for part in _SHADES]
    made.legend(handles=[*models, *shades], loc="outside lower center", ncols=4, fontsize=8)
    return made


def parts(replica: Replica) -> dict[str, float]:
    """What a replica's memory is divided into, GiB; the parts add up to all that it takes."""
    used = min(replica.used, replica.pool or replica.used)
    reserved = max(0.0, replica.reserved - used)
    return {
        "fixed": replica.fixed,
        "used": used,
        "reserved": reserved,
        "free": max(0.0, replica.pool - used - reserved),
    }


def _stack(axes: Axes, found: list[tuple[Replica, ...]], instants: np.ndarray, colours: dict[str, str]) -> None:
    below = np.zeros(len(instants))
    for model, colour in colours.items():
        own = [next((parts(r) for r in each if r.model == model), None) for each in found]
        for part, shade in _SHADES.items():
            height = np.array([each[part] if each is not None else 0.0 for each in own])
            if height.any():
                shown = height > 0.0
                axes.fill_between(
                    instants, below, below + height, where=shown, step="post", color=colour, alpha=shade, linewidth=0
                )
            below = below + height
