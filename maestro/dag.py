"""The graph of a workflow: unique ids, edges to stages that exist, no cycle, quotes from ancestors only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import networkx as nx

from maestro.errors import InvalidInputError
from maestro.placeholders import quoted_stages
from maestro.workflow import LlmStage, Stage

_BLOCK = 1024  # quoted stages whose descendants are found in one pass; bounds the memory of the pass


def check_graph(stages: Sequence[Stage]) -> None:
    """Raise InvalidInputError for the first thing that keeps ``stages`` from being a DAG, or from being rendered."""
    positions = _positions(stages)
    _check_edges(stages, positions)
    order = _topological_order(stages, positions)
    _check_quotes(stages, positions, order)


def _positions(stages: Sequence[Stage]) -> Mapping[str, int]:
    """Index the stages by id, which must be unique."""
    positions: dict[str, int] = {}
    for index, stage in enumerate(stages):
        first = positions.setdefault(stage.id, index)
        if first != index:
            raise InvalidInputError(
                f"stages[{index}].id",
                f"stage '{stage.id}' is already defined at stages[{first}]",
                remedy="give each stage an id of its own",
            )
    return positions


def _check_edges(stages: Sequence[Stage], positions: Mapping[str, int]) -> None:
    """Require that predecessors exist, are others, and are named once."""
    for index, stage in enumerate(stages):
        for place, before in enumerate(stage.after):
            if before not in positions:
                raise InvalidInputError(
                    f"stages[{index}].after[{place}]",
                    f"stage '{stage.id}' depends on '{before}', which is not in the workflow",
                    remedy=f"add a stage '{before}' or drop it from after",
                )
        if len(set(stage.after)) < len(stage.after):
            raise InvalidInputError(
                f"stages[{index}].after", f"stage '{stage.id}' names a predecessor twice", remedy="name it once"
            )


def _topological_order(stages: Sequence[Stage], positions: Mapping[str, int]) -> Sequence[int]:
    """Order positions by Kahn's algorithm: what cannot be taken, predecessors first, is on a cycle or behind one."""
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
        raise _cycle_error(stages, missing)
    return ready


def _cycle_error(stages: Sequence[Stage], missing: Sequence[int]) -> InvalidInputError:
    """Find one cycle among the stages that are left and print it in the order of execution."""
    left = {stage.id for stage, count in zip(stages, missing, strict=True) if count > 0}
    graph: nx.DiGraph[str] = nx.DiGraph(
        (before, stage.id) for stage in stages if stage.id in left for before in stage.after if before in left
    )
    cycle = [edge[0] for edge in nx.find_cycle(graph)]
    shown = cycle if len(cycle) <= 12 else [*cycle[:6], "...", *cycle[-5:]]
    return InvalidInputError(
        "stages",
        f"the workflow has a cycle: {' -> '.join([*shown, cycle[0]])}",
        remedy="drop one of these dependencies from after",
    )


def _check_quotes(stages: Sequence[Stage], positions: Mapping[str, int], order: Sequence[int]) -> None:
    """Require that prompts quote ancestors only: any other output need not be there when the stage starts."""
    distant: dict[str, list[int]] = {}
    for index, stage in enumerate(stages):
        quotes = quoted_stages(stage.messages) if isinstance(stage, LlmStage) else ()
        if not quotes:
            continue
        direct = set(stage.after)
        for quoted in quotes:
            if quoted not in positions:
                raise InvalidInputError(
                    f"stages[{index}].messages",
                    f"stage '{stage.id}' quotes '{{{{{quoted}.output}}}}', and no stage has the id '{quoted}'",
                    remedy="correct the placeholder; literal braces are written \\{{",
                )
            if quoted not in direct:
                distant.setdefault(quoted, []).append(index)
    names = list(distant)
    for start in range(0, len(names), _BLOCK):
        _check_ancestry(stages, positions, order, {name: distant[name] for name in names[start : start + _BLOCK]})


def _check_ancestry(
    stages: Sequence[Stage], positions: Mapping[str, int], order: Sequence[int], quoted_by: Mapping[str, Sequence[int]]
) -> None:
    """Require each key of ``quoted_by`` to be an ancestor of its stages; one bit a key is passed down the graph."""
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
                raise InvalidInputError(
                    f"stages[{index}].messages",
                    f"stage '{stages[index].id}' quotes '{name}', which need not have ended before it",
                    remedy=f"add '{name}' to after of '{stages[index].id}'",
                )
