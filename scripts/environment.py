"""The environment in `.venv`: made where it is missing or half-made, updated where the lock has changed.

Runs before anything is installed, so it uses the standard library alone. The stamp is written last: an environment
without one was interrupted, and is made again from nothing.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements.lock"
STEADY = {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "PYTHONUTF8": "1"}
"""The variables under which outputs are stored and compared: sums differ with the threads."""


def python() -> str:
    """The interpreter that runs the course: the one in `.venv`, or the running one where COURSE_ENV=current."""
    if current():
        return sys.executable
    return str(VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))


def current() -> bool:
    """Whether COURSE_ENV says to use the running Python as it is: for conda, and for CI's lower and upper bounds."""
    choice = os.environ.get("COURSE_ENV", "")
    if choice not in ("", "current"):
        sys.exit(f"COURSE_ENV={choice} is not known. Leave it out for .venv, or say COURSE_ENV=current.")
    return choice == "current"


def base() -> str:
    """What an environment cannot change in: the Python it was made with, and the folder it was made for."""
    return f"Python {sys.version_info[0]}.{sys.version_info[1]}, {ROOT}"


def stamp() -> str:
    """Line 1: the base. Line 2: a hash of the lock and of pyproject up to its tools, which is what is installed."""
    project = (ROOT / "pyproject.toml").read_text("utf-8").partition("\n[tool.")[0]
    wanted = LOCK.read_text("utf-8") + project
    return f"{base()}\n{hashlib.sha256(wanted.encode()).hexdigest()}\n"


def ensure() -> str:
    """Make or mend the environment where that is needed; return its interpreter."""
    if current():
        return python()
    mark = VENV / "course-stamp"
    have = mark.read_text("utf-8") if mark.is_file() and Path(python()).exists() else ""
    if have == stamp():
        return python()
    began = time.perf_counter()
    if have.startswith(base() + "\n"):
        print("The list of packages has changed: updating .venv.")
    else:
        _create()
    mark.unlink(missing_ok=True)
    _install()
    mark.write_text(stamp(), "utf-8")
    print(f"Environment ready in {time.perf_counter() - began:.0f} s.\n")
    return python()


def _create() -> None:
    """An empty environment, made with the running Python."""
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        sys.exit(f"This Python cannot make environments. On Debian or Ubuntu: sudo apt install {name}-venv")
    if Path(sys.prefix).resolve() == VENV.resolve():
        sys.exit(".venv has to be made again, and it is active here. Type `deactivate` and run the same command again.")
    print(f"Making .venv with {name}. This is done once and takes a few minutes.")
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], capture_output=True, text=True)
    if made.returncode:
        sys.exit(f"Python could not make .venv:\n{made.stdout}{made.stderr}")


def _install() -> None:
    """torch first and alone, so that nothing pulls in another build of it; then the rest; then the course itself."""
    torch = LOCK.read_text("utf-8").splitlines()[0]
    pip([torch], f"1/3 {torch}, by far the largest", condensed=not sys.stdout.isatty())
    pip(["-r", str(LOCK)], "2/3 the packages of requirements.lock")
    pip(["--no-deps", "--no-build-isolation", "-e", str(ROOT)], "3/3 the course, and its kernel")
    kernel = [
        "-m",
        "ipykernel",
        "install",
        "--sys-prefix",
        "--name",
        "python3",
        "--display-name",
        "From Perceptron to GPT",
    ]
    subprocess.run([python(), *kernel], check=True, capture_output=True)


def pip(arguments: Sequence[str], title: str, condensed: bool = True) -> None:
    """`pip install`, its output condensed: on a terminal to one changing line, elsewhere to the large downloads."""
    print(title, flush=True)
    command = [python(), "-m", "pip", "install", "--disable-pip-version-check", *arguments]
    said: list[str] = []
    if condensed:
        pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
        with subprocess.Popen([*command, "--progress-bar", "off"], **pipe) as process:
            for line in process.stdout or ():
                said.append(line)
                _show(line.strip())
        code = process.returncode
    else:
        code = subprocess.call(command)
    if code:
        sys.exit(
            f"{''.join(said[-15:])}\nStep {title} failed; pip's last lines above say why. Run the same command again "
            "once that is mended: what was downloaded is kept."
        )


def _show(line: str) -> None:
    if sys.stdout.isatty():
        print(f"\r    {line[:92]:<92}\r", end="", flush=True)
    elif line.startswith("Installing") or (line.startswith("Downloading") and " MB)" in line):
        print(f"    {line[:92]}", flush=True)
