"""Checks a capacity plan against its problem from first principles: it shares no code with the program."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from maestro.fleet import AcceleratorSpec
from maestro_solver.capacity.data import CapacityPlan, CapacityProblem, Demand, PlannedReplica

_TOLERANCE = 1e-6

_Place = tuple[str, str, str]
"""The names of a cluster, a node and an accelerator."""

_Resident = dict[_Place, list[PlannedReplica]]
"""Replicas by every accelerator that they take."""


def violations(problem: CapacityProblem, plan: CapacityPlan) -> tuple[str, ...]:
    """Return a sentence for everything in ``plan`` that the fleet, the demand or the budget does not allow."""
    resident: _Resident = defaultdict(list)
    for replica in plan.replicas:
        for place in _places(problem, replica):
            resident[place].append(replica)
    specs = {
        (cluster.name, node.name, accelerator.name): accelerator
        for cluster in problem.fleet.clusters
        for node in cluster.nodes
        for accelerator in node.accelerators
    }
    found = [*_check_budget(problem, plan, resident), *_check_served(problem, plan)]
    for place, replicas in resident.items():
        if place not in specs:
            found.append(f"accelerator {'/'.join(place)} is not in the fleet")
            continue
        found += _check_accelerator(problem, specs[place], replicas)
    for replica in plan.replicas:
        places = _places(problem, replica)
        if all(place in specs for place in places):
            found += _check_group(problem, replica, places)
            active_models = max(len(resident[place]) for place in places)
            found += _check_replica(problem, specs[places[0]], replica, active_models)
    found += _check_pinned(problem, plan, resident, specs)
    return tuple(found)


def _places(problem: CapacityProblem, replica: PlannedReplica) -> list[_Place]:
    """The accelerators that a replica takes; of a tensor-parallel one only the first, where no group begins there."""
    size = problem.fleet.models[replica.model].tensor_parallel_size
    named = (replica.cluster, replica.node, replica.accelerator)
    for cluster in problem.fleet.clusters:
        for node in cluster.nodes:
            for members in node.groups(size):
                if (cluster.name, node.name, members[0]) == named:
                    return [(cluster.name, node.name, name) for name in members]
    return [named]


def _check_group(problem: CapacityProblem, replica: PlannedReplica, places: list[_Place]) -> Iterator[str]:
    size = problem.fleet.models[replica.model].tensor_parallel_size
    if len(places) != size:
        yield f"{replica.accelerator}/{replica.model}: no group of {size} accelerators begins there"


def _check_budget(problem: CapacityProblem, plan: CapacityPlan, resident: _Resident) -> Iterator[str]:
    if len(resident) != plan.accelerators_used:
        yield f"{len(resident)} accelerators hold replicas, the plan says {plan.accelerators_used}"
    if len(resident) > plan.budget:
        yield f"{len(resident)} accelerators are used, the budget is {plan.budget}"
    per_cluster = Counter(cluster for cluster, _, _ in resident)
    for cluster, limit in problem.fleet.budget.per_cluster.items():
        if per_cluster[cluster] > limit:
            yield f"cluster {cluster} uses {per_cluster[cluster]} accelerators, its limit is {limit}"


def _check_served(problem: CapacityProblem, plan: CapacityPlan) -> Iterator[str]:
    for demand in problem.demands:
        rate = sum(replica.requests_per_s.get(demand.name, 0.0) for replica in plan.replicas)
        claimed = plan.served.get(demand.name, 0.0) * demand.requests_per_s
        if abs(rate - claimed) > _TOLERANCE * max(demand.requests_per_s, 1.0):
            yield f"demand {demand.name}: replicas serve {rate}/s, the plan says {claimed}/s"


def _check_accelerator(
    problem: CapacityProblem, spec: AcceleratorSpec, replicas: list[PlannedReplica]
) -> Iterator[str]:
    models = problem.fleet.models
    taken = sum(
        -(-(model.weights_bytes + model.overhead_bytes + one.kv_pool_bytes) // model.tensor_parallel_size)
        for one, model in ((one, models[one.model]) for one in replicas)
    )
    if taken > spec.memory_bytes:
        yield f"{spec.name}: {taken} bytes are taken, it has {spec.memory_bytes}"
    if sum(one.batch for one in replicas) > spec.slots:
        yield f"{spec.name}: batches exceed its {spec.slots} slots"
    pinned = {name for name, model in models.items() if spec.name in model.pinned_on}
    if len(replicas) > max(problem.max_models, len(pinned)):
        yield f"{spec.name}: {len(replicas)} models share it, {problem.max_models} may"
    if len({one.model for one in replicas}) < len(replicas):
        yield f"{spec.name}: a model has two replicas"


def _check_replica(
    problem: CapacityProblem, spec: AcceleratorSpec, replica: PlannedReplica, active_models: int
) -> Iterator[str]:
    model = problem.fleet.models[replica.model]
    who = f"{spec.name}/{replica.model}"
    if not 1 <= replica.batch <= model.max_batch:
        yield f"{who}: batch {replica.batch} is not from 1 to {model.max_batch}"
    if not spec.kv_elastic and replica.kv_pool_bytes != model.kv_pool_bytes:
        yield f"{who}: pool of {replica.kv_pool_bytes} bytes, the model's is {model.kv_pool_bytes}"
    if spec.kind not in model.speeds:
        yield f"{who}: cannot run on {spec.kind}"
        return
    demands = {demand.name: demand for demand in problem.demands}
    busy = 0.0
    for name, rate in replica.requests_per_s.items():
        demand = demands[name]
        seconds = _request_s(problem, spec.kind, demand, replica.batch, active_models)
        yield from _check_request(problem, who, replica, demand, seconds)
        busy += rate * seconds / max(1, _at_once(problem, replica, demand))
    if busy > problem.utilisation + _TOLERANCE:
        yield f"{who}: load {busy}, more than {problem.utilisation}"
    if abs(busy - replica.load) > _TOLERANCE:
        yield f"{who}: load {busy}, the plan says {replica.load}"


def _check_request(
    problem: CapacityProblem, who: str, replica: PlannedReplica, demand: Demand, seconds: float
) -> Iterator[str]:
    if demand.model != replica.model:
        yield f"{who}: serves {demand.name}, which asks for {demand.model}"
    if seconds > demand.max_latency_s * (1 + _TOLERANCE):
        yield f"{who}: a request of {demand.name} takes {seconds} s, its limit is {demand.max_latency_s} s"
    if demand.prompt_tokens + demand.output_tokens > problem.fleet.models[replica.model].context_tokens:
        yield f"{who}: a request of {demand.name} is longer than the context"
    if _at_once(problem, replica, demand) < 1:
        yield f"{who}: a request of {demand.name} does not fit the KV pool"


def _at_once(problem: CapacityProblem, replica: PlannedReplica, demand: Demand) -> int:
    """How many requests of ``demand`` the replica holds at once, by batch and by KV pool."""
    bytes_per_token = problem.fleet.models[replica.model].kv_bytes_per_token
    request_bytes = (demand.prompt_tokens + demand.output_tokens) * bytes_per_token
    return min(replica.batch, replica.kv_pool_bytes // request_bytes) if request_bytes else replica.batch


def _request_s(problem: CapacityProblem, kind: str, demand: Demand, batch: int, active_models: int) -> float:
    """Seconds of a request in a full batch beside other models that are always busy."""
    speed = problem.fleet.models[demand.model].speeds[kind]
    turns = (1 + speed.colocation_slope) ** (active_models - 1)
    prefills_s = batch * (speed.prefill_overhead_s + demand.prompt_tokens / speed.prefill_tokens_per_s)
    steps_s = demand.output_tokens * (1 + speed.batch_slope * (batch - 1)) / speed.decode_tokens_per_s
    return turns * (prefills_s + steps_s)


def _check_pinned(
    problem: CapacityProblem,
    plan: CapacityPlan,
    resident: _Resident,
    specs: dict[tuple[str, str, str], AcceleratorSpec],
) -> Iterator[str]:
    """Look for pinned replicas that are missing; a plan without any replica moves none."""
    for model in problem.fleet.models.values() if plan.replicas else ():
        for place, spec in specs.items():
            held = {replica.model for replica in resident.get(place, ())}
            if spec.name in model.pinned_on and model.name not in held:
                yield f"{model.name} is pinned on {spec.name} and not there"
