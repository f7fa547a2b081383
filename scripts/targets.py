"""The targets of the Makefile. Standard library alone: this runs before the environment exists."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import environment
from environment import ROOT

CHECKS = {
    "lint": [["-m", "ruff", "check", "."], ["-m", "ruff", "format", "--check", "."]],
    "types": [["-m", "pyright"]],
    "unit tests": [["-m", "pytest", "tests", "-n", "2", "-q"]],
    "notebooks": [["scripts/nbval_notebooks.py"]],
    "in step": [
        ["scripts/build_exercises.py", "--check"],
        ["scripts/sync.py", "--check"],
        ["scripts/home.py", "--check"],
    ],
}


def learn() -> int:
    """set up what is missing, then open the course in JupyterLab (PORT=8890 chooses the port)"""
    began = time.perf_counter()
    python = environment.ensure()
    if subprocess.call([python, "-m", "lib.cli", "data", "fetch", "--core"], cwd=ROOT):
        print(
            "Not all the data is here yet: see above. MNIST is part of the course, so the first chapters work;\n"
            "`course data fetch --core` brings the rest once the network is back."
        )
    port = _port(os.environ.get("PORT", ""))
    print(
        f"Ready in {time.perf_counter() - began:.1f} s. JupyterLab follows on port {port}; Ctrl-C stops it.", flush=True
    )
    command = [python, "-m", "jupyter", "lab", "--log-level=WARN", "--LabApp.log_level=WARN"]
    command += ["--LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb"]
    command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    if not _display():
        command += ["--no-browser"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command += ["--allow-root"]  # a container's only user
    try:
        return subprocess.call(command, cwd=ROOT)
    except KeyboardInterrupt:
        return 0


def _port(choice: str) -> int:
    """The chosen port, or the first free one from 8888; a chosen port that is not free is an error."""
    if not choice:
        return next(port for port in range(8888, 8988) if _free(port))
    if not choice.isdecimal() or not 1024 <= int(choice) <= 65535:
        sys.exit(f"PORT={choice} is not a port. Choose a number from 1024 to 65535.")
    if not _free(int(choice)):
        sys.exit(f"Port {choice} is in use, perhaps by another JupyterLab. Leave PORT out to take the next free one.")
    return int(choice)


def _free(port: int) -> bool:
    """Whether nothing answers on that port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _display() -> bool:
    """Whether a browser could be seen: not over SSH, and on Linux only where a display is named."""
    if "SSH_CONNECTION" in os.environ:
        return False
    return not sys.platform.startswith("linux") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def test() -> int:
    """prove everything: lint, types, unit tests, stored outputs, exercises in step"""
    python = environment.ensure()
    rows = []
    with tempfile.TemporaryDirectory() as home:
        for name, commands in CHECKS.items():
            print(f"\n=== {name} ===", flush=True)
            began = time.perf_counter()
            results = [_stage([python, *command], home) for command in commands]
            rows.append((name, all(code == 0 for code, _ in results), time.perf_counter() - began, results[-1][1]))
    print("\n=== summary ===")
    for name, passed, seconds, closing in rows:
        print(f"{name:<12} {'ok' if passed else 'FAILED':<7} {seconds:6.1f} s  {closing}")
    return 0 if all(passed for _, passed, _, _ in rows) else 1


def _stage(command: list[str], home: str) -> tuple[int, str]:
    """Run one check and show its output; return its exit code and pytest's closing line where there is one."""
    closing = ""
    env = _steady() | {"COURSE_HOME": home, "COURSE_DATA": _mirrors()}
    pipe = {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
        "text": True,
        "encoding": "utf-8",
        "errors": "replace",
    }
    with subprocess.Popen(command, cwd=ROOT, env=env, **pipe) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            if re.search(r"\d+ (passed|failed|error|skipped).* in [\d.]+s", line):
                closing = line.strip()
    return process.returncode, closing


def _mirrors() -> str:
    """$COURSE_DATA and the reader's own data cache, which has the layout of a mirror: nothing is fetched twice."""
    home = os.environ.get("COURSE_HOME") or os.path.join(os.path.expanduser("~"), ".perceptron-to-gpt")
    folders = [os.environ.get("COURSE_DATA", ""), os.path.join(home, "data")]
    return os.pathsep.join(folder for folder in folders if folder)


def _steady() -> dict[str, str]:
    """The surroundings under which outputs are stored and compared, with the course's Python first on the path."""
    path = os.path.dirname(environment.python()) + os.pathsep + os.environ.get("PATH", "")
    return os.environ | environment.STEADY | {"PYTHONUNBUFFERED": "1", "PATH": path}


def lock() -> int:
    """write requirements.lock anew from pyproject.toml"""
    torch = environment.LOCK.read_text("utf-8").splitlines()[0]
    with tempfile.TemporaryDirectory() as folder:
        uv = os.path.join(folder, "Scripts" if os.name == "nt" else "bin", "python")
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([uv, "-m", "pip", "install", "-q", "uv"], check=True)
        constraint = os.path.join(folder, "torch.txt")
        with open(constraint, "w", encoding="utf-8") as file:
            file.write(torch + "\n")
        command = [
            uv,
            "-m",
            "uv",
            "pip",
            "compile",
            "pyproject.toml",
            "--all-extras",
            "--universal",
            "--python-version",
            "3.10",
        ]
        command += [
            "--no-header",
            "--no-annotate",
            "--no-emit-index-url",
            "--no-emit-find-links",
            "-q",
            "-c",
            constraint,
        ]
        compiled = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    # The packages of CUDA are left to torch: which of them a machine needs depends on the build that it gets. Its
    # triton is locked, at the version that the build for CUDA asks for: without a GPU its interpreter runs kernels.
    own = ("torch", "nvidia-", "cuda-")
    rest = [line for line in compiled.splitlines() if not line.startswith(own)]
    environment.LOCK.write_text("\n".join([torch, *rest]) + "\n", "utf-8")
    print(f"requirements.lock: {torch} and {len(rest)} lines more.")
    return 0


def clean() -> int:
    """remove .venv and everything else that can be made again"""
    folders = [ROOT / name for name in (".venv", ".pytest_cache", ".ruff_cache", ".hypothesis", "build", "dist")]
    folders += [
        path for pattern in ("*.egg-info", "**/__pycache__", "**/.ipynb_checkpoints") for path in ROOT.glob(pattern)
    ]
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def help() -> int:
    """show this list"""
    for name, (describe, _) in TARGETS.items():
        print(f"  make {name:<10} {describe}")
    return 0


def _run(describe: str, *command: str) -> tuple[str, Callable[[], int]]:
    """A target that makes the environment and runs one command in it."""
    return describe, lambda: subprocess.call([environment.ensure(), *command], cwd=ROOT, env=_steady())


TARGETS: dict[str, tuple[str, Callable[[], int]]] = {
    **{function.__name__: (function.__doc__ or "", function) for function in (learn, test)},
    "course": _run("run every notebook and write README's table", "scripts/table.py"),
    "exercises": _run("cut the exercise notebooks out of the solutions", "scripts/build_exercises.py"),
    "outputs": _run('run notebooks and store their outputs (NB="notebooks/10_perceptron.ipynb")', "scripts/outputs.py"),
    "mutants": _run("change every solution and count how many changes its check finds", "scripts/mutants.py"),
    "verify": _run("compare every implementation with its reference; write docs/verified.md", "scripts/verify.py"),
    "home": _run(
        "point badges and setup cells at your own copy (URL=https://github.com/you/course)", "scripts/home.py"
    ),
    "bench": _run("speed beside torch", "bench/grad.py"),
    "gpu-report": _run("compile the GPU kernels, without a GPU; write docs/gpu.md", "scripts/gpu_report.py"),
    **{function.__name__: (function.__doc__ or "", function) for function in (lock, clean, help)},
}


def main(arguments: list[str]) -> int:
    """Run the targets named; NAME=value is set for them, as make does it."""
    settings = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    os.environ.update(settings)
    names = [argument for argument in arguments if "=" not in argument] or ["help"]
    for name in names:
        if name not in TARGETS:
            sys.exit(f"There is no target {name!r}. Targets: {', '.join(TARGETS)}.")
    return max(TARGETS[name][1]() for name in names)
