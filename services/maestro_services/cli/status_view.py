"""Shows the state of everything as tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table

from maestro.client import PlanReport
from maestro.costs import PredictorReport
from maestro.plan import Provenance
from maestro.snapshot import ReplicaPhase
from maestro.status import WorkflowStatus
from maestro_services.cli.fleet_client import NodeView, ReplicaView
from maestro_services.cli.wording import counted, instant_text
from maestro_services.cli.workflow_view import deadline_text, progress_text

_GIB = 1 << 30
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class StatusReport:
    """What ``maestro status`` shows at ``at_s`` (Unix time).

    ``workflows`` are the newest ones, with their stages; ``is_idle``: no workflow at all is active.
    """

    nodes: tuple[NodeView, ...]
    workflows: tuple[WorkflowStatus, ...]
    plan: PlanReport
    predictor: PredictorReport
    is_idle: bool
    at_s: float


def status_view(report: StatusReport) -> RenderableType:
    """Return nodes, workflows, plan and predictor, one below the other."""
    return Group(
        _nodes_table(report.nodes),
        _workflows_table(report.workflows, report.at_s),
        plan_text(report.plan, is_idle=report.is_idle),
        predictor_text(report.predictor),
    )


def predictor_text(report: PredictorReport) -> str:
    """Return what forecasts lengths, why it is a fallback if it is one, and how forecasts did."""
    seen = report.coverage
    lines = [f"lengths forecast by: {report.source.replace('_', ' ')}, {report.drifts} drifts noticed"]
    if report.fallback_reason:
        lines.append(f"fallback: {report.fallback_reason}")
    if seen.outputs:
        within = (("p50", seen.within_p50), ("p90", seen.within_p90), ("p95", seen.within_p95))
        shares = ", ".join(f"{name} {count / seen.outputs:.0%}" for name, count in within)
        lines.append(f"outputs within: {shares} (of {seen.outputs} that ended by themselves)")
    return "\n".join(lines)


def plan_text(report: PlanReport, *, is_idle: bool = False) -> str:
    """Return where the plan in force came from, and the sources of all plans so far.

    ``is_idle``: all that the plan was made for has ended.
    """
    if report.plan is None:
        return "no plan yet"
    plan = report.plan
    placed = counted(len(plan.assignments), "stage")
    lines = [
        f"nothing to plan; the last plan placed {placed}"
        if is_idle
        else f"plan in force: {placed} placed, {len(plan.deferred)} deferred, horizon {plan.horizon_s:g} s",
        provenance_text(plan.provenance),
        f"plans by source: {_counts(report.plans_by_source)}; fallbacks: {_counts(report.fallbacks_by_reason)}; "
        f"solver restarts: {report.solver_restarts}",
    ]
    return "\n".join(lines)


def provenance_text(provenance: Provenance) -> str:
    """Return one line: source, status, objective against bound, time, and why it is a fallback if it is one."""
    parts = [f"source {provenance.source} ({provenance.status})", f"objective {provenance.objective:.4g}"]
    if provenance.bound is not None:
        parts.append(f"bound {provenance.bound:.4g}")
    if provenance.gap is not None:
        parts.append(f"gap {provenance.gap:.1%}")
    if provenance.portfolio_objective is not None:
        parts.append(f"best heuristic {provenance.portfolio_objective:.4g}")
    parts.append(f"{provenance.total_s:.2f} s")
    if provenance.fallback_reason is not None:
        parts.append(f"fallback: {provenance.fallback_reason}")
    return ", ".join(parts)


def _nodes_table(nodes: Iterable[NodeView]) -> Table:
    table = Table(
        "node", "cluster", "state", "accelerator", "memory", "models", "running", title="nodes", title_justify="left"
    )
    for node in nodes:
        if not node.accelerators:
            table.add_row(node.name, node.cluster, node.state, "", "", "", "")
        for accelerator in node.accelerators:
            memory = f"{accelerator.charged_bytes / _GIB:.1f} of {accelerator.memory_bytes / _GIB:.1f} GiB"
            lines = [*map(_replica_text, accelerator.replicas), *_shares(node, accelerator.name)]
            models = "\n".join(lines)
            running = str(node.running_attempts)
            table.add_row(node.name, node.cluster, node.state, accelerator.name, memory, models, running)
    return table


def _replica_text(replica: ReplicaView) -> str:
    kv = f", KV {replica.kv_reserved_bytes / _MIB:.0f} MiB reserved" if replica.kv_reserved_bytes else ""
    detail = f" ({replica.detail})" if replica.detail else ""
    age = f" for {replica.load_s:.0f} s" if replica.phase is ReplicaPhase.LOADING else ""
    peers = f" with {', '.join(replica.peers)}" if replica.peers else ""
    return f"{replica.model} {replica.phase}{peers}{age}{kv}{detail}"


def _shares(node: NodeView, accelerator: str) -> Iterator[str]:
    """Yield the replicas that are listed with another accelerator and take this one, too."""
    for other in node.accelerators:
        for replica in other.replicas:
            if accelerator in replica.peers:
                yield f"{replica.model} {replica.phase}, see {other.name}"


def _workflows_table(workflows: Iterable[WorkflowStatus], now_s: float) -> Table:
    table = Table(
        "workflow",
        "tenant",
        "app",
        "SLO class",
        "state",
        "doing",
        "accepted",
        "deadline",
        title="workflows",
        title_justify="left",
    )
    for workflow in workflows:
        state = str(workflow.state) if workflow.reason is None else f"{workflow.state} ({workflow.reason})"
        table.add_row(
            workflow.id,
            workflow.tenant,
            workflow.app,
            workflow.slo_class,
            state,
            progress_text(workflow),
            instant_text(workflow.accepted_at_s, now_s),
            deadline_text(workflow, now_s),
        )
    return table


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"
