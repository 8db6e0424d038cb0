"""A simulated engine for tests and the simulator: real rules of sharing, no model behind them.

``sharing`` is the pure law by which requests progress; ``text`` what they answer; ``engine`` puts an interface on it.
"""

from maestro_node.engines.simulated.engine import Faults, SimulatedEngine

__all__ = ["Faults", "SimulatedEngine"]
