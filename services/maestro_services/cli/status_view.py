"""Shows the state of everything as tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.table import Table

from maestro.client import PlanReport
from maestro.plan import Provenance
from maestro.status import WorkflowStatus
from maestro_services.cli.fleet_client import NodeView, ReplicaView

_GIB = 1 << 30
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class StatusReport:
    """What ``maestro status`` shows. ``workflows`` are the newest ones, without their stages."""

    nodes: tuple[NodeView, ...]
    workflows: tuple[WorkflowStatus, ...]
    plan: PlanReport


def status_view(report: StatusReport) -> RenderableType:
    """Return nodes, workflows and plan, one below the other."""
    return Group(_nodes_table(report.nodes), _workflows_table(report.workflows), plan_text(report.plan))


def plan_text(report: PlanReport) -> str:
    """Return where the plan in force came from, and the sources of all plans so far."""
    if report.plan is None:
        return "no plan yet"
    plan = report.plan
    lines = [
        f"plan in force: {len(plan.assignments)} stages placed, {len(plan.deferred)} deferred, "
        f"horizon {plan.horizon_s:g} s",
        provenance_text(plan.provenance),
        f"plans by source: {_counts(report.plans_by_source)}; fallbacks: {_counts(report.fallbacks_by_reason)}",
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
            models = "\n".join(_replica_text(replica) for replica in accelerator.replicas)
            running = str(node.running_attempts)
            table.add_row(node.name, node.cluster, node.state, accelerator.name, memory, models, running)
    return table


def _replica_text(replica: ReplicaView) -> str:
    kv = f", KV {replica.kv_reserved_bytes / _MIB:.0f} MiB reserved" if replica.kv_reserved_bytes else ""
    detail = f" ({replica.detail})" if replica.detail else ""
    return f"{replica.model} {replica.phase}{kv}{detail}"


def _workflows_table(workflows: Iterable[WorkflowStatus]) -> Table:
    table = Table(
        "workflow",
        "tenant",
        "app",
        "SLO class",
        "state",
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
            _clock_text(workflow.accepted_at_s),
            _deadline_text(workflow),
        )
    return table


def _deadline_text(workflow: WorkflowStatus) -> str:
    when = _clock_text(workflow.deadline_at_s)
    if workflow.ended_at_s is None:
        return when
    return f"{when} {'met' if workflow.met_deadline else 'missed'}"


def _clock_text(unix_s: float) -> str:
    """Return the local time of day."""
    return datetime.fromtimestamp(unix_s, UTC).astimezone().strftime("%H:%M:%S")


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"
