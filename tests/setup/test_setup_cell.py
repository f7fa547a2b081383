"""The two lines at the top of every notebook, run as they stand, wherever a notebook can be opened."""

from __future__ import annotations

import os
import subprocess
import sys

import home
import pytest

NAME = "perceptron-to-gpt"
SAY = "def setup():\n    import pathlib\n    print('set up from', pathlib.Path(__file__).resolve().parent.parent)\n"


def cell(url: str) -> str:
    return home.SETUP.format(url=url, name=NAME, sorry=home.SORRY)


def execute(code, folder, *flags, **variables):
    """Run code in a fresh interpreter; `-S` leaves out site-packages, as if nothing were installed."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | variables
    return subprocess.run([sys.executable, *flags, "-c", code], cwd=folder, env=env, capture_output=True, text=True)


@pytest.fixture
def origin(tmp_path):
    """A repository that holds a course of one file; returns its address."""
    folder = tmp_path / "origin"
    (folder / "lib").mkdir(parents=True)
    (folder / "lib" / "__init__.py").write_text("")
    (folder / "lib" / "bootstrap.py").write_text(SAY)
    who = ["-c", "user.name=a", "-c", "user.email=a@b.example"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "-m", "course"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder.as_uri()


@pytest.fixture
def empty(tmp_path):
    folder = tmp_path / "somewhere" / "else"
    folder.mkdir(parents=True)
    return folder


def test_two_lines_and_no_more():
    lines = cell("https://github.com/a/b").splitlines()
    assert len(lines) == 2
    assert lines[1].endswith("from lib.bootstrap import setup; setup()")


@pytest.mark.parametrize("below", ["notebooks", "."])
def test_in_a_clone_without_installing(origin, tmp_path, below):
    folder = tmp_path / "origin" / below
    folder.mkdir(exist_ok=True)
    done = execute(cell("file:///nowhere"), folder, "-S")
    assert done.stdout.strip() == f"set up from {(tmp_path / 'origin').resolve()}"
    assert done.stderr == ""


def test_installed_and_run_from_another_folder(empty):
    done = execute(cell("file:///nowhere"), empty)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_bare_machine_makes_a_clone_and_uses_it_again(origin, empty):
    for _ in range(2):  # the second is a restart of the kernel
        done = execute(cell(origin), empty, "-S")
        assert done.stdout.strip() == f"set up from {(empty / NAME).resolve()}"
    assert "Cloning" not in done.stderr
    depth = subprocess.run(["git", "rev-list", "--count", "HEAD"], cwd=empty / NAME, capture_output=True, text=True)
    assert depth.stdout.strip() == "1"


def test_no_network_says_what_to_do(empty):
    done = execute(cell("file:///nowhere"), empty, "-S")
    assert done.returncode == 1
    assert home.SORRY in done.stderr
    assert "Traceback" not in done.stderr


def test_the_same_kernel_recovers_once_the_network_is_back(origin, empty):
    """A folder that was missing when Python first looked at the path must not stay invisible."""
    twice = (
        f"try:\n    exec({cell('file:///nowhere')!r})\nexcept SystemExit:\n"
        f"    import importlib.util; importlib.util.find_spec('lib')\nexec({cell(origin)!r})"
    )
    done = execute(twice, empty, "-S")
    assert done.stdout.strip() == f"set up from {(empty / NAME).resolve()}"


def test_an_unrelated_package_called_lib_is_passed_over(origin, empty, tmp_path):
    other = tmp_path / "site" / "lib"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("raise RuntimeError('this is another lib')")
    done = execute(cell(origin), empty, "-S", PYTHONPATH=str(other.parent))
    assert done.stdout.strip() == f"set up from {(empty / NAME).resolve()}"
