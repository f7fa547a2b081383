"""The transformer of chapter 42 beside the recurrent model of chapter 32, at equal parameters and equal CPU time.

    OMP_NUM_THREADS=1 python bench/translate.py      writes bench/translate.json, which chapter 42 draws

Both learn English to French as configs/translate-en-fr.yaml and configs/translate-transformer.yaml say, on the same
pairs and pieces. First a few steps of both, in turn, tell how long a step takes; the transformer then takes as many
steps as fit into the time of the recurrent model's. Both are scored on the tuning pairs on the way, and once, at the
end, on the test split: one run each, so a point of BLEU may be luck. Needs about a quarter of an hour on one core.
"""

from __future__ import annotations

import json
import platform
import time
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import torch

from lib import recipe
from lib.tasks import translate, translate_transformer
from lib.train import Task, fit

RESULT = Path(__file__).with_suffix(".json")
RIVALS = {"recurrent": "translate-en-fr", "transformer": "translate-transformer"}
WRITE = {"recurrent": translate.written, "transformer": translate_transformer.written}
N_TRIAL, N_ROUNDS = 20, 5


def seconds(task: Task, plan: recipe.Recipe) -> float:
    """CPU seconds for each of a few steps of training; the model changes."""
    start = time.process_time()
    fit(replace(task, evaluate=None, watch=""), replace(plan.train, steps=N_TRIAL, warmup=0, eval_every=0), show="none")
    return (time.process_time() - start) / N_TRIAL


def main() -> None:
    plans = {name: recipe.read(config) for name, config in RIVALS.items()}
    trials = {name: plan.make() for name, plan in plans.items()}
    each: dict[str, list[float]] = {name: [] for name in RIVALS}
    for _ in range(N_ROUNDS):
        for name, task in trials.items():
            each[name].append(seconds(task, plans[name]))
    ratio = min(each["recurrent"]) / min(each["transformer"])
    steps = {"recurrent": plans["recurrent"].train.steps}
    steps["transformer"] = 10 * round(steps["recurrent"] * ratio / 10)

    found: dict[str, Any] = {}
    for name, plan in plans.items():
        task, start = plan.make(), time.process_time()
        config = replace(plan.train, steps=steps[name], eval_every=500)
        result = fit(task, config, show="none")
        o: Any = plan.options
        test = translate.Bilingual.of(o.most, o.least, "test", plan.train.seed)
        found[name] = {
            "parameters": sum(p.numel() for p in task.model.parameters()),
            "steps": steps[name],
            "ms per step": round(1000 * min(each[name]), 1),
            "CPU seconds, scoring included": round(time.process_time() - start),
            "tuning": {row["step"]: round(row["bleu"], 2) for row in result.history if "bleu" in row},
            "test": {key: round(value, 2) for key, value in test.scores(task.model.eval(), WRITE[name]).items()},
        }
        print(name, found[name], flush=True)
    text = {
        "command": "OMP_NUM_THREADS=1 python bench/translate.py",
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}",
        "data": f"{translate.NAME}, at most {plans['recurrent'].options.most} English words",
        "results": found,
    }
    RESULT.write_text(json.dumps(text, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
