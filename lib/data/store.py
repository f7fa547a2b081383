"""Bytes on disk: where the cache is, checksums, locks, and writes that are whole or not there at all.

Every write goes to a temporary folder beside its target, under the target's lock, and is renamed into place when it is
complete and on the disk. A killed process leaves at most that folder, which nobody reads and the next writer clears.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import logging
import os
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from tqdm import tqdm

log = logging.getLogger("lib.data")

WAIT = 1800.0
"""Seconds to wait for another process that is fetching the same file."""


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the operating system says when there is no room: disk, quota, largest file."""


class DataError(Exception):
    """Data could not be had. The message says what was wrong, what was expected, and what to do."""


def cache() -> Path:
    """The local cache: `$COURSE_HOME/data`, or `.perceptron-to-gpt/data` in the user's home folder."""
    home = os.environ.get("COURSE_HOME")
    return (Path(home).expanduser() if home else Path.home() / ".perceptron-to-gpt") / "data"


def bar(total: int, what: str) -> tqdm[NoReturn]:
    """A progress bar in bytes that shows itself after two seconds and goes when it is done."""
    from tqdm import tqdm

    return tqdm(total=total, desc=what, unit="B", unit_scale=True, delay=2, leave=False)


@functools.lru_cache(maxsize=256)
def _digest(path: Path, size: int, mtime_ns: int) -> str:
    """SHA-256 of a file. Size and time are in the key, so that a file that changed is read again."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def forget() -> None:
    """Let the next `check` of each file read it again."""
    _digest.cache_clear()


def check(path: Path, size: int, sha256: str) -> None:
    """Raise `DataError` unless the file at `path` is whole and is the declared one."""
    stat = path.stat()
    advice = "Delete that file, or replace it with a good copy, and try again."
    if stat.st_size < size:
        raise DataError(f"{path} is cut short: {stat.st_size:,} bytes of {size:,}. {advice}")
    got = _digest(path, stat.st_size, stat.st_mtime_ns)
    if got != sha256:
        raise DataError(f"{path} has the wrong checksum.\n{compare(sha256, got)}\n{advice}")


def compare(expected: str, got: str) -> str:
    return f"  expected SHA-256 {expected}\n  got              {got}"


@contextmanager
def explained(path: Path, size: int = 0) -> Iterator[None]:
    """Turn the operating system's refusal to write `path` into a `DataError` that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            need = f" {size / 1e6:.1f} MB are needed." if size else ""
            raise DataError(
                f"The disk is full: {path} could not be written ({error.strerror}).{need} "
                "Free some space, or set COURSE_HOME to a folder on a larger disk."
            ) from error
        raise DataError(
            f"The data cache cannot be written: {path} ({error.strerror or error}). "
            "Set COURSE_HOME to a folder that you may write to."
        ) from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock that guards writing `path`. A second process waits here until the first is done, or has died."""
    from filelock import FileLock, Timeout

    locks = cache() / "locks"
    lock = FileLock(locks / (hashlib.sha256(str(path).encode()).hexdigest()[:16] + ".lock"))
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        locks.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("another process is preparing %s; waiting for it", path)
            try:
                lock.acquire(timeout=WAIT)
            except Timeout:
                raise DataError(
                    f"Another process has held {lock.lock_file} for {WAIT / 60:.0f} minutes. End it and try again."
                ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def workspace(path: Path) -> Iterator[Path]:
    """An empty folder beside `path` to prepare it in; call with the lock of `path` held.

    What a killed process left there is cleared first: with the lock in hand, nobody else is writing.
    """
    folder = path.with_name(path.name + ".tmp")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def whole(path: Path, size: int = 0) -> Iterator[IO[bytes]]:
    """Write `path` whole or not at all: into a workspace, onto the disk, then renamed. Call with its lock held."""
    with explained(path, size), workspace(path) as folder:
        part = folder / path.name
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)


def copy(source: IO[bytes], origin: str, target: Path, size: int, sha256: str) -> None:
    """Copy an open file into the cache at `target`, once; a wrong checksum is an error that names its `origin`."""
    with locked(target):
        if target.is_file():
            return check(target, size, sha256)
        digest = hashlib.sha256()
        with whole(target, size) as file, bar(size, f"copying {target.name}") as progress:
            while block := _block(source, origin):
                file.write(block)
                digest.update(block)
                progress.update(len(block))
            if digest.hexdigest() != sha256:
                raise DataError(f"{origin} has the wrong checksum.\n{compare(sha256, digest.hexdigest())}")


def _block(source: IO[bytes], origin: str) -> bytes:
    try:
        return source.read(1 << 20)
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{origin} cannot be read: {error}") from error
