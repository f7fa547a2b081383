"""What the scripts that read and write notebooks share: where they are, and one way to store them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from lib import ROOT

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "PYTHONUTF8": "1"}
"""The variables under which outputs are stored, as `make test` compares them: sums differ with the threads."""


def every(*folders: str) -> list[Path]:
    """All notebooks of the folders, by default those with stored outputs."""
    return [p for folder in folders or ("notebooks", "solutions") for p in sorted((ROOT / folder).glob("*.ipynb"))]


def text_of(notebook: NotebookNode) -> str:
    """A notebook as it is stored: always the same text for the same content."""
    return nbformat.v4.writes(notebook, indent=1, sort_keys=True, ensure_ascii=False).rstrip("\n") + "\n"


def store(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook all at once: another process sees the old one or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text_of(notebook))
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
