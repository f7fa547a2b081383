"""From GPT-2 to Llama, one change after the other: what each does to a small model of Shakespeare's letters.

    OMP_NUM_THREADS=1 python bench/gpt_to_llama.py      five minutes on one core; writes bench/gpt_to_llama.json

Each row keeps the changes of the rows above it. What a change saves in parameters goes into the feed-forward layers, so
that all have about as many; all take the same steps over the same windows at one rate, which was not tuned for any of
them. Scored are the nats a character on the last 5% of the training text; the validation text is not looked at. Three
seeds, which decide first weights and order. Chapter 47 shows the table.
"""

from __future__ import annotations

import json
import platform
import statistics
from datetime import date
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from lib import seed
from lib.attention.backends import attention
from lib.heads import LM
from lib.layers.embed import nothing, rotary
from lib.layers.ff import Gated
from lib.spec import Spec, get
from lib.stack import Model, normal
from lib.tasks.shakespeare import Windows, loss, nats, split
from lib.train import Task, TrainConfig, fit

RESULT = Path(__file__).with_suffix(".json")
N_CONTEXT, SEEDS = 64, (0, 1, 2)
TRAIN: dict[str, Any] = {"steps": 300, "batch": 16, "lr": 0.002, "optimizer": "adamw", "warmup": 30}
SIZES: dict[str, Any] = {"n_positions": N_CONTEXT, "n_layers": 2, "n_heads": 4, "d_model": 64, "d_ff": 256}
CHANGES: dict[str, dict[str, Any]] = {
    "GPT-2": {},
    "rotary positions": {"pos": nothing, "turn": rotary, "d_ff": 272},
    "RMSNorm": {"norm": nn.RMSNorm, "final": nn.RMSNorm, "d_ff": 273},
    "SwiGLU": {"ff": Gated, "act": F.silu, "d_ff": 181},
    "no bias": {"bias": False, "d_ff": 184},
    "a head of its own": {"head": LM, "init": normal, "d_ff": 173},
    "two heads of keys": {"n_groups": 2, "d_ff": 195},
}


def trained(spec: Spec, start: int, train: torch.Tensor, held: torch.Tensor) -> float:
    seed(start)
    task = Task(Model(spec), Windows(train, N_CONTEXT), loss)
    fit(task, TrainConfig(**TRAIN, schedule="cosine", seed=start), show="none")
    return round(nats(task.model, held, N_CONTEXT), 4)


def main() -> None:
    torch.set_num_threads(1)
    train, held, tokenizer = split("tuning")
    spec = get("gpt2").but(n_vocab=len(tokenizer), p_dropout=0.0, p_attend=0.0, attend=attention, **SIZES)
    rows = []
    for name, changes in tqdm(CHANGES.items()):
        spec = spec.but(**changes)
        scores = [trained(spec, start, train, held) for start in SEEDS]
        mean, spread = round(statistics.mean(scores), 3), round(statistics.stdev(scores), 3)
        n = sum(p.numel() for p in Model(spec).parameters())
        rows.append({"change": name, "parameters": n, "nats": scores, "mean": mean, "spread": spread})
        print(f"{name:<20}{n:>8,} parameters  {mean:.3f} +- {spread:.3f} nats", flush=True)
    about = {"date": f"{date.today()}", "torch": torch.__version__, "machine": platform.machine(), **TRAIN}
    RESULT.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
