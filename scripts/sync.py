"""Hold notebook cells to lib: a cell that starts `# lib: grad/scalar.py::Value` is what lib has under that name.

Compared by syntax tree, docstrings aside, so that comments and layout may differ. lib is the source: without --check
the cell is written anew from it. A dotted name is a method (`# lib: grad/scalar.py::Value.backward`).
"""

from __future__ import annotations

import argparse
import ast
import difflib
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbfiles import every, store

from lib import ROOT

MARK = re.compile(r"# lib: (?P<file>[\w/]+\.py)::(?P<name>[\w.]+)\s*$")
Definition = ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign


class Missing(Exception):
    """A marker points at nothing."""


def of_lib(file: str, name: str, lib: Path) -> str:
    """The source of a function, class, method or constant of lib."""
    path = lib / file
    if not path.is_file():
        raise Missing(f"there is no lib/{file}")
    source = path.read_text(encoding="utf-8")
    body: list[ast.stmt] = ast.parse(source).body
    node: ast.stmt | None = None
    for part in name.split("."):
        node = next((n for n in body if part in _names(n)), None)
        if node is None:
            raise Missing(f"lib/{file} has no {name}")
        body = getattr(node, "body", [])
    assert node is not None
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(d.lineno for d in decorators)])
    lines = source.splitlines()[first - 1 : node.end_lineno]
    return textwrap.dedent("\n".join(lines))


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def plain(source: str) -> str:
    """The code without docstrings, comments and layout."""
    tree = ast.parse(textwrap.dedent(source))
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Module)) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def differences(paths: list[Path], lib: Path, write: bool) -> Iterator[str]:
    """For each cell out of step what is wrong with it; with `write` the cells that can be mended are."""
    for path in paths:
        notebook, changed = nbformat.read(path, as_version=4), False
        for i, cell in enumerate(notebook.cells):
            first, _, rest = cell.source.partition("\n")
            if cell.cell_type != "code" or not first.startswith("# lib:"):
                continue
            where = f"{path.parent.name}/{path.name}, cell {i}"
            mark = MARK.match(first)
            if mark is None:
                yield f"{where}: {first!r} is not of the form '# lib: path.py::Name'"
                continue
            try:
                wanted = of_lib(mark["file"], mark["name"], lib)
                have, want = plain(rest), plain(wanted)
            except (Missing, SyntaxError) as error:
                yield f"{where}: {error}"
                continue
            if have != want:
                names = f"lib/{mark['file']}", where
                diff = difflib.unified_diff(want.splitlines(), have.splitlines(), *names, lineterm="")
                yield f"{where}: differs from lib\n" + "\n".join(diff)
                cell.source, changed = f"{first}\n{wanted}", True
        if changed and write:
            store(notebook, path)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when a cell differs")
    check = parser.parse_args(argv).check
    found = list(differences(every(), ROOT / "lib", write=not check))
    for text in found:
        print(text, file=sys.stderr)
    if found and check:
        print("lib is the source. `python scripts/sync.py` writes its code into the cells.", file=sys.stderr)
    return 1 if found and check else 0


if __name__ == "__main__":
    raise SystemExit(main())
