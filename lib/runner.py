"""Running notebooks from top to bottom, and measuring them: `course run` and `make course` are both this.

Nothing is stored: the notebook runs in memory, in an empty folder, as someone would run it anywhere.
"""

from __future__ import annotations

import difflib
import tempfile
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from lib import ROOT

if TYPE_CHECKING:
    import nbformat
    from nbclient import NotebookClient

MB = 2**20
CELL_LIMIT = 600
"""Seconds after which a cell counts as stuck."""


class ChapterError(ValueError):
    """There is no such chapter, or none at all."""


@dataclass(frozen=True)
class Run:
    """What one run of a notebook took; `error` is "" where it reached its end."""

    path: Path
    seconds: float
    peak: int
    """Bytes: the most that the kernel and its children held at once."""
    error: str = ""


def chapters(numbers: Iterable[str] = (), folder: Path = ROOT / "notebooks") -> list[Path]:
    """The lessons of these numbers ("10", or "10_perceptron"), all of them where none is given."""
    every = {path.name.partition("_")[0]: path for path in sorted(folder.glob("[0-9][0-9]_*.ipynb"))}
    if not every:
        raise ChapterError(f"There are no notebooks in {folder}.")
    wanted = [number.partition("_")[0].zfill(2) for number in numbers]
    for number in wanted:
        if number not in every:
            raise ChapterError(f"There is no chapter {number}. Did you mean {_nearest(number, every).stem}?")
    return [every[number] for number in wanted or every]


def _nearest(asked: str, every: dict[str, Path]) -> Path:
    """By number, or by topic where a topic was asked for."""
    if asked.isdecimal():
        return every[min(every, key=lambda number: abs(int(number) - int(asked)))]
    topics = {path.stem.partition("_")[2]: path for path in every.values()}
    return topics[difflib.get_close_matches(asked, topics, n=1, cutoff=0)[0]]


def run(path: Path) -> Run:
    """Execute a notebook in a kernel of its own, with a bar of its code cells; stop at the first that fails."""
    import nbformat
    from nbclient import NotebookClient
    from tqdm import tqdm

    notebook = nbformat.read(path, as_version=4)
    code = [(i, cell) for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    error = ""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        client = NotebookClient(
            notebook,
            timeout=CELL_LIMIT,
            resources={"metadata": {"path": folder}},
            extra_arguments=["--log-level=ERROR"],  # no warning that the kernel speaks TCP on this machine
        )
        began = time.perf_counter()
        with client.setup_kernel(), Peak(_process(client)) as peak, tqdm(code, desc=path.stem, unit="cell") as bar:
            for i, cell in bar:
                if error := _execute(client, cell, i):
                    break
            seconds = time.perf_counter() - began
    return Run(path, seconds, peak.most, error)


def _execute(client: NotebookClient, cell: nbformat.NotebookNode, i: int) -> str:
    """Run one cell; returns what went wrong, and where."""
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    try:
        client.execute_cell(cell, i)
        return ""
    except CellExecutionError as failure:
        what = f"{failure.ename}: {failure.evalue}"
    except CellTimeoutError:
        what = f"not done after {CELL_LIMIT} s"
    except DeadKernelError:
        what = "the kernel died, perhaps for want of memory"
    return "\n".join([f"{what}\nin the cell", *(f"    {line}" for line in cell.source.splitlines()[:5])])


def _process(client: NotebookClient) -> int:
    """The process id of a client's kernel."""
    return client.km.provisioner.process.pid  # type: ignore[union-attr]


class Peak:
    """Watches a process and its children, and keeps the most memory (resident) that they held together."""

    def __init__(self, pid: int, every: float = 0.1) -> None:
        self.pid, self.every, self.most = pid, every, 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._done.wait(self.every):
            self.most = max(self.most, resident(self.pid))

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._done.set()
        self._thread.join()
        self.most = max(self.most, resident(self.pid))


def resident(pid: int) -> int:
    """Bytes that a process and all its children hold in memory; 0 where it has ended."""
    import psutil

    total = 0
    try:
        process = psutil.Process(pid)
        for each in [process, *process.children(recursive=True)]:
            try:
                total += each.memory_info().rss
            except psutil.NoSuchProcess:  # a child that ended between the two lines
                continue
    except psutil.NoSuchProcess:
        pass
    return total


def line(run: Run) -> str:
    """One line on a run, for the terminal."""
    end = "ok" if not run.error else f"FAILED\n{run.error}"
    return f"{run.path.stem:<28} {run.seconds:6.1f} s  {run.peak / MB:6.0f} MB  {end}"
