"""What the setup cell of every notebook calls: it installs what is missing, and says nothing where nothing is.

It looks for the `dependencies` of pyproject.toml and for its extra `course`; on a bare Colab or Lightning Studio pip
installs those that are missing or too old. The torch that is there is never changed, nor are the packages that belong
to it, and NumPy only if it is too old: pip gets their versions as constraints.

Standard library alone: nothing else can be relied on here.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
TORCH = re.compile(r"(py)?torch($|[-_.]?(vision|audio|triton|xla|ao)$)|triton|nvidia-|cuda-")
"""torch and the packages that have to fit its build."""


class Requirement(NamedTuple):
    """A package and the lowest version that serves: `numpy>=1.26`."""

    name: str
    least: str

    def __str__(self) -> str:
        return f"{self.name}>={self.least}"


class SetupError(RuntimeError):
    """The environment lacks something that could not be installed."""


def requirements(*extras: str) -> list[Requirement]:
    """What pyproject.toml asks for: its dependencies, then those of the extras named."""
    # Python 3.10 has no TOML reader; this reads lists of plain strings, which is all that is needed, and no more.
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    found = []
    for name in ("dependencies", *extras):
        block = re.search(rf"^{name} = \[(.*?)\]$", text, re.MULTILINE | re.DOTALL)
        if block is None:
            raise SetupError(f"{ROOT / 'pyproject.toml'} has no list called {name}.")
        pairs = re.findall(r'"([\w.-]+)(?:\[\w+\])?>=([\d.]+)(?:;[^"]*)?"', block[1])
        found += [Requirement(*pair) for pair in pairs]
    return found


def installed(name: str) -> str | None:
    """The version of an installed package, None where it is not."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def old(version: str, least: str) -> bool:
    """Whether a version is below the least: numbers before any label count, "2.6.0+cu124" as 2.6.0."""
    numbers = re.match(r"[\d.]*", version)
    have = [int(part) for part in (numbers[0] if numbers else "").split(".") if part]
    want = [int(part) for part in least.split(".")]
    have += [0] * (len(want) - len(have))
    return have < want


def plan(wanted: list[Requirement], versions: dict[str, str]) -> tuple[list[str], list[str]]:
    """What pip must install, and the constraints that it must keep, where `versions` is what is installed."""
    missing = [r for r in wanted if r.name not in versions or old(versions[r.name], r.least)]
    install = [str(r) for r in missing if not (r.name == "torch" and "torch" in versions)]
    keep = {name for name in versions if TORCH.match(name)}
    if "numpy" in versions and "numpy" not in {r.name for r in missing}:
        keep.add("numpy")
    return install, [f"{name}=={versions[name]}" for name in sorted(keep)]


def setup() -> None:
    """Make this interpreter fit for the course. Prints nothing where it is."""
    if sys.version_info < (3, 10):  # noqa: UP036 (the setup cell can meet any Python)
        raise SetupError(f"The course needs Python 3.10 or newer; this is {sys.version.split()[0]}.")
    warnings.filterwarnings("ignore", message="IProgress not found")  # a text bar serves as well
    wanted = requirements("course")
    versions = {r.name: version for r in wanted if (version := installed(r.name))}
    for r in wanted:
        if r.name == "torch" and "torch" in versions and old(versions["torch"], r.least):
            print(
                f"torch {versions['torch']} is older than {r.least}, which the course needs. It is left as it is, "
                "and some chapters may fail. `pip install -U torch` and a restart of the kernel bring a newer one."
            )
    install, _ = plan(wanted, versions)
    if not install:
        return
    every = {(dist.metadata["Name"] or "").lower(): dist.version for dist in importlib.metadata.distributions()}
    print(f"Installing {', '.join(install)} ...", flush=True)
    _pip(*plan(wanted, every))
    importlib.invalidate_caches()
    changed = [name for name in versions if versions[name] != installed(name)]
    if changed:
        print(f"Updated: {', '.join(changed)}. Restart the kernel, then run this cell again.")
    else:
        print("Done.")


def _pip(install: list[str], constraints: list[str], run: Callable = subprocess.run) -> None:
    """Install, keeping the constraints; a failure says what to do."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "constraints.txt"
        file.write_text("\n".join(constraints), "utf-8")
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            "-c",
            str(file),
            *install,
        ]
        done = run(command, capture_output=True, text=True)
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise SetupError(
            f"pip could not install {', '.join(install)}:\n{said}\n\nIs the network on? On your own machine "
            f"`make learn` in {ROOT} makes an environment of its own for the course."
        )
