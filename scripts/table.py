"""`make course`: run every lesson and write what it took into README's table, between its `<!-- table -->` markers."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import nbformat

from lib import ROOT, runner

TABLE = re.compile(r"<!-- table -->.*?<!-- /table -->", re.DOTALL)
HEAD = ["| | topic | minutes | exercises | solutions | run time | peak memory |", "|---|---|---|---|---|---|---|"]


def row(run: runner.Run, root: Path = ROOT) -> str:
    """One lesson: number, title, minutes to learn it, links, what it took here."""
    course = nbformat.read(run.path, as_version=4).metadata.course
    number, name = run.path.name.partition("_")[0], run.path.name
    links = [
        f"[{folder}]({folder}/{name})" if (root / folder / name).is_file() else ""
        for folder in ("exercises", "solutions")
    ]
    took = f"{run.seconds:.0f} s | {run.peak / runner.MB:.0f} MB"
    return f"| {number} | [{course.title}](notebooks/{name}) | {course.minutes} | {links[0]} | {links[1]} | {took} |"


def write(runs: list[runner.Run], readme: Path = ROOT / "README.md") -> None:
    """Put the table in its place; ValueError where the place is not marked."""
    table = "\n".join(["<!-- table -->", *HEAD, *(row(run, readme.parent) for run in runs), "<!-- /table -->"])
    text, n = TABLE.subn(lambda _: table, readme.read_text("utf-8"))
    if n != 1:
        raise ValueError(f"{readme} needs one pair of markers <!-- table --> and <!-- /table -->; it has {n}.")
    readme.write_text(text, "utf-8", newline="\n")


def main() -> int:
    runs = [runner.run(path) for path in runner.chapters()]
    for run in runs:
        print(runner.line(run))
    if any(run.error for run in runs):
        print("A notebook failed, so README's table is left as it was.")
        return 1
    write(runs)
    print(f"README's table is written: {len(runs)} notebooks, {sum(run.seconds for run in runs):.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
