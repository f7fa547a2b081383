"""`course doctor`: looks at the machine and the environment, and names the command that mends what is wrong.

Each check is a function of what it looks at, so that a test can hand it any machine; `examine` hands it this one.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lib import ROOT
from lib.bootstrap import Requirement, installed, old, requirements

if TYPE_CHECKING:
    from lib.data import Status

GB = 2**30
LEAST_MEMORY = 4 * GB
"""The notebooks of the core stay under 2 GB each; JupyterLab, a browser and the system need the rest."""
LEAST_DISK = 2 * GB
"""Room for the data of all chapters."""


class Finding(NamedTuple):
    """One line of the report. `mend` is what to do where something is wrong, "" where nothing is."""

    name: str
    detail: str
    mend: str = ""

    def __str__(self) -> str:
        mend = f"\n{'':<10}   mend it: {self.mend}" if self.mend else ""
        return f"{'problem' if self.mend else 'ok':<8} {self.name:<10} {self.detail}{mend}"


def python(version: Sequence[int], executable: str = sys.executable) -> Finding:
    text = ".".join(str(part) for part in version[:3])
    mend = "" if tuple(version[:2]) >= (3, 10) else "install Python 3.10 or newer, then `make learn`"
    return Finding("Python", f"{text} at {executable}", mend)


def packages(wanted: Sequence[Requirement], versions: Mapping[str, str | None]) -> list[Finding]:
    """A line for each package that is missing or too old; one line where all are right."""
    wrong = []
    for name, least in wanted:
        have = versions.get(name)
        if have is None or old(have, least):
            detail = f"{have or 'missing'}; the course needs {least} or newer"
            wrong.append(Finding(name, detail, f'`make learn`, or: {sys.executable} -m pip install "{name}>={least}"'))
    shown = ", ".join(f"{name} {versions.get(name)}" for name in ("torch", "numpy"))
    return wrong or [Finding("packages", f"all {len(wanted)} are new enough: {shown}")]


def cores(n: int | None) -> Finding:
    return Finding("cores", f"{n or 'unknown'}; every notebook is made to run on two")


def memory(total: int, free: int) -> Finding:
    mend = "" if total >= LEAST_MEMORY else "use a machine with 4 GB or more; Colab has 12"
    return Finding("memory", f"{total / GB:.1f} GB, {free / GB:.1f} GB of it free", mend)


def disk(free: int, where: Path) -> Finding:
    mend = "" if free >= LEAST_DISK else "make room, or set COURSE_HOME to a folder on another disk"
    return Finding("disk", f"{free / GB:.1f} GB free at {where}", mend)


def gpu(cuda: str | None, mps: bool, nvidia: bool) -> Finding:
    """`cuda` is a device's name; `nvidia` says that the machine has a driver, whatever torch can see."""
    if cuda or mps:
        return Finding("GPU", cuda or "Apple (MPS)")
    if nvidia:
        return Finding(
            "GPU", "there is an NVIDIA driver, but this torch cannot use it; the CPU is enough for the course"
        )
    return Finding("GPU", "none; not needed")


def data(core: Sequence[Status]) -> list[Finding]:
    """`core`: what is known of each data set of the first chapters."""
    absent = [each for each in core if not each.ready]
    if not absent:
        return [Finding("data", f"here: {', '.join(each.name for each in core)}")]
    return [Finding("data", f"{each.name}: {each.source}", f"course data fetch {each.name}") for each in absent]


def examine() -> list[Finding]:
    """All findings on this machine, in reading order."""
    wanted = requirements("course", "jupyter")
    findings = [python(sys.version_info[:3]), *packages(wanted, {r.name: installed(r.name) for r in wanted})]
    findings.append(cores(os.cpu_count()))
    lacking = {finding.name for finding in findings if finding.mend}
    if "psutil" not in lacking:
        import psutil

        ram = psutil.virtual_memory()
        findings.append(memory(ram.total, ram.available))
    if "torch" not in lacking:
        import torch

        name = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
        findings.append(gpu(name, torch.backends.mps.is_available(), shutil.which("nvidia-smi") is not None))
    from lib import data as store

    findings += data([store.status(name) for name, entry in store.CATALOG.items() if entry.core])
    where = existing(store.cache())
    findings.append(disk(shutil.disk_usage(where).free, where))
    return findings


def existing(path: Path) -> Path:
    """The folder itself, or its nearest parent that exists."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def report(findings: Sequence[Finding]) -> str:
    """The findings and a last line that counts the problems."""
    wrong = sum(bool(finding.mend) for finding in findings)
    end = "Nothing is wrong." if not wrong else f"{wrong} problem{'s' * (wrong > 1)}: see above for what mends each."
    return "\n".join([f"{platform.platform()}, course in {ROOT}", *map(str, findings), end])
