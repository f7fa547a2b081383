"""A few steps of configs/gpt2-124m.yaml at full width on this machine: memory, time, and that the loss falls.

    OMP_NUM_THREADS=1 python bench/gpt2_124m.py      writes bench/gpt2_124m.json

As the recipe has it, but for: SetFit/bbc-news as the text, since web text needs a network; batches of two rows of 1,024
ids, a row at a time; a warm-up of two steps; no compilation, which takes longer here than the steps. Each precision
runs in a process of its own, whose largest resident memory counts. Some minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path

RESULT = Path(__file__).with_suffix(".json")
STEPS = {"32-true": 5, "bf16-mixed": 2}
CHANGES = {
    "options.text": "SetFit/bbc-news", "options.n_held": 8, "train.warmup": 2, "train.batch": 2,
    "train.accumulate": 2, "train.compile": "false", "train.accelerator": "cpu", "train.eval_every": 0,
}  # fmt: skip


def measure(precision: str) -> dict[str, object]:
    """Run the steps in this process; its figures."""
    import torch

    from lib import recipe
    from lib.train import fit

    changes = CHANGES | {"train.steps": STEPS[precision], "train.precision": precision}
    plan = recipe.read("gpt2-124m", [f"{key}={value}" for key, value in changes.items()])
    task = plan.make()
    n = sum(p.numel() for p in task.model.parameters())
    start = time.process_time()
    result = fit(task, plan.train, show="none")
    seconds = time.process_time() - start
    return {
        "parameters": n,
        "weights, gradients and AdamW's two moments, GB": round(4 * 4 * n / 1e9, 2),
        "peak memory, GB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2),
        "loss": [round(row["loss"], 2) for row in result.history],
        "CPU seconds per step": round(seconds / STEPS[precision], 1),
        "threads": torch.get_num_threads(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--precision", help="run in this process and print, for the script itself")
    precision = parser.parse_args().precision
    if precision:
        print(json.dumps(measure(precision)))
        return
    results = {}
    for one in STEPS:
        run = subprocess.run(
            [sys.executable, __file__, "--precision", one], stdout=subprocess.PIPE, text=True, check=True
        )
        results[one] = json.loads(run.stdout.splitlines()[-1])
        print(one, results[one], flush=True)
    about = {
        "command": "OMP_NUM_THREADS=1 python bench/gpt2_124m.py",
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, torch {version('torch')}",
    }
    RESULT.write_text(json.dumps(about | {"results": results}, indent=2) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
