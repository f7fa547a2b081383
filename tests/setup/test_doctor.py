"""`course doctor` on machines that we make up: what it finds wrong, and the command that mends it."""

from __future__ import annotations

import pytest

from lib import doctor
from lib.bootstrap import Requirement
from lib.data import Status

WANTED = [Requirement("torch", "2.6"), Requirement("numpy", "1.26")]


def status(name, ready, source="shipped: data"):
    return Status(name, "digits", source, ready, 1, "MIT", True, "")


def test_an_old_python_is_a_problem():
    assert "install Python 3.10" in doctor.python((3, 9, 2)).mend
    assert doctor.python((3, 10, 0)).mend == ""


def test_packages_that_are_missing_or_too_old_are_named_with_the_command():
    found = doctor.packages(WANTED, {"torch": "2.5.1", "numpy": None})
    assert [finding.name for finding in found] == ["torch", "numpy"]
    assert "2.5.1; the course needs 2.6 or newer" in found[0].detail
    assert 'pip install "numpy>=1.26"' in found[1].mend


def test_right_packages_are_one_line():
    (finding,) = doctor.packages(WANTED, {"torch": "2.13.0+cpu", "numpy": "2.4.6"})
    assert finding.mend == "" and "torch 2.13.0+cpu, numpy 2.4.6" in finding.detail


@pytest.mark.parametrize(("total", "problem"), [(2 * doctor.GB, True), (8 * doctor.GB, False)])
def test_memory(total, problem):
    assert bool(doctor.memory(total, doctor.GB).mend) is problem


@pytest.mark.parametrize(("free", "problem"), [(doctor.GB // 2, True), (20 * doctor.GB, False)])
def test_disk(tmp_path, free, problem):
    finding = doctor.disk(free, tmp_path)
    assert bool(finding.mend) is problem
    assert str(tmp_path) in finding.detail


@pytest.mark.parametrize(
    ("cuda", "mps", "nvidia", "said"),
    [
        ("NVIDIA H200", False, True, "NVIDIA H200"),
        (None, True, False, "Apple (MPS)"),
        (None, False, True, "this torch cannot use it"),
        (None, False, False, "not needed"),
    ],
)
def test_a_gpu_is_told_and_never_a_problem(cuda, mps, nvidia, said):
    finding = doctor.gpu(cuda, mps, nvidia)
    assert said in finding.detail and finding.mend == ""


def test_data_that_is_not_here_is_named_with_the_command():
    (finding,) = doctor.data([status("ylecun/mnist", True), status("a/b", False, "a wrong checksum: /x")])
    assert finding.mend == "course data fetch a/b"
    assert "a wrong checksum: /x" in finding.detail
    (finding,) = doctor.data([status("ylecun/mnist", True)])
    assert finding.mend == ""


def test_the_report_counts_the_problems_and_shows_how_to_mend_them():
    right, wrong = doctor.Finding("Python", "3.12"), doctor.Finding("disk", "full", "make room")
    assert doctor.report([right]).endswith("Nothing is wrong.")
    text = doctor.report([right, wrong])
    assert "problem  disk" in text and "mend it: make room" in text
    assert text.endswith("1 problem: see above for what mends each.")


def test_a_folder_that_does_not_exist_yet_is_measured_at_its_parent(tmp_path):
    assert doctor.existing(tmp_path / "a" / "b") == tmp_path


def test_this_machine_is_examined_whole():
    names = [finding.name for finding in doctor.examine()]
    assert {"Python", "cores", "memory", "data", "disk"} <= set(names)
