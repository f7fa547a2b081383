"""The environment: when it is made, updated or left alone; and the commands that need it."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import environment
import pytest
import targets

from lib import ROOT


@pytest.fixture
def built(tmp_path, monkeypatch):
    """A checkout of its own whose steps are written down instead of done; returns the steps."""
    steps = []
    (tmp_path / "requirements.lock").write_text("torch==2.13.0\nnumpy==2.4.6\n")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n\n[tool.ruff]\nline-length = 120\n')
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setattr(environment, "LOCK", tmp_path / "requirements.lock")
    monkeypatch.setattr(environment, "VENV", tmp_path / ".venv")
    monkeypatch.delenv("COURSE_ENV", raising=False)

    def create():
        steps.append("create")
        Path(environment.python()).parent.mkdir(parents=True, exist_ok=True)
        Path(environment.python()).touch()

    monkeypatch.setattr(environment, "_create", create)
    monkeypatch.setattr(environment, "pip", lambda arguments, title, **_: steps.append(arguments[0]))
    monkeypatch.setattr(environment.subprocess, "run", lambda *_, **__: steps.append("kernel"))
    return steps


FRESH = ["create", "torch==2.13.0", "-r", "--no-deps", "kernel"]


def test_made_once_with_torch_first_and_then_left_alone(built):
    assert environment.ensure() == environment.python()
    assert built == FRESH
    environment.ensure()
    assert built == FRESH


def test_a_changed_lock_updates_in_place(built):
    environment.ensure()
    environment.LOCK.write_text("torch==2.13.0\nnumpy==2.4.7\n")
    environment.ensure()
    assert built == FRESH + FRESH[1:]


@pytest.mark.parametrize(("old", "new", "steps"), [('"x"', '"y"', 8 + 1), ("120", "100", 5)])
def test_only_what_is_installed_counts_in_pyproject(built, old, new, steps):
    environment.ensure()
    project = environment.ROOT / "pyproject.toml"
    project.write_text(project.read_text("utf-8").replace(old, new))
    environment.ensure()
    assert len(built) == steps


def test_a_half_made_environment_is_made_again(built, monkeypatch):
    def stops(arguments, title, **_):
        if arguments[0] == "-r":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(environment, "pip", stops)
        with pytest.raises(KeyboardInterrupt):
            environment.ensure()
    environment.ensure()
    assert built == ["create", *FRESH]


def test_an_interrupted_update_is_made_again(built, monkeypatch):
    environment.ensure()
    environment.LOCK.write_text("torch==2.13.1\n")
    with monkeypatch.context() as patch:
        patch.setattr(environment, "_install", lambda: sys.exit("no network"))
        with pytest.raises(SystemExit):
            environment.ensure()
    environment.ensure()
    assert built == [*FRESH, "create", "torch==2.13.1", *FRESH[2:]]


def test_another_python_or_a_moved_folder_makes_it_again(built, monkeypatch):
    environment.ensure()
    monkeypatch.setattr(environment, "base", lambda: "Python 3.99, /elsewhere")
    environment.ensure()
    assert built == FRESH + FRESH


def test_current_uses_the_running_python_and_installs_nothing(built, monkeypatch):
    monkeypatch.setenv("COURSE_ENV", "current")
    assert environment.ensure() == sys.executable
    assert built == []


def test_an_unknown_choice_is_said(built, monkeypatch):
    monkeypatch.setenv("COURSE_ENV", "conda")
    with pytest.raises(SystemExit, match="COURSE_ENV=conda is not known"):
        environment.ensure()


def test_a_python_without_venv_gets_the_command_to_type(monkeypatch):
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda name: None if name == "ensurepip" else name)
    with pytest.raises(SystemExit, match=r"sudo apt install python3\.\d+-venv"):
        environment._create()


def test_a_failing_pip_shows_its_last_lines(monkeypatch, capsys):
    monkeypatch.setattr(environment, "python", lambda: sys.executable)
    with pytest.raises(SystemExit, match=r"(?s)requirement.*Step 2/3 this failed"):
        environment.pip(["--no-index", "no such requirement!"], "2/3 this")


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 6, 15), (3, 9, 18)])
def test_an_old_python_is_told_so(version):
    code = f"import sys; sys.version_info = {version}; exec(open('scripts/make.py').read())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"needs Python 3.10 or newer; this is {'.'.join(map(str, version))}" in done.stderr


def test_make_names_every_target():
    listed = next(line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("TARGETS"))
    assert listed.split(":=")[1].split() == list(targets.TARGETS)


def test_an_unknown_target_is_said():
    with pytest.raises(SystemExit, match="There is no target 'lern'"):
        targets.main(["lern"])


def test_every_command_of_a_target_is_there():
    commands = [command[0] for stage in targets.CHECKS.values() for command in stage]
    assert [name for name in commands if name != "-m" and not (ROOT / name).is_file()] == []


def test_a_busy_port_is_said_and_otherwise_passed_over():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit, match=f"Port {port} is in use"):
            targets._port(str(port))
    assert targets._port(str(port)) == port


@pytest.mark.parametrize("choice", ["eight", "80", "70000", "-1"])
def test_a_port_that_is_none_is_said(choice):
    with pytest.raises(SystemExit, match="is not a port"):
        targets._port(choice)


@pytest.mark.parametrize(("code", "word"), [(0, "ok"), (3, "FAILED")])
def test_the_summary_fails_when_a_stage_does_and_runs_the_others(monkeypatch, capfd, code, word):
    closing = "print('===== 7 passed in 0.10s =====')"
    stages = {"first": [["-c", f"raise SystemExit({code})"], ["-c", "pass"]], "second": [["-c", closing]]}
    monkeypatch.setattr(targets, "CHECKS", stages)
    monkeypatch.setattr(targets.environment, "ensure", lambda: sys.executable)
    assert targets.test() == (code != 0)
    summary = capfd.readouterr().out.partition("=== summary ===")[2]
    assert f"first        {word}" in summary
    assert "second       ok" in summary and "7 passed in 0.10s" in summary
