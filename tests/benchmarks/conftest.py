"""Makes the planner's benchmarks importable: they are scripts that stand beside each other."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "planner"))
