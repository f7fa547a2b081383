"""`make home URL=...`: badges and setup cells of every notebook, README and pyproject point at one home.

Without URL, everything is stamped again from pyproject's `[tool.course] home`. `--check` changes nothing, and fails
where a file is out of step.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from urllib.parse import quote

import nbformat
from nbfiles import text_of

from lib import ROOT

HOME = re.compile(r'^home = "(.*)"$', re.MULTILINE)
BADGES = re.compile(r"<!-- badges -->.*?<!-- /badges -->", re.DOTALL)
COLAB = "https://colab.research.google.com"
STUDIO_BADGE = "https://pl-bolts-doc-images.s3.us-east-2.amazonaws.com/app-2/studio-badge.svg"
SETUP = """\
import os, sys; found = [p for p in ("..", "{name}", *sys.path) if os.path.exists(os.path.join(p, "lib/bootstrap.py"))]
sys.path[:0] = found[:1] or (os.system("git clone --depth 1 {url} {name}") and sys.exit("{sorry}")) or ["{name}"]; \
from lib.bootstrap import setup; setup()"""
SORRY = "The course is not here and could not be cloned. This needs git and the network; then run this cell again."


def normal(url: str) -> str:
    """The https address of a repository, from any form that git hosts show; ValueError for anything else."""
    text = url.strip().rstrip("/")
    if ssh := re.fullmatch(r"(?:ssh://)?git@([\w.-]+)[:/](.+)", text):
        text = f"https://{ssh[1]}/{ssh[2]}"
    text = text.removesuffix(".git").rstrip("/")
    if not re.fullmatch(r"https://[\w-]+(\.[\w-]+)+(/[\w.~-]+){2,}", text):
        raise ValueError(
            f"{url!r} is not the address of a repository. "
            "Expected https://github.com/OWNER/NAME or git@github.com:OWNER/NAME.git"
        )
    return text


def badges(url: str, path: str) -> str:
    """The badges of the file at `path`; Colab and Lightning Studio open GitHub's repositories only."""
    if not url.startswith("https://github.com/"):
        return f"[View on {url.split('/')[2]}]({url})"
    page = f"{url}/blob/main/{path}"
    colab = f"{COLAB}/github/{page.removeprefix('https://github.com/')}"
    return (
        f"[![Open in Colab]({COLAB}/assets/colab-badge.svg)]({colab}) "
        f"[![Open in Lightning Studio]({STUDIO_BADGE})](https://lightning.ai/new?repo_url={quote(page, safe='')}) "
        f"[View on GitHub]({page})"
    )


def marked(text: str, url: str, path: str) -> str:
    """The text with the badges between its markers, on lines of their own, or Markdown would not render them."""
    return BADGES.sub(lambda _: f"<!-- badges -->\n\n{badges(url, path)}\n\n<!-- /badges -->", text)


def stamped(notebook: nbformat.NotebookNode, url: str, path: str) -> nbformat.NotebookNode:
    """Stamp the badges and the setup cell of a notebook; outputs stay."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = marked(cell.source, url, path)
        elif "setup" in cell.metadata.get("tags", ()):
            cell.source = SETUP.format(url=url, name=url.rpartition("/")[2], sorry=SORRY)
    return notebook


def current(root: Path = ROOT) -> str:
    """The home that pyproject.toml names."""
    found = HOME.search((root / "pyproject.toml").read_text("utf-8"))
    if found is None:
        raise ValueError('pyproject.toml has no line `home = "https://..."` under [tool.course].')
    return normal(found[1])


def changes(url: str, root: Path = ROOT) -> dict[Path, str]:
    """Every file that stamping would change, with its new text."""
    old = {path: path.read_text("utf-8") for path in [root / "pyproject.toml", root / "README.md", *every(root)]}
    new = {}
    for path, text in old.items():
        name = path.relative_to(root).as_posix()
        if path.suffix == ".ipynb":
            new[path] = text_of(stamped(nbformat.reads(text, as_version=4), url, name))
        elif path.suffix == ".md":
            new[path] = marked(text, url, "notebooks/00_start_here.ipynb")
        else:
            new[path] = HOME.sub(f'home = "{url}"', text, count=1)
    return {path: text for path, text in new.items() if text != old[path]}


def every(root: Path) -> list[Path]:
    """All notebooks below the root."""
    return sorted(
        path for folder in ("notebooks", "solutions", "exercises") for path in (root / folder).glob("*.ipynb")
    )


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(description="Point badges and setup cells at a home.")
    parser.add_argument("--check", action="store_true", help="change nothing; fail where a file is out of step")
    check = parser.parse_args(arguments).check
    wanted = "" if check else os.environ.get("URL", "")
    try:
        url = normal(wanted) if wanted else current(root)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    found = changes(url, root)
    for path, text in found.items():
        print(f"{'out of step' if check else 'stamped'}: {path.relative_to(root).as_posix()}")
        if not check:
            path.write_text(text, "utf-8", newline="\n")
    if check:
        print("Run `make home` to stamp them." if found else "Every badge and setup cell is in step.")
        return 1 if found else 0
    print(f"{len(found)} files changed. Home: {url}")
    if not url.startswith("https://github.com/"):
        print("Not on GitHub: no Colab and Lightning Studio badges, since those open GitHub's repositories only.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
