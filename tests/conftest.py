import os

import pytest
import torch

if not torch.cuda.is_available():  # before lib.attention.flash_triton is imported: kernels then run on the CPU
    os.environ["TRITON_INTERPRET"] = "1"

from lib.checks import core


@pytest.fixture(autouse=True)
def course_home(tmp_path, monkeypatch):
    """Progress and caches go to a folder of the test's own, and no hint has been seen."""
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(core, "_hints_seen", {})
    return tmp_path / "home"
