"""What does each change from nanoGPT to our small GPT add? Each is taken back in turn, over three seeds.

    OMP_NUM_THREADS=1 python bench/ablation_gpt.py      writes bench/ablation_gpt.json

The recipe of configs/gpt-shakespeare.yaml in 300 of its 2,000 steps, scored on the last 5% of the training text; the
validation text is not looked at. A rate that suits one variant may ruin another, so each gets the best of three, chosen
with a seed of its own, and is then trained with three other seeds at that rate. The seed decides all that is random:
first weights and order. About twenty minutes on one core.
"""

from __future__ import annotations

import json
import platform
import statistics
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from tqdm import tqdm

from lib import recipe, seed
from lib.heads import LM
from lib.layers.embed import learned, nothing, rotary
from lib.spec import Spec
from lib.stack import Model
from lib.tasks.shakespeare import NAME, Windows, loss, nats, split
from lib.train import Task, fit
from lib.zoo.gpt2 import normal_by_depth
from lib.zoo.nano_gpt import mini_gpt, nano_gpt

RESULT = Path(__file__).with_suffix(".json")
STEPS, N_CONTEXT = 300, 64
RATE_SEED, SEEDS = 10, (0, 1, 2)
MUON, ADAMW = (0.005, 0.01, 0.02), (0.001, 0.002, 0.004)
"""Rates for each."""
SIZES = {"n_positions": N_CONTEXT, "n_layers": 4, "n_heads": 4, "d_model": 128, "d_ff": 512}


@dataclass(frozen=True)
class Variant:
    """What differs from our recipe."""

    spec: Spec = mini_gpt
    config: str = "gpt-shakespeare"
    rates: tuple[float, ...] = MUON
    train: dict[str, Any] = field(default_factory=dict)


VARIANTS = {
    "ours": Variant(),
    "learned positions": Variant(mini_gpt.but(pos=learned, turn=nothing)),
    "lengths of queries and keys left": Variant(mini_gpt.but(turn=rotary)),
    "GELU": Variant(mini_gpt.but(act=F.gelu)),
    "norms with weights": Variant(mini_gpt.but(norm=nano_gpt.norm, final=nano_gpt.final)),
    "logits not capped": Variant(mini_gpt.but(head=LM)),
    "nothing begins as 0": Variant(mini_gpt.but(init=normal_by_depth)),
    "AdamW": Variant(rates=ADAMW, train={"optimizer": "adamw"}),
    "nanoGPT's": Variant(nano_gpt, "gpt-shakespeare-plain", ADAMW),
}


def trained(variant: Variant, lr: float, start: int) -> float:
    """Train one variant; its nats a character on the tuning slice."""
    ids, held, tokenizer = split("tuning")
    plan = recipe.read(variant.config).train
    warmup = plan.warmup * STEPS // plan.steps
    config = replace(plan, steps=STEPS, warmup=warmup, lr=lr, seed=start, **variant.train)
    seed(start)
    task = Task(Model(variant.spec.but(n_vocab=len(tokenizer), **SIZES)), Windows(ids, N_CONTEXT), loss)
    fit(task, config, show="none")
    return round(nats(task.model, held, N_CONTEXT), 4)


def measure(variant: Variant) -> dict[str, object]:
    """The scores at each rate, the best of the rates, and the scores of the three seeds at that rate."""
    tried = {lr: trained(variant, lr, RATE_SEED) for lr in variant.rates}
    best = min(tried, key=lambda lr: tried[lr])
    scores = [trained(variant, best, start) for start in SEEDS]
    error = statistics.stdev(scores) / len(scores) ** 0.5
    return {
        "rates": tried,
        "lr": best,
        "nats": scores,
        "mean": round(statistics.mean(scores), 4),
        "error": round(error, 4),
    }


def main() -> None:
    results = {name: measure(variant) for name, variant in tqdm(VARIANTS.items(), unit="variant")}
    about = {
        "command": "OMP_NUM_THREADS=1 python bench/ablation_gpt.py",
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}",
        "data": f"{NAME}, tuning slice: the last 5% of the training text; nats a character",
        "steps": STEPS,
        "seeds": list(SEEDS),
        "rate seed": RATE_SEED,
    }
    RESULT.write_text(json.dumps(about | {"results": results}, indent=2) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
