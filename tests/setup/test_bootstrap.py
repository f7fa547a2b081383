"""What the setup cell installs, and what it never touches."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace

import pytest

from lib import bootstrap
from lib.bootstrap import Requirement, old, plan

WANTED = [Requirement("torch", "2.6"), Requirement("numpy", "1.26"), Requirement("datasets", "4.0")]


@pytest.mark.parametrize(
    ("version", "least", "answer"),
    [
        ("2.6.0", "2.6", False),
        ("2.6.0+cu124", "2.6", False),
        ("2.10.1", "2.6", False),
        ("2.5.1+cu124", "2.6", True),
        ("1.26", "1.26.4", True),
        ("4", "4.0", False),
        ("3.9rc1", "4.0", True),
        ("2.13.0a0+git1", "2.6", False),
    ],
)
def test_versions_are_compared_as_numbers(version, least, answer):
    assert old(version, least) is answer


def test_nothing_to_do():
    install, _ = plan(WANTED, {"torch": "2.9.0", "numpy": "2.0.2", "datasets": "4.0.0"})
    assert install == []


def test_torch_and_what_belongs_to_it_are_kept():
    there = {
        "torch": "2.6.0+cu124",
        "torchvision": "0.21.0",
        "triton": "3.2.0",
        "nvidia-cublas-cu12": "12.4.5.8",
        "numpy": "2.0.2",
        "pillow": "11.0",
    }
    install, keep = plan(WANTED, there)
    assert install == ["datasets>=4.0"]
    assert keep == [
        "numpy==2.0.2",
        "nvidia-cublas-cu12==12.4.5.8",
        "torch==2.6.0+cu124",
        "torchvision==0.21.0",
        "triton==3.2.0",
    ]


def test_an_old_torch_is_never_changed():
    install, keep = plan(WANTED, {"torch": "2.3.1+cu121", "numpy": "2.0.2"})
    assert install == ["datasets>=4.0"]
    assert "torch==2.3.1+cu121" in keep


def test_an_old_numpy_is_brought_up_and_not_pinned():
    install, keep = plan(WANTED, {"torch": "2.6.0", "numpy": "1.24.0", "datasets": "4.1"})
    assert install == ["numpy>=1.26"]
    assert keep == ["torch==2.6.0"]


def test_torch_is_installed_where_there_is_none():
    install, keep = plan(WANTED, {"numpy": "2.0.2", "datasets": "4.1"})
    assert install == ["torch>=2.6"]
    assert keep == ["numpy==2.0.2"]


def test_a_healthy_environment_is_left_alone_in_silence(monkeypatch, capsys):
    monkeypatch.setattr(bootstrap, "_pip", lambda *_: pytest.fail("pip was called"))
    bootstrap.setup()
    assert capsys.readouterr() == ("", "")


def test_setup_hands_pip_what_is_missing_with_constraints(monkeypatch, capsys):
    calls = []
    real = bootstrap.installed
    monkeypatch.setattr(bootstrap, "installed", lambda name: None if name == "typer" else real(name))
    monkeypatch.setattr(
        bootstrap.importlib.metadata,
        "distributions",
        lambda: [
            SimpleNamespace(metadata={"Name": r.name}, version=real(r.name))
            for r in bootstrap.requirements("course")
            if r.name != "typer"
        ],
    )
    monkeypatch.setattr(bootstrap, "_pip", lambda install, keep: calls.append((install, keep)))
    bootstrap.setup()
    ((install, keep),) = calls
    assert [line.partition(">=")[0] for line in install] == ["typer"]
    assert keep == [f"numpy=={real('numpy')}", f"torch=={real('torch')}"]
    assert "Installing typer>=" in capsys.readouterr().out


def test_a_failure_of_pip_says_what_to_do():
    def fails(*_, **__):
        return subprocess.CompletedProcess([], 1, "", "ERROR: No matching distribution found for datasets>=4.0")

    with pytest.raises(bootstrap.SetupError, match=r"(?s)datasets>=4.0.*No matching.*network.*make learn"):
        bootstrap._pip(["datasets>=4.0"], [], run=fails)


def test_pip_gets_the_constraints_in_a_file():
    seen = {}

    def runs(command, **_):
        with open(command[command.index("-c") + 1], encoding="utf-8") as file:
            seen["constraints"] = file.read().split()
        seen["install"] = command[-1]
        return subprocess.CompletedProcess(command, 0, "", "")

    bootstrap._pip(["datasets>=4.0"], ["torch==2.6.0", "numpy==2.0.2"], run=runs)
    assert seen == {"constraints": ["torch==2.6.0", "numpy==2.0.2"], "install": "datasets>=4.0"}
