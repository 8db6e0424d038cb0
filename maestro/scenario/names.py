"""Names in a scenario are unique, and entries with a count expand to something that works."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from maestro.document import KeyPath
from maestro.problem import Problem
from maestro.scenario.root import Scenario


def check_names(scenario: Scenario) -> Iterator[Problem]:
    """Yield duplicate names and addresses, and counts that contradict their entry."""
    yield from _duplicates("model", [(("models", i), model.name) for i, model in enumerate(scenario.models)])
    yield from _duplicates("SLO class", [(("slo_classes", i), slo.name) for i, slo in enumerate(scenario.slo_classes)])
    yield from _duplicates("tenant", [(("tenants", i), tenant.name) for i, tenant in enumerate(scenario.tenants)])
    yield from _duplicates("demand", [(("workload", i), demand.name) for i, demand in enumerate(scenario.workload)])
    yield from _check_fleet_names(scenario)
    yield from _check_counts(scenario)


def _check_fleet_names(scenario: Scenario) -> Iterator[Problem]:
    """Check clusters, nodes, their addresses and accelerators, after expansion."""
    clusters: list[tuple[KeyPath, str]] = []
    nodes: list[tuple[KeyPath, str]] = []
    addresses: list[tuple[KeyPath, str]] = [(("scheduler",), scenario.scheduler.listen)]
    accelerators: list[tuple[KeyPath, str]] = []
    for c, cluster in enumerate(scenario.fleet.clusters):
        clusters.append((("fleet", "clusters", c), cluster.name))
        for n, entry in enumerate(cluster.nodes):
            path: KeyPath = ("fleet", "clusters", c, "nodes", n)
            for node in entry.expanded(cluster.name, scenario.engine.kind):
                nodes.append((path, node.name))
                addresses.append((path, node.listen))
            prefixes = [f"{node.name}-" for node in entry.expanded(cluster.name, "vllm")] if entry.count else [""]
            for a, accelerator in enumerate(entry.accelerators):
                accelerators += [
                    ((*path, "accelerators", a), spec.name) for prefix in prefixes for spec in accelerator.specs(prefix)
                ]
    yield from _duplicates("cluster", clusters)
    yield from _duplicates("node", nodes)
    yield from _duplicates("address", addresses, "listen")
    yield from _duplicates("accelerator", accelerators)


def _check_counts(scenario: Scenario) -> Iterator[Problem]:
    """Require that nodes with a count differ in their address and that no core is given to several accelerators."""
    for c, cluster in enumerate(scenario.fleet.clusters):
        for n, node in enumerate(cluster.nodes):
            path: KeyPath = ("fleet", "clusters", c, "nodes", n)
            if ("{index}" in node.listen) is (node.count is None):
                remedy = "put {index} in it" if node.count else "{index} has a meaning only with count"
                yield Problem((*path, "listen"), "does not suit the node's count", node.listen, remedy)
            for a, accelerator in enumerate(node.accelerators):
                if accelerator.cpu_cores and (accelerator.count or node.count):
                    yield Problem(
                        (*path, "accelerators", a, "cpu_cores"),
                        "would bind several accelerators to the same cores",
                        remedy="write the accelerators one by one, without count",
                    )


def _duplicates(what: str, named: Sequence[tuple[KeyPath, str]], key: str = "name") -> Iterator[Problem]:
    """Yield a problem for every name that came before."""
    first: dict[str, KeyPath] = {}
    for path, name in named:
        if name in first:
            yield Problem((*path, key), f"duplicate {what}", name, f"each {what} needs a {key} of its own")
        first.setdefault(name, path)
