"""Measure every implementation against its reference, and write docs/verified.md.

    python scripts/verify.py            measure, and write the table; exit status 1 when a claim does not hold
    python scripts/verify.py --check    measure nothing; exit status 1 when the table lacks a row, or has one too many

The rows are the lists `CLAIMS` in `tests/**/verified.py`, the same that the tests assert. A new folder of tests with
such a file appears in the table without a change here.
"""

from __future__ import annotations

import argparse
import importlib
import math
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # so that `tests` can be imported from any folder

from tests.claims import Claim  # noqa: E402

TABLE = ROOT / "docs" / "verified.md"
PREFACE = """# What is verified

`make verify` measures this table; do not edit it. Each row is an implementation of this course beside an independent
reference, over random cases that are the same in every run. The error is the largest difference found, relative to the
larger of 1 and the reference's largest entry. It is rounded up to a power of ten, from 1e-15, since the last digits
differ between machines. A test fails when an error exceeds the tolerance.
"""
HEADER = ["implementation", "reference: what is compared", "largest error", "tolerance"]


def claims() -> dict[str, list[Claim]]:
    """The claims of each folder of tests, by the part of `lib` that it is about."""
    folders = sorted(file.parent.relative_to(ROOT / "tests") for file in (ROOT / "tests").rglob("verified.py"))
    parts = [".".join(folder.parts) for folder in folders]
    return {f"lib.{part}": importlib.import_module(f"tests.{part}.verified").CLAIMS for part in parts}


def bound(error: float) -> str:
    """The next power of ten above `error`, from 1e-15: what lies below is the rounding of one operation."""
    return f"< 1e{math.floor(math.log10(max(error, 1e-16))) + 1:03d}"


def key(claim: Claim) -> tuple[str, str, str]:
    return claim.name, claim.reference, f"{claim.tolerance:.0e}"


def rows_of(text: str) -> list[tuple[str, ...]]:
    """The rows of every table in `text`, without the error, which only a measurement knows."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return [(cells[0], cells[1], cells[3]) for cells in lines if cells != HEADER and set(cells[0]) != {"-"}]


def check() -> int:
    """Compare the rows of the stored table with the claims."""
    stored = rows_of(TABLE.read_text(encoding="utf-8")) if TABLE.exists() else []
    expected = [key(claim) for group in claims().values() for claim in group]
    for row in expected:
        if row not in stored:
            print(f"docs/verified.md lacks: {' | '.join(row)}")
    for row in stored:
        if row not in expected:
            print(f"docs/verified.md has a row that nothing claims: {' | '.join(row)}")
    if stored == expected:
        print(f"docs/verified.md has all {len(stored)} rows")
        return 0
    print("Write it again with `make verify`.")
    return 1


def measure() -> int:
    """Measure every claim and write the table, or say which claim failed and write nothing."""
    parts, failed = [PREFACE], 0
    for title, group in claims().items():
        lines = [HEADER, ["---"] * len(HEADER)]
        for claim in group:
            try:
                error = bound(claim.measure())
            except AssertionError as problem:
                error, failed = f"FAILED: {problem}", failed + 1
            name, reference, tolerance = key(claim)
            print(f"{title}  {name:<42}{reference:<52}{error}", flush=True)
            lines.append([name, reference, error, tolerance])
        parts.append(f"## {title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n")
    if failed:
        print(f"{failed} claims do not hold; docs/verified.md is left as it was.")
        return 1
    TABLE.write_text("\n".join(parts), encoding="utf-8", newline="\n")
    print(f"Wrote {TABLE.relative_to(ROOT)}.")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare the rows only, measure nothing")
    sys.exit(check() if parser.parse_args().check else measure())
