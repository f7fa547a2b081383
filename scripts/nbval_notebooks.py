"""Run every notebook and compare its outputs with the stored ones: strictly on Linux, elsewhere laxly (nbval).

A notebook whose data no source can bring is left out, with a line that says so.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat
from nbfiles import every

from lib import ROOT, data


def lacking(path: Path) -> str:
    """Why a notebook's data cannot be had, "" where it can; data that a source has is fetched."""
    course = nbformat.read(path, as_version=4).metadata.get("course", {})
    for name in course.get("data", ()):
        try:
            if not data.available(name):
                data.fetch(name)
        except data.DataError as error:
            return f"{name}: {error}"
    return ""


def main() -> int:
    ready = []
    for path in every():
        if reason := lacking(path):
            print(f"SKIPPED {path.relative_to(ROOT)}: no source has its data. {reason}")
        else:
            ready.append(str(path.relative_to(ROOT)))
    if not ready:
        print("No notebook was left to run.")
        return 1
    how = "--nbval" if sys.platform == "linux" else "--nbval-lax"
    sanitize = ["--nbval-sanitize-with", "scripts/nbval_sanitize.cfg"]
    command = [sys.executable, "-m", "pytest", how, *sanitize, "-n", "2", "--dist", "loadscope", "-q", *ready]
    return subprocess.call(command, cwd=ROOT)


if __name__ == "__main__":
    sys.exit(main())
