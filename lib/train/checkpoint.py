"""Checkpoints: folders that are whole or refused.

    step-00000123/
        model.safetensors        parameters and buffers
        optimizer.safetensors    the optimizer's tensors, as "parameter/key"
        state.json               everything else, and the SHA-256 of the two files and of itself

A checkpoint is written under another name, flushed to the disk and renamed: one that was cut short never bears the
name. The sums find what was cut or altered later. Safetensors and JSON hold plain data: reading them runs no code.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from lib import files

FORMAT = 1
MODEL, OPTIMIZER, STATE = "model.safetensors", "optimizer.safetensors", "state.json"
_HALF = ".tmp"


class CheckpointError(RuntimeError):
    """There are checkpoints, and none of them can be used."""


class Damaged(Exception):
    """One checkpoint cannot be used; the text says why."""


@dataclass(frozen=True)
class Checkpoint:
    """What was read from a folder, its sums compared."""

    path: Path
    state: dict[str, Any]
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]


def path_of(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return folder / f"step-{step:08}"


def step_of(path: Path) -> int:
    """The step of a checkpoint's folder."""
    return int(path.name.partition("-")[2])


def present(folder: Path) -> list[Path]:
    """The checkpoints in a folder, whole or not, newest first."""
    found = [path for path in folder.glob("step-*") if re.fullmatch(r"step-\d{8,}", path.name)]
    return sorted(found, key=step_of, reverse=True)


def save(
    folder: Path, step: int, model: dict[str, Tensor], optimizer: dict[str, Tensor], state: dict[str, Any]
) -> Path:
    """Write the checkpoint of a step. Raises OSError, and leaves nothing half done behind.

    Each file is put together in memory before it is written: for a moment that takes the model's size again.
    """
    from safetensors.torch import save as packed

    path = path_of(folder, step)
    half = folder / f".{path.name}{_HALF}"
    try:
        half.mkdir()
        sums = {
            MODEL: files.write(half / MODEL, packed(model)),
            OPTIMIZER: files.write(half / OPTIMIZER, packed(optimizer)),
        }
        files.write(half / STATE, _sealed({"format": FORMAT, "step": step, "files": sums, **state}))
        files.sync(half)
        if path.exists():  # one that was refused, or the run would not be here again
            shutil.rmtree(path)
        os.rename(half, path)
        files.sync(folder)
    except OSError:
        shutil.rmtree(half, ignore_errors=True)
        raise
    return path


def read(path: Path) -> Checkpoint:
    """A checkpoint whose files are all as they were written. Raises Damaged otherwise."""
    from safetensors.torch import load as unpacked

    state = read_state(path)
    tensors = {}
    for name in (MODEL, OPTIMIZER):
        data = _bytes(path / name)
        if hashlib.sha256(data).hexdigest() != state["files"][name]:
            raise Damaged(f"{name} is not as it was written (its SHA-256 differs)")
        tensors[name] = unpacked(data)
    return Checkpoint(path, state, tensors[MODEL], tensors[OPTIMIZER])


def read_state(path: Path) -> dict[str, Any]:
    """What state.json holds. Raises Damaged where it is not as it was written."""
    try:
        sealed = json.loads(_bytes(path / STATE))
        state, seal = sealed["state"], sealed["sha256"]
    except (ValueError, KeyError, TypeError):
        raise Damaged(f"{STATE} is not as it was written (it cannot be read)") from None
    if _sum(state) != seal:
        raise Damaged(f"{STATE} is not as it was written (its SHA-256 differs)")
    if state["format"] != FORMAT:
        raise Damaged(f"{STATE} has format {state['format']}; this version of lib.train reads {FORMAT}")
    return state


def newest(folder: Path) -> tuple[Checkpoint | None, list[Path]]:
    """The newest checkpoint that is whole, and newer ones that are not, which are warned about.

    None where there are no checkpoints. Raises CheckpointError where there are some and none is whole.
    """
    refused: dict[Path, str] = {}
    for path in present(folder):
        try:
            good = read(path)
        except Damaged as error:
            refused[path] = str(error)
            continue
        if refused:
            said = "; ".join(f"{bad.name}: {why}" for bad, why in refused.items())
            warnings.warn(f"Going on from {path.name}, the last good checkpoint. {said}.", stacklevel=2)
        return good, list(refused)
    if refused:
        said = "\n".join(f"  {bad.name}: {why}" for bad, why in refused.items())
        raise CheckpointError(
            f"No checkpoint in {folder} can be used:\n{said}\n"
            "Nothing was changed. Bring back the files from a copy, or start again in another folder."
        )
    return None, []


def prune(folder: Path, step: int, refused: Iterable[Path]) -> None:
    """Keep the checkpoint of this step and the last good one before it. Raises OSError."""
    older = [path for path in present(folder) if step_of(path) < step and path not in refused]
    for path in present(folder):
        if path not in (path_of(folder, step), *older[:1]):
            shutil.rmtree(path)


def clean(folder: Path) -> None:
    """Remove what a killed run was writing. Raises OSError."""
    for half in folder.glob(f".*{_HALF}"):
        shutil.rmtree(half) if half.is_dir() else half.unlink()


def _bytes(path: Path) -> bytes:
    """A file's content; Damaged where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        raise Damaged(f"{path.name} " + ("is missing" if missing else f"cannot be read ({error.strerror})")) from None


def _sum(state: dict[str, Any]) -> str:
    """The SHA-256 of plain values, written in one way."""
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def _sealed(state: dict[str, Any]) -> bytes:
    """The state and its sum, as JSON."""
    return json.dumps({"sha256": _sum(state), "state": state}).encode()
