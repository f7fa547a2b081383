"""Files that are there whole or not at all, and a note of what could not be written."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write(path: Path, data: bytes) -> str:
    """Write a file and wait until it is on the disk; returns its SHA-256. Raises OSError."""
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return hashlib.sha256(data).hexdigest()


def sync(folder: Path) -> None:
    """Wait until the names in a folder are on the disk. Windows has no such call, and keeps names in its journal."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def put(path: Path, data: bytes) -> None:
    """Write a file that gets its name once it is whole."""
    with whole(path) as half:
        write(half, data)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Another name, under which to write a file; it gets its own once it is whole: a reader never sees half of it."""
    half = path.with_name(f".{path.name}.tmp")
    try:
        yield half
        os.replace(half, path)
    except BaseException:
        drop(half)
        raise
    sync(path.parent)


def drop(path: Path) -> None:
    """Remove a file where it is there and can be removed."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        pass


class Unsaved:
    """What a run could not write. The run goes on; each cause is warned about once, and every loss is listed."""

    def __init__(self) -> None:
        self.what: list[str] = []
        self._causes: set[tuple[str, int | None]] = set()

    @contextmanager
    def noted(self, kind: str, what: str = "", *, verb: str = "save", final: bool = True) -> Iterator[None]:
        """Turn an OSError inside into a warning, and into an entry unless another attempt follows (`final` False)."""
        try:
            yield
        except OSError as error:
            text = f"{kind} {what}".strip()
            reason = error.strerror or str(error)
            if final:
                self.what.append(f"{text}: {reason}")
            if (kind, error.errno) not in self._causes:
                self._causes.add((kind, error.errno))
                warnings.warn(f"Could not {verb} {text}: {reason}. Training goes on.", stacklevel=3)

    def close(self) -> None:
        """Say at the end of the run what is missing."""
        if self.what:
            listed = "\n  ".join(self.what)
            warnings.warn(f"This run could not save {len(self.what)} thing(s):\n  {listed}", stacklevel=3)
