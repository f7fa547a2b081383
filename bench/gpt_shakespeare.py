"""nanoGPT's recipe for a CPU beside ours, on Tiny Shakespeare: at equal tokens, and at equal CPU time.

    OMP_NUM_THREADS=1 python bench/gpt_shakespeare.py      writes bench/gpt_shakespeare.json

Three runs, one after the other, in one process: configs/gpt-shakespeare-plain.yaml; configs/gpt-shakespeare.yaml, which
sees as many tokens; and the same with as many steps as the plain recipe's CPU time is worth, by the two runs before.
Seconds are CPU time of the whole run, its one evaluation included. The settings were chosen on the last 5% of the
training text; each run here scores the validation text once, at its end. About seven minutes on one core.
"""

from __future__ import annotations

import json
import platform
import time
from dataclasses import replace
from datetime import date
from pathlib import Path

import lightning.fabric  # noqa: F401  # its import is no one's training
import torch

from lib import recipe
from lib.train import fit

RESULT = Path(__file__).with_suffix(".json")
SHARE = 0.85
"""Of the plain recipe's CPU time that the third run aims at: on a busy machine a step's time varies by a fifth."""


def measure(config: str, steps: int | None = None) -> dict[str, float]:
    """Train as a configuration says; the figures of the run."""
    plan = recipe.read(config)
    task, steps = plan.make(), steps or plan.train.steps
    start = time.process_time()
    result = fit(task, replace(plan.train, steps=steps), show="none")
    seconds = time.process_time() - start
    found = {
        "parameters": sum(p.numel() for p in task.model.parameters()),
        "steps": steps,
        "tokens": steps * plan.train.batch * plan.options.n_context,
        "nats": round(result.metrics["nats"], 4),
        "CPU seconds": round(seconds, 1),
        "steps per CPU second": round(steps / seconds, 2),
    }
    print(config, found, flush=True)
    return found


def main() -> None:
    plain, ours = measure("gpt-shakespeare-plain"), measure("gpt-shakespeare")
    steps = int(ours["steps per CPU second"] * plain["CPU seconds"] * SHARE)
    about = {
        "command": "OMP_NUM_THREADS=1 python bench/gpt_shakespeare.py",
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}",
        "threads": torch.get_num_threads(),
    }
    results = {"plain": plain, "ours": ours, "ours, equal time": measure("gpt-shakespeare", steps)}
    RESULT.write_text(json.dumps(about | {"results": results}, indent=2) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
