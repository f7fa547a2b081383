"""Run every notebook and compare its outputs with the stored ones: strictly on Linux, elsewhere laxly (nbval).

A notebook whose data no source can bring is left out, with a line that says so.
"""

from __future__ import annotations

import os
import subprocess
import sys

from environment import STEADY
from nbfiles import every, prepare

from lib import ROOT


def main() -> int:
    ready = []
    for path in every():
        if reason := prepare(path):
            print(f"SKIPPED {path.relative_to(ROOT)}: no source has its data. {reason}")
        else:
            ready.append(str(path.relative_to(ROOT)))
    if not ready:
        print("No notebook was left to run.")
        return 1
    how = "--nbval" if sys.platform == "linux" else "--nbval-lax"
    sanitize = ["--nbval-sanitize-with", "scripts/nbval_sanitize.cfg"]
    command = [sys.executable, "-m", "pytest", how, *sanitize, "-n", "2", "--dist", "loadscope", "-q", *ready]
    return subprocess.call(command, cwd=ROOT, env=os.environ | STEADY)


if __name__ == "__main__":
    sys.exit(main())
