"""Scenario files: fleet, models, service levels and every setting an operator tunes, read from one YAML file.

``load`` returns a checked ``Scenario`` or points at file, line and key; each section has a module of its own.
"""

from maestro.scenario.fleet import ConfiguredNode
from maestro.scenario.loader import find_machine_problems, find_problems, load
from maestro.scenario.root import Scenario

__all__ = ["ConfiguredNode", "Scenario", "find_machine_problems", "find_problems", "load"]
