"""Make exercises/*.ipynb from solutions/*.ipynb: `make exercises`; with --check, say what is out of step (CI).

What stands between `# BEGIN SOLUTION` and `# END SOLUTION` is cut out. Inside a function a `raise NotImplementedError`
takes its place, so that signature and docstring stay; at the top level of a cell each name that the answer assigns
becomes `name = ...`, so that the notebook still runs from top to bottom and the check says "not written yet".
`<!-- hints 10.1 --><!-- /hints -->` is filled in both notebooks from the declared Exercise.
"""

from __future__ import annotations

import argparse
import ast
import copy
import re
import sys
from pathlib import Path

import home
import nbformat
from nbfiles import store, text_of
from nbformat import NotebookNode

from lib import ROOT
from lib.checks.declare import Exercise, find

BEGIN, END = "# BEGIN SOLUTION", "# END SOLUTION"
HINTS = re.compile(r"<!-- hints (?P<number>[\d.]+) -->.*?<!-- /hints -->", re.DOTALL)
HEADING = re.compile(r"^## Exercise (?P<number>\d+\.\d+)\b", re.MULTILINE)
CHECK = re.compile(r"\bcheck\(\s*[\"'](?P<number>[\d.]+)[\"']")


class Fault(Exception):
    """Something in a solution notebook that the author must put right."""


def hints_block(exercise: Exercise) -> str:
    stars = "★" * exercise.difficulty + "☆" * (3 - exercise.difficulty)
    folded = [
        f"<details><summary>Hint {i}: {name}</summary>\n\n{text.strip()}\n\n</details>"
        for i, (name, text) in enumerate(
            zip(("a nudge", "the idea", "nearly there"), exercise.hints, strict=True), start=1
        )
    ]
    head = f"About {exercise.minutes} minutes · difficulty {stars} ({exercise.difficulty} of 3)"
    return "\n\n".join([f"<!-- hints {exercise.number} -->\n{head}", *folded, "<!-- /hints -->"])


def with_hints(solution: NotebookNode) -> NotebookNode:
    """A copy in which every hints marker is filled."""
    filled = copy.deepcopy(solution)
    for i, cell in enumerate(filled.cells):
        if cell.cell_type == "markdown":
            cell.source = HINTS.sub(lambda m, i=i: hints_block(_declared(m["number"], i)), cell.source)
            if "<!-- hints" in HINTS.sub("", cell.source):
                raise Fault(f"cell {i}: a hints marker is not closed; write <!-- hints 10.1 --><!-- /hints -->")
    return filled


def exercise_of(solution: NotebookNode) -> NotebookNode:
    """The exercise notebook: answers cut out, outputs cleared."""
    made = copy.deepcopy(solution)
    number, unchecked = "", {}
    for i, cell in enumerate(made.cells):
        if cell.cell_type == "markdown":
            headings = HEADING.findall(cell.source)
            if len(headings) > 1:
                raise Fault(f"cell {i}: two exercise headings in one cell; give each its own")
            if headings:
                number = headings[0]
                _declared(number, i)
                if f"<!-- hints {number} -->" not in cell.source:
                    raise Fault(f"cell {i}: exercise {number} has no <!-- hints {number} --><!-- /hints -->")
                unchecked[number] = i
        elif cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            cell.source = cut(cell.source, number, i)
            for checked in CHECK.findall(cell.source):
                _declared(checked, i)
                unchecked.pop(checked, None)
    for number, i in unchecked.items():
        raise Fault(f'cell {i}: exercise {number} is followed by no cell with check("{number}", ...)')
    return made


def _declared(number: str, cell: int) -> Exercise:
    try:
        return find(number)
    except ValueError as error:
        raise Fault(f"cell {cell}: {error}") from error


def cut(source: str, number: str, cell: int) -> str:
    """The source of one cell with a stub in place of each answer."""
    lines = source.splitlines()
    marks = [(n, line.strip()) for n, line in enumerate(lines) if line.strip() in (BEGIN, END)]
    if [mark for _, mark in marks] != [BEGIN, END] * (len(marks) // 2):
        raise Fault(f"cell {cell}: {BEGIN} and {END} do not alternate")
    if not marks:
        return source
    if not number:
        raise Fault(f"cell {cell}: an answer stands before the first heading '## Exercise N.M'")
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise Fault(f"cell {cell}, line {error.lineno}: {error.msg}") from error
    for (begin, _), (end, _) in reversed(list(zip(marks[::2], marks[1::2], strict=True))):
        indent = lines[begin][: len(lines[begin]) - len(lines[begin].lstrip())]
        lines[begin : end + 1] = [indent + line for line in _stub(tree, begin + 1, end + 1, number, cell)]
    return "\n".join(lines)


def _stub(tree: ast.Module, begin: int, end: int, number: str, cell: int) -> list[str]:
    """The lines that replace lines begin..end (counted from 1)."""
    path = _enclosing(tree, begin)
    if any(isinstance(node, ast.FunctionDef) for node in path):
        name = ".".join(node.name for node in path)
        return [f'raise NotImplementedError("Exercise {number}: write {name} here")']
    inside = [node for node in tree.body if begin < node.lineno < end]
    if path or any(isinstance(node, (ast.FunctionDef, ast.ClassDef)) for node in inside):
        raise Fault(f"cell {cell}: put {BEGIN} below the `def` line and its docstring, so that the reader keeps them")
    targets = [t for node in inside if isinstance(node, ast.Assign) for t in node.targets]
    targets += [node.target for node in inside if isinstance(node, ast.AnnAssign)]
    names = dict.fromkeys(n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name))
    if not names:
        raise Fault(f"cell {cell}: an answer outside a function must assign a name, which the check then takes")
    return [f"{name} = ...  # Exercise {number}: write {name} here" for name in names]


def _enclosing(tree: ast.Module, line: int) -> list[ast.FunctionDef | ast.ClassDef]:
    """The classes and functions around a line, outermost first. They may stand under an `if`."""
    path, body = [], tree.body
    while True:
        around = [
            n
            for n in body
            if isinstance(n, (ast.FunctionDef, ast.ClassDef, ast.If)) and n.lineno < line <= (n.end_lineno or 0) + 1
        ]
        if not around:
            return path
        path += [n for n in around[-1:] if not isinstance(n, ast.If)]
        body = around[-1].body


def build(check: bool = False, root: Path = ROOT) -> list[str]:
    """Write (or with `check` compare) every exercise notebook; returns what was changed or is out of step."""
    changed = []
    solutions = sorted((root / "solutions").glob("*.ipynb"))
    for path in solutions:
        try:
            solution = with_hints(nbformat.read(path, as_version=4))
            exercise = home.stamped(exercise_of(solution), home.current(), f"exercises/{path.name}")
        except Fault as fault:
            raise Fault(f"solutions/{path.name}, {fault}") from fault
        for target, made in ((path, solution), (root / "exercises" / path.name, exercise)):
            if not target.exists() or target.read_text(encoding="utf-8") != text_of(made):
                changed.append(f"{target.parent.name}/{target.name}")
                if not check:
                    store(made, target)
    for path in sorted((root / "exercises").glob("*.ipynb")):
        if path.name not in {s.name for s in solutions}:
            changed.append(f"exercises/{path.name} (it has no solution notebook)")
            if not check:
                path.unlink()
    return changed


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when something is out of step")
    check = parser.parse_args(argv).check
    try:
        changed = build(check)
    except Fault as fault:
        print(f"build_exercises: {fault}", file=sys.stderr)
        return 1
    for name in changed:
        print(f"{'out of step' if check else 'written'}: {name}")
    if check and changed:
        print("Run `make exercises` and commit the result.")
    return 1 if check and changed else 0


if __name__ == "__main__":
    raise SystemExit(main())
