"""Cross references of a scenario: what no section can check alone. Each check yields the problems it finds."""

from __future__ import annotations

from collections.abc import Iterator

from maestro.document import KeyPath
from maestro.problem import Problem
from maestro.scenario.fit import check_fit
from maestro.scenario.names import check_names
from maestro.scenario.parallel import check_parallel
from maestro.scenario.root import Scenario
from maestro.section import suggest


def check_references(scenario: Scenario) -> Iterator[Problem]:
    """Everything wrong between the sections of a scenario whose sections are fine by themselves."""
    for check in (
        check_names,
        _check_kinds,
        _check_budget,
        _check_slo_default,
        _check_shares,
        _check_pins,
        check_parallel,
        _check_revisions,
        _check_engine,
        _check_workload,
        check_fit,
    ):
        yield from check(scenario)


def _check_kinds(scenario: Scenario) -> Iterator[Problem]:
    """Require that kinds named in speeds and as reference exist in the fleet."""
    kinds = sorted({accelerator.kind for accelerator in scenario.fleet.accelerators()})
    for index, model in enumerate(scenario.models):
        for kind in model.speeds:
            if kind not in kinds:
                yield _unknown(("models", index, "speeds", kind), "accelerator kind", kind, kinds)
    reference = scenario.fleet.reference_kind
    if reference is not None and reference not in kinds:
        yield _unknown(("fleet", "reference_accelerator"), "accelerator kind", reference, kinds)


def _check_budget(scenario: Scenario) -> Iterator[Problem]:
    """Require that budgets do not exceed what there is."""
    sizes = {
        cluster.name: sum(len(node.accelerators) for node in cluster.nodes)
        for cluster in (entry.spec() for entry in scenario.fleet.clusters)
    }
    budget, path = scenario.fleet.gpu_budget, ("fleet", "gpu_budget")
    fleet_size = sum(sizes.values())
    if budget.total is not None and budget.total > fleet_size:
        yield Problem(
            (*path, "total"), f"exceeds the fleet's {fleet_size} accelerators", budget.total, f"at most {fleet_size}"
        )
    for cluster, count in budget.per_cluster.items():
        if cluster not in sizes:
            yield _unknown((*path, "per_cluster", cluster), "cluster", cluster, list(sizes))
        elif count > sizes[cluster]:
            yield Problem(
                (*path, "per_cluster", cluster),
                f"exceeds the cluster's {sizes[cluster]} accelerators",
                count,
                f"at most {sizes[cluster]}",
            )


def _check_slo_default(scenario: Scenario) -> Iterator[Problem]:
    """Require that the default service level exists."""
    if scenario.default_slo_class not in scenario.slo_classes_by_name:
        yield _unknown(
            ("default_slo_class",), "SLO class", scenario.default_slo_class, list(scenario.slo_classes_by_name)
        )


def _check_shares(scenario: Scenario) -> Iterator[Problem]:
    """Require that the tenants' shares leave something to all others."""
    total = sum(tenant.least_share for tenant in scenario.tenants)
    if total >= 1.0:
        yield Problem(("tenants",), "least shares add up to 1 or more", total, "leave something to other tenants")


def _check_pins(scenario: Scenario) -> Iterator[Problem]:
    """Require that models are pinned on accelerators that exist and that can serve them."""
    kinds = {accelerator.name: accelerator.kind for accelerator in scenario.fleet.accelerators()}
    for index, model in enumerate(scenario.models):
        for position, name in enumerate(model.pinned_on):
            path: KeyPath = ("models", index, "pinned_on", position)
            if name not in kinds:
                yield _unknown(path, "accelerator", name, list(kinds))
            elif kinds[name] not in model.speeds:
                yield Problem(
                    path,
                    f"{name} is of kind {kinds[name]}, for which the model has no speeds",
                    remedy="add them to speeds",
                )


def _check_revisions(scenario: Scenario) -> Iterator[Problem]:
    """Require that one folder holds one revision of the weights."""
    seen: dict[object, str | None] = {}
    for index, model in enumerate(scenario.models):
        first = seen.setdefault(model.path, model.revision)
        if first != model.revision:
            yield Problem(
                ("models", index, "revision"),
                f"another model says that {model.path} holds revision {first}",
                model.revision,
                "give each revision a folder of its own",
            )


def _check_engine(scenario: Scenario) -> Iterator[Problem]:
    """Require an interpreter where nodes run vLLM."""
    if scenario.engine.python is None and any(node.engine == "vllm" for node in scenario.nodes.values()):
        yield Problem(
            ("engine", "python"),
            "is required, since nodes run vLLM",
            remedy="name an interpreter that has vLLM installed",
        )


def _check_workload(scenario: Scenario) -> Iterator[Problem]:
    """Require that demand is for models that exist."""
    for index, demand in enumerate(scenario.workload):
        if demand.model not in scenario.models_by_name:
            yield _unknown(("workload", index, "model"), "model", demand.model, list(scenario.models_by_name))


def _unknown(path: KeyPath, what: str, value: str, known: list[str]) -> Problem:
    return Problem(path, f"unknown {what}", value, suggest(value, known, "known"))
