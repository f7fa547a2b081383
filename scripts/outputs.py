"""Run notebooks and store their outputs: `make outputs NB="notebooks/10_perceptron.ipynb"`, by default all.

Runs each in its own folder under the variables that `make test` uses, stops at the first error of a notebook, and
prints seconds, size and how many cells are excused from comparison. --png DIR writes the stored figures to look at.
"""

from __future__ import annotations

import argparse
import base64
import io
import os
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from environment import STEADY
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbfiles import every, prepare, store, text_of
from nbformat import NotebookNode
from PIL import Image

LIMIT = 500_000
"""Bytes of a stored notebook."""


def execute(path: Path) -> NotebookNode:
    """The notebook with fresh outputs; CellExecutionError where a cell fails."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        record_timing=False,
        extra_arguments=["--log-level=ERROR"],  # no warning that the kernel speaks TCP on this machine
        coalesce_streams=True,  # how a stream is split into messages depends on the moment
    )
    client.execute()
    tidy(notebook)
    return notebook


def tidy(notebook: NotebookNode) -> None:
    """Drop what changes from run to run, and count the code cells from 1."""
    notebook.metadata = {k: notebook.metadata[k] for k in ("course", "kernelspec") if k in notebook.metadata}
    for count, cell in enumerate((c for c in notebook.cells if c.cell_type == "code"), start=1):
        cell.execution_count = count
        cell.metadata.pop("execution", None)
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = count
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = lighter(output.data["image/png"])


def lighter(image: str) -> str:
    """The same PNG (in base64) in at most 256 colours: a third of the bytes, and hardly a difference to the eye."""
    picture = Image.open(io.BytesIO(base64.b64decode(image))).convert("RGB")
    smaller = io.BytesIO()
    picture.quantize(256, dither=Image.Dither.NONE).save(smaller, "PNG", optimize=True)
    return min(image, base64.b64encode(smaller.getvalue()).decode(), key=len)


def excused(notebook: NotebookNode) -> tuple[int, int]:
    """How many code cells nbval does not compare, and how many there are."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return sum("nbval-ignore-output" in cell.metadata.get("tags", []) for cell in code), len(code)


def figures(notebook: NotebookNode) -> list[bytes]:
    """The PNG images stored in a notebook, in order."""
    outputs = [o for cell in notebook.cells if cell.cell_type == "code" for o in cell.outputs]
    return [base64.b64decode(o.data["image/png"]) for o in outputs if "image/png" in o.get("data", {})]


def make(path: Path) -> str:
    """Run and store one notebook; returns what went wrong, "" if nothing did."""
    if lacking := prepare(path):
        return lacking
    begun = time.perf_counter()
    try:
        notebook = execute(path)
    except CellExecutionError as error:
        return f"{error.ename}: {error.evalue}\n{error}"
    except (CellTimeoutError, DeadKernelError) as error:
        return f"{type(error).__name__}: {error}"
    size = len(text_of(notebook).encode())
    aside, cells = excused(notebook)
    print(
        f"{path.parent.name}/{path.name}: {time.perf_counter() - begun:.1f} s, {size / 1000:.0f} KB, "
        f"{aside} of {cells} code cells not compared ({aside / max(cells, 1):.0%})",
        flush=True,
    )
    if size > LIMIT:
        return f"{size / 1000:.0f} KB is over {LIMIT / 1000:.0f} KB; not stored. Make the figures lighter."
    store(notebook, path)
    return ""


def write_figures(path: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(figures(nbformat.read(path, as_version=4)), start=1):
        target = folder / f"{path.parent.name}-{path.stem}-{i:02d}.png"
        target.write_bytes(image)
        print(target)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: $NB, or all of notebooks/ and solutions/")
    parser.add_argument("--png", type=Path, metavar="DIR", help="run nothing; write each stored figure to DIR")
    options = parser.parse_args(argv)
    paths = [p.resolve() for p in options.notebooks or map(Path, os.environ.get("NB", "").split())] or every()
    missing = [p for p in paths if not p.is_file()]
    if missing:
        print(f"outputs: there is no {missing[0]}", file=sys.stderr)
        return 2
    if options.png:
        for path in paths:
            write_figures(path, options.png)
        return 0
    failed = 0
    with tempfile.TemporaryDirectory() as home:  # the author's own progress stays out of it
        os.environ.update(STEADY, COURSE_HOME=home)
        for path in paths:
            problem = make(path)
            if problem:
                failed += 1
                print(f"{path.parent.name}/{path.name}: FAILED\n{problem}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
