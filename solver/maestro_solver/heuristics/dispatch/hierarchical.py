"""Three levels, each deciding for itself: the order of workflows, then a cluster, then an accelerator in it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from maestro.snapshot import WaitingStage, WorkflowState
from maestro_solver.heuristics.dispatch.policy import DispatchPolicy, LoadSite, Resident, Site
from maestro_solver.heuristics.policies.policy import OrderKey

AGING_PER_S = 0.01
"""How much slack (as a multiple of the remaining work) a second of age is worth."""

_RANKS = {"interactive": 0.0, "standard": 1.0, "batch": 2.0}


@dataclass(frozen=True, slots=True)
class ClassThenSlack:
    """Interactive before standard before batch; within a class the least slack per remaining work, the old sooner.

    Trade-offs: the class that matters most is served first, whatever it costs the others; the three levels do not
    know of each other, so a good order can be spent on a bad place.
    """

    name: str = "hierarchical"

    def order_key(self, workflow: WorkflowState, stage: WaitingStage) -> OrderKey:
        """Rank of the class, then slack over remaining work less what age is worth."""
        slack = (workflow.deadline_s - stage.tail_s) / max(workflow.remaining_work_s, 1.0)
        return (_RANKS.get(workflow.slo_class, _RANKS["standard"]), slack - AGING_PER_S * workflow.age_s)


def cluster_then_accelerator(sites: Sequence[Site]) -> Site:
    """The cluster by load and network time first, then in it the accelerator with the fewest other models at work."""
    clusters: dict[str, list[Site]] = defaultdict(list)
    for site in sites:
        clusters[site.cluster].append(site)
    chosen = min(clusters.values(), key=lambda members: _mean_load(members) + members[0].network_s)
    return min(chosen, key=lambda site: (site.active_models, site.kv_share))


def _mean_load(sites: Sequence[Site]) -> float:
    return sum(site.accelerator_load for site in sites) / len(sites)


def cluster_then_fewest_missed(sites: Sequence[LoadSite]) -> LoadSite:
    """The cluster where the model would serve first (queue and load), then the accelerator that fits it best.

    There: the fewest models that leave though something waits for them, then the fewest at all, then the fewest
    neighbours.
    """

    def score(site: LoadSite) -> tuple[float, ...]:
        missed = sum(found.waiting > 0 for found in site.evicted)
        return (missed, len(site.evicted), site.residents, site.accelerator_load, site.ready_in_s)

    cluster = min(sites, key=lambda site: site.ready_in_s).cluster
    return min((site for site in sites if site.cluster == cluster), key=score)


def soon_needed_last(resident: Resident) -> tuple[float, ...]:
    """The model with the fewest stages waiting for it leaves first, then the least recently used."""
    return (resident.waiting, resident.last_used_s)


HIERARCHICAL = DispatchPolicy(
    "hierarchical",
    ClassThenSlack(),
    place=cluster_then_accelerator,
    load=cluster_then_fewest_missed,
    evict=soon_needed_last,
    changes_with_time=True,
)
