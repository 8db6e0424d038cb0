"""What becomes of the stages a plan defers: the list scheduler goes on from the plan's last state.

A deferred stage must not be imagined to find an empty fleet after the horizon, or putting work off looks cheap.
"""

from __future__ import annotations

from maestro_solver.heuristics.list_scheduler import ScheduleBuilder, order_keys
from maestro_solver.heuristics.policies.edf import EarliestDeadlineFirst
from maestro_solver.heuristics.policies.hopeless_last import HopelessLast
from maestro_solver.heuristics.replay import replay_resident, replay_stage
from maestro_solver.heuristics.state import FleetState
from maestro_solver.instance import Instance
from maestro_solver.schedule import Schedule

CONTINUATION_POLICY = HopelessLast(EarliestDeadlineFirst())
"""One fixed order, so that all candidate plans are judged alike."""


def continued(instance: Instance, planned: Schedule) -> Schedule:
    """``planned`` with its deferred stages placed from the horizon on, by one fixed policy.

    ``planned`` holds only what starts within the horizon. Stages that nothing can hold stay unplaced.
    """
    builder = ScheduleBuilder(instance, state_after(instance, planned), patience=1.0)
    builder.keep(planned.spans, planned.options)
    builder.place_all(order_keys(instance, CONTINUATION_POLICY))
    return builder.schedule()


def state_after(instance: Instance, planned: Schedule) -> FleetState:
    """The fleet with all of ``planned`` carried out, open for decisions from the horizon on."""
    state = FleetState(instance, floor=instance.horizon)
    for resident in sorted(planned.residents, key=lambda found: found.load_start):
        replay_resident(state, resident)
    for position, option in planned.options.items():
        replay_stage(state, option, planned.spans[position])
    return state
