"""The kernels compile for GPUs that are not here: no spills, matrix instructions, and docs/gpu.md tells the truth.

In a process of its own, since Triton compiles there and interprets here.
"""

import os
import subprocess
import sys

import pytest

pytest.importorskip("triton", reason="Triton is not installed: there is none for this system")

from lib import ROOT


@pytest.mark.parametrize("target", ["sm_80", "sm_89", "sm_90", "sm_100"])
def test_compiled_for(target, tmp_path):
    command = [sys.executable, str(ROOT / "scripts" / "gpu_report.py"), "--check", target]
    env = os.environ | {"TRITON_CACHE_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, encoding="utf-8")
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
