"""The figures of each step: one row each, in metrics.csv and in TensorBoard."""

from __future__ import annotations

import csv
import io
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lib import files

Row = dict[str, float]


class Metrics:
    """metrics.csv: a row for each step, with the columns that any row has; an empty cell where a row has no value.

    Rows wait in memory for up to a second, and for as long as the disk takes none. Raises OSError where it takes none;
    nothing is lost then, and the next call tries again.
    """

    PAUSE = 1.0
    """Seconds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.columns: list[str] = []
        self.waiting: list[Row] = []
        self._size = 0
        self._last = time.monotonic()

    def cut(self, step: int) -> list[Row]:
        """Remove the rows after a step, which the run is going to make again; returns those that stay."""
        rows = [row for row in read(self.path) if row["step"] <= step]
        self._rewrite(rows)
        return rows

    def add(self, row: Row) -> None:
        """Take a row, and write those that wait if they have waited long enough."""
        self.waiting.append(row)
        if time.monotonic() - self._last >= self.PAUSE:
            self.flush()

    def flush(self) -> None:
        """Write the rows that wait. A process that is killed loses none of them after that."""
        self._last = time.monotonic()
        if not self.waiting:
            return
        if any(name not in self.columns for row in self.waiting for name in row):
            before = [row for row in read(self.path) if row["step"] < self.waiting[0]["step"]]
            self._rewrite(before + self.waiting)
        else:
            with open(self.path, "ab") as file:
                if file.tell() > self._size:
                    file.truncate(self._size)  # half a row that an attempt on a full disk left
                data = _text(self.columns, self.waiting)
                file.write(data)
            self._size += len(data)
        self.waiting = []

    def sync(self) -> None:
        """Wait until what was written is on the disk, so that not even a power cut takes it."""
        with open(self.path, "ab") as file:
            os.fsync(file.fileno())

    def _rewrite(self, rows: list[Row]) -> None:
        """Write the whole file, with every column that is needed; they count once it is there."""
        columns = list(dict.fromkeys(name for row in [dict.fromkeys(self.columns), *rows] for name in row))
        data = _text(columns, [dict(zip(columns, columns, strict=True)), *rows]) if columns else b""
        files.put(self.path, data)
        self.columns, self._size = columns, len(data)


def _text(columns: list[str], rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows as CSV. A float is written with all the digits that make it: reading gives the same number back."""
    text = io.StringIO()
    csv.DictWriter(text, columns, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def read(path: Path) -> list[Row]:
    """The rows of a metrics.csv, up to the first that a killed run left unfinished; none where there is no file."""
    if not path.is_file():
        return []
    text = path.read_text("utf-8")
    rows: list[Row] = []
    for cells in csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1])):
        try:
            rows.append({name: float(cell) for name, cell in cells.items() if cell})
            rows[-1]["step"] = int(cells["step"])
        except (KeyError, TypeError, ValueError):
            break
    return rows


class Board:
    """TensorBoard, where it is installed: the same figures as curves, in the folder `tensorboard`.

    A curve takes a few rows at a time, at most POINTS a second: it shows no more, and each one wakes another thread.
    """

    PAUSE = 1.0
    """Seconds."""
    POINTS = 10

    def __init__(self, folder: Path, step: int) -> None:
        """Curves after `step` are hidden by what is written from here on. Raises OSError."""
        self._writer: Any = None
        self._waiting: list[Row] = []
        self._last = time.monotonic()
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def add(self, row: Row) -> None:
        """Take a row, and write those that wait if they have waited long enough. Raises OSError."""
        if self._writer is None:
            return
        self._waiting.append(row)
        if time.monotonic() - self._last >= self.PAUSE:
            self._write()

    def _write(self) -> None:
        rows, self._waiting, self._last = self._waiting, [], time.monotonic()
        every = max(1, len(rows) // self.POINTS)
        fewest = min(map(len, rows), default=0)
        for i, row in enumerate(rows):
            if i % every == 0 or len(row) > fewest:  # an evaluation is never left out
                for name in row.keys() - {"step"}:
                    self._writer.add_scalar(name, row[name], int(row["step"]))

    def close(self) -> None:
        """Write what waits, and stop the thread that writes. Raises OSError."""
        if self._writer is not None:
            self._write()
            self._writer.close()
