"""The graph of a workflow: unique ids, edges to stages that exist, no cycle, quotes from ancestors only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

import networkx as nx

from maestro.errors import InvalidInputError
from maestro.placeholders import quoted_stages
from maestro.workflow import LlmStage, Stage

_BLOCK = 1024  # quoted stages whose descendants are found in one pass; bounds the memory of the pass


def check_graph(stages: Sequence[Stage]) -> None:
    """Raise InvalidInputError for the first thing that keeps ``stages`` from being a DAG, or from being rendered."""
    for problem in graph_problems(stages):
        raise problem


def graph_problems(stages: Sequence[Stage]) -> Iterator[InvalidInputError]:
    """Tell what keeps ``stages`` from being a DAG, or from being rendered.

    One cycle is told of, and only where every id and edge is right; wrong quotes only where there is no cycle.
    """
    positions: dict[str, int] = {}
    for index, stage in enumerate(stages):
        positions.setdefault(stage.id, index)
    is_sound = True
    for problem in chain(_wrong_ids(stages, positions), _wrong_edges(stages, positions)):
        is_sound = False
        yield problem
    if is_sound:
        yield from _wrong_order(stages, positions)


def _wrong_ids(stages: Sequence[Stage], positions: Mapping[str, int]) -> Iterator[InvalidInputError]:
    """Tell of ids that stand twice; ``positions`` has the first of each."""
    for index, stage in enumerate(stages):
        first = positions[stage.id]
        if first != index:
            yield InvalidInputError(
                f"stages[{index}].id",
                f"stage '{stage.id}' is already defined at stages[{first}]",
                remedy="give each stage an id of its own",
            )


def _wrong_edges(stages: Sequence[Stage], positions: Mapping[str, int]) -> Iterator[InvalidInputError]:
    """Tell of predecessors that do not exist or are named twice."""
    for index, stage in enumerate(stages):
        for place, before in enumerate(stage.after):
            if before not in positions:
                yield InvalidInputError(
                    f"stages[{index}].after[{place}]",
                    f"stage '{stage.id}' depends on '{before}', which is not in the workflow",
                    remedy=f"add a stage '{before}' or drop it from after",
                )
        if len(set(stage.after)) < len(stage.after):
            yield InvalidInputError(
                f"stages[{index}].after", f"stage '{stage.id}' names a predecessor twice", remedy="name it once"
            )


def _wrong_order(stages: Sequence[Stage], positions: Mapping[str, int]) -> Iterator[InvalidInputError]:
    """Tell of a cycle, or else of wrong quotes.

    Positions are ordered by Kahn's algorithm: what cannot be taken, predecessors first, is on a cycle or behind one.
    """
    missing = [len(stage.after) for stage in stages]
    successors: list[list[int]] = [[] for _ in stages]
    for index, stage in enumerate(stages):
        for before in stage.after:
            successors[positions[before]].append(index)
    ready = [index for index, count in enumerate(missing) if count == 0]
    for index in ready:
        for after in successors[index]:
            missing[after] -= 1
            if missing[after] == 0:
                ready.append(after)  # the loop goes on over what is appended
    if len(ready) < len(stages):
        yield _cycle_error(stages, positions, missing)
    else:
        yield from _wrong_quotes(stages, positions, ready)


def _cycle_error(stages: Sequence[Stage], positions: Mapping[str, int], missing: Sequence[int]) -> InvalidInputError:
    """Find one cycle among the stages that are left and print it in the order of execution, from its first stage."""
    left = {stage.id for stage, count in zip(stages, missing, strict=True) if count > 0}
    graph: nx.DiGraph[str] = nx.DiGraph(
        (before, stage.id) for stage in stages if stage.id in left for before in stage.after if before in left
    )
    found = [edge[0] for edge in nx.find_cycle(graph)]
    start = min(range(len(found)), key=lambda place: positions[found[place]])
    cycle = found[start:] + found[:start]
    shown = cycle if len(cycle) <= 12 else [*cycle[:6], "...", *cycle[-5:]]
    return InvalidInputError(
        f"stages[{positions[cycle[0]]}].after",
        f"the workflow has a cycle: {' -> '.join([*shown, cycle[0]])}",
        remedy="drop one of these dependencies from after",
    )


def _wrong_quotes(
    stages: Sequence[Stage], positions: Mapping[str, int], order: Sequence[int]
) -> Iterator[InvalidInputError]:
    """Tell of prompts that quote others than ancestors: such an output need not be there when the stage starts."""
    distant: dict[str, list[int]] = {}
    for index, stage in enumerate(stages):
        quotes = quoted_stages(stage.messages) if isinstance(stage, LlmStage) else ()
        if not quotes:
            continue
        direct = set(stage.after)
        for quoted in quotes:
            if quoted not in positions:
                yield InvalidInputError(
                    f"stages[{index}].messages",
                    f"stage '{stage.id}' quotes '{{{{{quoted}.output}}}}', and no stage has the id '{quoted}'",
                    remedy="correct the placeholder; literal braces are written \\{{",
                )
            elif quoted not in direct:
                distant.setdefault(quoted, []).append(index)
    names = list(distant)
    for start in range(0, len(names), _BLOCK):
        block = {name: distant[name] for name in names[start : start + _BLOCK]}
        yield from _wrong_ancestry(stages, positions, order, block)


def _wrong_ancestry(
    stages: Sequence[Stage], positions: Mapping[str, int], order: Sequence[int], quoted_by: Mapping[str, Sequence[int]]
) -> Iterator[InvalidInputError]:
    """Tell where a key of ``quoted_by`` is no ancestor of its stages; one bit a key is passed down the graph."""
    own_bit = {positions[name]: 1 << bit for bit, name in enumerate(quoted_by)}
    above = [0] * len(stages)
    for index in order:
        bits = 0
        for before in stages[index].after:
            position = positions[before]
            bits |= above[position] | own_bit.get(position, 0)
        above[index] = bits
    for name, quoting in quoted_by.items():
        for index in quoting:
            if not above[index] & own_bit[positions[name]]:
                yield InvalidInputError(
                    f"stages[{index}].messages",
                    f"stage '{stages[index].id}' quotes '{name}', which need not have ended before it",
                    remedy=f"add '{name}' to after of '{stages[index].id}'",
                )
