"""The scheduler's state machine: events and the time in, transitions and effects out.

No sockets, files, clocks, randomness or logging in here: the live loop and the simulator drive the same code.
"""

from maestro_services.scheduler.core.config import CoreConfig, PromptRules, RetryPolicy, SloClass
from maestro_services.scheduler.core.core import SchedulerCore

__all__ = ["CoreConfig", "PromptRules", "RetryPolicy", "SchedulerCore", "SloClass"]
