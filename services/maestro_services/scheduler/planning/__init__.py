"""Hosts the solver in a process of its own, so that its wall-clock limit is a limit: it is killed and replaced."""

from maestro_services.scheduler.planning.host import PlannerHost

__all__ = ["PlannerHost"]
