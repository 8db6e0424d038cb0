"""Runs both measurements of this folder, one after the other: they need the machine for themselves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    """Hands further arguments (such as --json) to both."""
    for script in ("submissions.py", "overhead.py"):
        subprocess.run([sys.executable, str(HERE / script), *sys.argv[1:]], check=True)


if __name__ == "__main__":
    main()
