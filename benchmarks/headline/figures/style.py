"""How figures look: one colour and one line for a policy everywhere, and ink that a page can recolour."""

from __future__ import annotations

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

INK = "#3b4048"
"""The colour of text and axes; pages with a dark ground replace it."""

FONTS = ["DejaVu Sans", "Verdana", "Arial", "sans-serif"]

COLOURS = {
    "planner": "#1668c7",
    "oracle": "#7b61d1",
    "urgency": "#3fa7d6",
    "edf": "#d6562b",
    "wspt": "#1f9e77",
    "llf": "#d99a16",
    "srpt": "#7aa52e",
    "hierarchical": "#b8488f",
    "kairos": "#a97142",
    "plas": "#c98bb5",
    "fcfs": "#8a9099",
    "lru-swap": "#5f7f86",
}

MODEL_COLOURS = ("#1668c7", "#d6562b", "#1f9e77", "#b8488f", "#d99a16", "#7b61d1", "#a97142", "#3fa7d6", "#7aa52e")

LINES = {"planner": "-", "oracle": (0, (1, 1.2)), "urgency": (0, (5, 1.5))}


def set_up() -> None:
    """Fits matplotlib's settings to these figures."""
    mpl.use("Agg")
    mpl.rcParams.update(
        {
            "axes.edgecolor": INK,
            "axes.labelcolor": INK,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlesize": 10,
            "axes.titleweight": "bold",
            "font.family": "sans-serif",
            "font.sans-serif": FONTS,
            "font.size": 9,
            "grid.alpha": 0.25,
            "grid.color": INK,
            "hatch.linewidth": 0.6,
            "legend.frameon": False,
            "svg.fonttype": "none",
            "text.color": INK,
            "xtick.color": INK,
            "ytick.color": INK,
        }
    )


def colour_of(policy: str) -> str:
    """A policy's colour; ablations have the planner's."""
    return COLOURS.get(policy, COLOURS["planner"])


def canvas(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Canvas, list[Axes]]:
    """An empty canvas of some inches, and its axes row by row."""
    made = Canvas(figsize=(width, height), layout="constrained", facecolor="none")
    axes = made.subplots(rows, columns, squeeze=False).ravel().tolist()
    for each in axes:
        each.set_facecolor("none")
    return made, axes
