"""What the scripts that read and write notebooks share: where they are, and one way to store them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from lib import ROOT, data


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


def prepare(path: Path) -> str:
    """Fetch a notebook's data and decode its images, so that no progress bar gets into its outputs.

    Returns why its data cannot be had, "" where it can.
    """
    for name in nbformat.read(path, as_version=4).metadata.get("course", {}).get("data", ()):
        try:
            if not data.available(name):
                data.fetch(name)
            if data.CATALOG[name].images:
                for split in data.CATALOG[name].splits:
                    data.arrays(name, split.name)
        except data.DataError as error:
            return f"{name}: {error}"
    return ""
