"""A Gantt chart: every call of a window on the accelerator that worked on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Patch

from benchmarks.headline.figures.style import INK, MODEL_COLOURS, canvas
from benchmarks.headline.timeline.record import Call, Record

LOADING_STEP_S = 0.5
"""How finely loads are drawn."""

FEW_LANES = 24
"""Up to so many, lanes are drawn apart."""


@dataclass(frozen=True, slots=True)
class Span:
    """From one instant to another, seconds."""

    from_s: float
    until_s: float


def gantt(record: Record, window: Span, title: str) -> Canvas:
    """A row of lanes for each accelerator; calls side by side in its batch are on lanes of their own."""
    names = list(record.sizes)
    made, axes = canvas(10.0, 0.9 + 1.25 * len(names), rows=len(names))
    colours = model_colours(record)
    for each, name in zip(axes, names, strict=True):
        calls = [call for call in record.calls if call.accelerator == name]
        _draw(each, _within(calls, window), colours)
        _draw_loads(each, record, name, window)
        each.set_ylabel(name, rotation=0, ha="right", va="center")
        each.set(xlim=(window.from_s, window.until_s), yticks=[])
    for each in axes[:-1]:
        each.tick_params(labelbottom=False)
    axes[-1].set_xlabel("seconds")
    axes[0].set_title(title, loc="left")
    handles = [Patch(facecolor=colours[model], label=model) for model in record.models]
    handles.append(Patch(facecolor="#9aa0a8", alpha=0.45, label="of a workflow that ends late"))
    handles.append(Patch(facecolor="none", edgecolor=INK, hatch="////", label="a model is loading"))
    made.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8)
    return made


def model_colours(record: Record) -> dict[str, str]:
    """A colour for each model."""
    return {model: MODEL_COLOURS[index % len(MODEL_COLOURS)] for index, model in enumerate(record.models)}


def lanes(calls: Sequence[Call]) -> list[int]:
    """A lane for each call, given by their start: the lowest that is free."""
    ends: list[float] = []
    found = []
    for call in calls:
        free = next((lane for lane, end_s in enumerate(ends) if end_s <= call.start_s), len(ends))
        if free == len(ends):
            ends.append(call.end_s)
        ends[free] = call.end_s
        found.append(free)
    return found


def _within(calls: Sequence[Call], window: Span) -> list[Call]:
    found = [call for call in calls if call.end_s > window.from_s and call.start_s < window.until_s]
    return sorted(found, key=lambda call: call.start_s)


def _draw(axes: Axes, calls: Sequence[Call], colours: dict[str, str]) -> None:
    found = lanes(calls)
    gap = 0.08 if max(found, default=0) < FEW_LANES else 0.0
    for call, lane in zip(calls, found, strict=True):
        axes.broken_barh(
            [(call.start_s, call.end_s - call.start_s)],
            (lane + gap, 1.0 - 2 * gap),
            facecolor=colours[call.model],
            alpha=0.35 if call.late else 0.95,
            linewidth=0,
        )
    axes.set_ylim(max(4, *(lane + 1 for lane in found)) if found else 4, 0)


def _draw_loads(axes: Axes, record: Record, accelerator: str, window: Span) -> None:
    steps = int((window.until_s - window.from_s) / LOADING_STEP_S)
    instants = [window.from_s + step * LOADING_STEP_S for step in range(steps)]
    busy = [any(r.phase == "loading" for r in found) for found in record.at(accelerator, instants)]
    began: float | None = None
    for instant, loading in zip([*instants, window.until_s], [*busy, False], strict=True):
        if loading and began is None:
            began = instant
        if not loading and began is not None:
            axes.axvspan(began, instant, facecolor="none", edgecolor=INK, hatch="////", alpha=0.45, linewidth=0)
            began = None
