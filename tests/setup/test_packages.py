"""What is declared where: pyproject.toml, requirements.lock and environment.yml say the same."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
import yaml

from lib import ROOT
from lib.bootstrap import old, requirements
from lib.checks import check

LOCK = (ROOT / "requirements.lock").read_text("utf-8").splitlines()
CONDA = {"torch": "pytorch"}


def test_conda_environment_has_the_bounds_of_pyproject():
    listed = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))["dependencies"]
    conda = {line for line in listed if isinstance(line, str)}
    wanted = {f"{CONDA.get(r.name, r.name)}>={r.least}" for r in requirements("course", "jupyter")}
    assert conda == wanted | {"python>=3.10", "pip"}
    assert {"pip": ["-e ."]} in listed


def test_requirements_reads_what_a_toml_reader_reads():
    tomllib = pytest.importorskip("tomllib", reason="tomllib is missing: Python 3.11 brings it")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for extra, listed in project["optional-dependencies"].items():
        wanted = [re.sub(r"\[.*\]|;.*", "", line) for line in project["dependencies"] + listed]
        assert [str(r) for r in requirements(extra)] == wanted


def test_torch_is_locked_first_and_once():
    assert re.fullmatch(r"torch==\d+\.\d+\.\d+", LOCK[0])
    assert sum(line.startswith("torch") for line in LOCK) == 1


def test_every_line_of_the_lock_is_an_exact_version():
    """No hashes, no addresses, no ranges; and the packages of CUDA are left to torch."""
    assert [line for line in LOCK if not re.fullmatch(r"[a-z0-9-]+==[\w.]+( ; .+)?", line)] == []
    assert [line for line in LOCK if line.startswith(("nvidia-", "cuda-"))] == []


def test_everything_declared_is_locked_at_its_bound_or_above():
    locked = [re.split("==| ;", line)[:2] for line in LOCK]
    for r in requirements("course", "jupyter", "kernels", "test"):
        versions = [version for name, version in locked if name == r.name]
        assert versions, f"{r.name} is not in requirements.lock"
        assert not any(old(version, r.least) for version in versions)


@pytest.mark.parametrize("module", ["lib", "lib.bootstrap", "lib.cli"])
def test_import_is_light(module):
    """In a fresh interpreter: `import lib` needs torch and NumPy at most, and no module drags in the heavy packages."""
    heavy = ("datasets", "transformers", "matplotlib", "sklearn", "pandas", "pyarrow", "jupyterlab", "IPython", "PIL")
    code = f"import sys, {module}; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_import_lib_needs_only_torch_and_numpy():
    """Every package imported by `import lib` belongs to torch, NumPy, Python, or what torch itself requires."""
    code = (
        "import sys; before = set(sys.modules); import torch, numpy; theirs = set(sys.modules); import lib\n"
        "new = {m.partition('.')[0] for m in set(sys.modules) - theirs}\n"
        "print(sorted(new - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['lib']"


def test_the_check_message_in_readme_is_a_real_one(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_HOME", str(tmp_path))
    shown = (ROOT / "README.md").read_text("utf-8").split("```text\n")[1].split("```")[0]
    result = check("10.1", lambda w, b, x: np.sign(x @ w + b))
    assert str(result).strip() == shown.strip()
