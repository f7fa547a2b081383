"""Set mutants on the checks: `make mutants`, `make mutants NN=10`. Exit 1 where a chapter's checks kill under 95%.

Each answer of each solution notebook is changed in one small place at a time (scripts/mutations.py), and the
exercise's own check must fail. A survivor that computes the same as the answer is listed with its reason in
tests/mutants_equivalent.json, and does not count; an entry that no longer survives is an error. Then every declared
misconception is tried in other dress (scripts/variants.py); at least 90% of a chapter's must still be named.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import json
import multiprocessing
import os
import re
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
from build_exercises import BEGIN, CHECK, END, HEADING
from environment import STEADY
from mutations import mutants
from nbfiles import every
from variants import named

from lib import ROOT
from lib.checks.compare import differ, freeze
from lib.checks.declare import Case, Exercise, find
from lib.checks.judge import find_fault
from lib.checks.run import Outcome, Stopped, run, run_all, time_limit

SECONDS = 2.0
KILLED, NAMED = 0.95, 0.90
EQUIVALENT = ROOT / "tests" / "mutants_equivalent.json"


@dataclass
class Score:
    """What became of one chapter's mutants and variants."""

    name: str
    total: int = 0
    survivors: list[tuple[str, str]] = field(default_factory=list)  # exercise number, description
    variants: int = 0
    unnamed: list[str] = field(default_factory=list)


@dataclass
class Part:
    """One exercise in a solution notebook: its code cells up to the check, what check is given, the cells after it."""

    number: str
    cells: list[str] = field(default_factory=list)
    answer: str = ""
    after: list[str] = field(default_factory=list)


def parts(path: Path) -> tuple[list[str], list[Part]]:
    """The given cells before the first exercise, and the exercises."""
    given: list[str] = []
    found: list[Part] = []
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown" and (heading := HEADING.search(cell.source)):
            found.append(Part(heading["number"]))
        elif cell.cell_type == "code" and "setup" not in cell.metadata.get("tags", []):
            if CHECK.search(cell.source) and found:
                found[-1].answer = found[-1].answer or _answer(cell.source)
            elif not re.search(r"\bplt\.|\bhint\(", cell.source) or BEGIN in cell.source:
                here = given if not found else found[-1].after if found[-1].answer else found[-1].cells
                here.append(cell.source)
    return given, found


def _answer(source: str) -> str:
    """The second argument of the check call."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "check":
            return ast.unparse(node.args[1])
    raise RuntimeError(f"no check(number, answer) in {source!r}")


def spans(source: str) -> list[tuple[int, int]]:
    """First and last line of each answer of a cell, counted from 1."""
    lines = [line.strip() for line in source.splitlines()]
    begins = [n for n, line in enumerate(lines, start=1) if line == BEGIN]
    ends = [n for n, line in enumerate(lines, start=1) if line == END]
    return list(zip(begins, ends, strict=True))


def survives(
    exercise: Exercise,
    namespace: dict[str, Any],
    part: Part,
    sources: list[str],
    wants: list[Outcome],
    cases: list[tuple[Case, int]],
) -> bool:
    """Whether the check passes when the exercise's cells have these sources."""
    scope = dict(namespace)
    try:
        with time_limit(SECONDS), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            for source in sources:
                exec(compile(source, "<mutant>", "exec"), scope)
            value = eval(part.answer, scope)
    except (Exception, Stopped, SystemExit):
        return False
    return passes(exercise, value, wants, cases)


def passes(exercise: Exercise, answer: Any, wants: list[Outcome], cases: list[tuple[Case, int]]) -> bool:
    """check's verdict on seed 0, without the diagnosis; stops at the first failing case."""
    if exercise.is_value:
        return differ(freeze(answer), freeze(exercise.reference), exercise.tolerance) is None
    with contextlib.suppress(Stopped), time_limit(SECONDS):
        for (case, seed), want in zip(cases, wants, strict=True):
            got = run(exercise, answer, case, seed)
            if got.changed or find_fault(got, want, case, exercise.tolerance):
                return False
        return True
    return False


def score(path: Path) -> Score:
    """All mutants of one solution notebook."""
    result = Score(path.stem)
    given, found = parts(path)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    os.chdir(path.parent)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        for source in given:
            exec(compile(source, path.name, "exec"), namespace)
    for part in found:
        exercise = find(part.number)
        cases = [] if exercise.is_value else exercise.draw(0)
        wants = run_all(exercise, exercise.reference, cases)
        if not survives(exercise, namespace, part, part.cells, wants, cases):
            raise RuntimeError(f"the solution of {part.number} does not pass its own check")
        for i, source in enumerate(part.cells):
            for description, mutant in mutants(source, spans(source)) if BEGIN in source else ():
                changed = [*part.cells[:i], mutant, *part.cells[i + 1 :]]
                result.total += 1
                if survives(exercise, namespace, part, changed, wants, cases):
                    result.survivors.append((part.number, description))
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            for source in part.cells + part.after:  # later exercises may use this answer
                exec(compile(source, path.name, "exec"), namespace)
        for m in exercise.misconceptions:
            for variant, ok in named(exercise, m):
                result.variants += 1
                if not ok:
                    result.unnamed.append(f"{part.number} {m.title!r} as {variant}")
    return result


def report(result: Score, equivalent: dict[str, list[dict[str, str]]]) -> bool:
    """Print one chapter's score; whether it is good enough and the list of equivalents holds no stale entry."""
    listed = {
        (n, e["mutant"]) for n, entries in equivalent.items() for e in entries if n.split(".")[0] == result.name[:2]
    }
    stale = listed - set(result.survivors)
    alive = [s for s in result.survivors if s not in listed]
    counted = result.total - (len(result.survivors) - len(alive))
    share = 1 - len(alive) / counted if counted else 1.0
    shown = 1 - len(result.unnamed) / result.variants if result.variants else 1.0
    print(
        f"{result.name}: {counted - len(alive)} of {counted} mutants killed ({share:.1%}), "
        f"{len(result.survivors) - len(alive)} more equivalent; "
        f"{result.variants - len(result.unnamed)} of {result.variants} variants of misconceptions named ({shown:.1%})"
    )
    for number, description in alive:
        print(f"  survives {number}: {description}")
    for text in result.unnamed:
        print(f"  not named {text}")
    for number, description in sorted(stale):
        print(f"  stale entry in {EQUIVALENT.name}, {number}: {description}")
    return share >= KILLED and shown >= NAMED and not stale


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chapters", nargs="*", help="chapter numbers, by default $NN or all")
    chosen = parser.parse_args(argv).chapters or os.environ.get("NN", "").split()
    paths = [p for p in every("solutions") if not chosen or p.name[:2] in chosen]
    if unknown := set(chosen) - {p.name[:2] for p in paths}:
        print(f"mutants: there is no solution notebook of chapter {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    equivalent = json.loads(EQUIVALENT.read_text(encoding="utf-8")) if EQUIVALENT.exists() else {}
    os.environ.update(STEADY)
    good = True
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        for path, future in [(path, pool.submit(score, path)) for path in paths]:
            if error := future.exception():
                print(f"{path.stem}: FAILED, {type(error).__name__}: {error}")
                good = False
            else:
                good &= report(future.result(), equivalent)
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
