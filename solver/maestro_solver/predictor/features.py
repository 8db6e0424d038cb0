"""The numbers that a call's output length is forecast from. Not-a-number stands for what is not known."""

from __future__ import annotations

import math
from collections.abc import Sequence

from maestro.costs import LengthForecast
from maestro.trace.call import Ending
from maestro_solver.predictor.call import FinishedCall, UpcomingCall
from maestro_solver.predictor.history import RECENT_CALLS, Recent, WorkflowHistory, median_of

UNKNOWN = math.nan

_NOWHERE = Recent()

GROUPS: dict[str, tuple[str, ...]] = {
    "prompt": ("prompt", "prompt_chars", "message_share", "idle"),
    "growth": ("growth", "growth_beyond_output", "growth_place", "grown_by_output", "growth_two"),
    "position": ("step", "place_count", "calls_since_place"),
    "workflow_lengths": (
        "last_1",
        "last_2",
        "last_3",
        "last_role",
        "workflow_median",
        "workflow_max",
        "workflow_mean",
        "predecessor_chars",
        "predecessor_stop",
        "predecessor_tool",
        "predecessor_cut",
    ),
    "parents": ("parents_count", "parents_sum", "parents_max"),
    "place_lengths": (
        "place_1",
        "place_2",
        "place_3",
        "place_min",
        "place_median",
        "place_max",
        "place_mean",
        "place_recent",
        "place_spread",
        "place_chars_per_token",
    ),
    "similar_prompts": (
        "nearest_output",
        "nearest_distance",
        "similar_output",
        "similar_weight",
        "repeats",
        "repeat_median",
        "repeat_last",
        "shifted_nearest",
    ),
    "ratios": ("scaled_place", "place_ratio", "prompt_without_output", "output_share"),
    "role_statistics": ("role_p50", "role_p90"),
}
"""The features by what they tell, as they are left out together in an ablation."""

NAMES: tuple[str, ...] = tuple(name for group in GROUPS.values() for name in group)


def numeric_features(call: UpcomingCall, history: WorkflowHistory, by_role: LengthForecast) -> list[float]:
    """Return the features in the order of ``NAMES``: tokens, characters, counts, seconds or shares, as they are.

    ``by_role`` is what role statistics forecast at this time, without a limit on the output.
    """
    place = history.same_place(call) or _NOWHERE
    predecessor = history.predecessor_of(call)
    return [
        *_prompt(call),
        *_growth(call, history, predecessor, place),
        *_position(history, place),
        *_workflow_lengths(call, history, predecessor),
        *_parents(call, history),
        *_place_lengths(place),
        *_similar_prompts(call.prompt_tokens, place.prompts, place.outputs),
        *_ratios(call.prompt_tokens, predecessor, place.prompts, place.outputs),
        by_role.p50_tokens,
        by_role.p90_tokens,
    ]


def _prompt(call: UpcomingCall) -> tuple[float, ...]:
    chars = UNKNOWN if call.prompt_chars is None else float(call.prompt_chars)
    share = chars / max(1, call.prompt_tokens)
    return (call.prompt_tokens, chars, share, UNKNOWN if call.idle_s is None else call.idle_s)


def _growth(
    call: UpcomingCall, history: WorkflowHistory, predecessor: FinishedCall | None, place: Recent
) -> tuple[float, ...]:
    prompt = call.prompt_tokens
    if predecessor is None:
        growth = beyond = grown = UNKNOWN
    else:
        growth = float(prompt - predecessor.call.prompt_tokens)
        beyond = growth - predecessor.output_tokens
        grown = growth / max(1, predecessor.output_tokens)
    prompts = history.all.prompts
    of_place = float(prompt - place.prompts[-1]) if place.prompts else UNKNOWN
    two = float(prompt - prompts[-2]) if len(prompts) > 1 else UNKNOWN
    return (growth, beyond, of_place, grown, two)


def _position(history: WorkflowHistory, place: Recent) -> tuple[float, ...]:
    since = float(history.all.count - 1 - place.last_index) if place.count else UNKNOWN
    return (float(history.all.count), float(place.count), since if since < RECENT_CALLS else UNKNOWN)


def _workflow_lengths(
    call: UpcomingCall, history: WorkflowHistory, predecessor: FinishedCall | None
) -> tuple[float, ...]:
    outputs = history.all.outputs
    of_role = history.last_of_role(call.role)
    ending = predecessor.ending if predecessor else None
    return (
        *_last_three(outputs),
        float(of_role.output_tokens) if of_role else UNKNOWN,
        history.all.median,
        *((float(max(outputs)), sum(outputs) / len(outputs)) if outputs else (UNKNOWN, UNKNOWN)),
        _or_unknown(predecessor.response_chars if predecessor else None),
        float(ending is Ending.STOP),
        float(ending is Ending.TOOL_CALL),
        float(ending is Ending.CUT),
    )


def _parents(call: UpcomingCall, history: WorkflowHistory) -> tuple[float, ...]:
    outputs = [parent.output_tokens for parent in history.parents_of(call)]
    if not outputs:
        return (float(len(call.parents)), UNKNOWN, UNKNOWN)
    return (float(len(call.parents)), float(sum(outputs)), float(max(outputs)))


def _place_lengths(place: Recent) -> tuple[float, ...]:
    outputs = place.outputs
    if not outputs or place.last is None:
        return (UNKNOWN,) * 10
    recent = float(outputs[0])
    for tokens in outputs:
        recent += 0.3 * (tokens - recent)
    chars = place.last.response_chars
    return (
        *_last_three(outputs),
        float(min(outputs)),
        place.median,
        float(max(outputs)),
        sum(outputs) / len(outputs),
        recent,
        place.spread,
        UNKNOWN if chars is None else chars / max(1, outputs[-1]),
    )


def _last_three(outputs: Sequence[int]) -> tuple[float, ...]:
    last = [float(tokens) for tokens in outputs[:-4:-1]]
    return (*last, *(UNKNOWN,) * (3 - len(last)))


def _similar_prompts(prompt: int, prompts: Sequence[int], outputs: Sequence[int]) -> tuple[float, ...]:
    """What came of prompts of about this length in the same place: a loop that repeats a prompt repeats its reply."""
    if not outputs:
        return (UNKNOWN, UNKNOWN, UNKNOWN, 0.0, 0.0, UNKNOWN, UNKNOWN, UNKNOWN)
    scale = -1.0 / (10.0 + 0.01 * prompt)
    distances = [abs(before - prompt) for before in prompts]
    least = min(distances)
    nearest = len(distances) - 1 - distances[::-1].index(least)  # the latest of equally near ones
    total = weight = 0.0
    latest = len(outputs) - 1
    for index, distance in enumerate(distances):
        closeness = math.exp(distance * scale - 0.1 * (latest - index))
        total += closeness * outputs[index]
        weight += closeness
    output = float(outputs[nearest])
    similar = total / weight if weight > 1e-9 else output
    repeats = [outputs[index] for index, distance in enumerate(distances) if distance == 0]
    repeated = (median_of(repeats), float(repeats[-1])) if repeats else (UNKNOWN, UNKNOWN)
    shifted = output + float(prompt - prompts[nearest])
    return (output, float(least), similar, weight, float(len(repeats)), *repeated, shifted)


def _ratios(
    prompt: int, predecessor: FinishedCall | None, prompts: Sequence[int], outputs: Sequence[int]
) -> tuple[float, ...]:
    before = UNKNOWN if predecessor is None else float(predecessor.output_tokens)
    of_before = (prompt - before, before / max(1, prompt))
    if not outputs:
        return (UNKNOWN, UNKNOWN, *of_before)
    last = outputs[-1] * prompt / max(1, prompts[-1])
    return (last, prompt * sum(outputs) / max(1, sum(prompts)), *of_before)


def _or_unknown(value: float | None) -> float:
    return UNKNOWN if value is None else float(value)
