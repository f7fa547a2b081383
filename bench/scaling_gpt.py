"""How does the loss of a small GPT fall with its size, and with the text it reads?

    OMP_NUM_THREADS=1 python bench/scaling_gpt.py      writes bench/scaling_gpt.json

GPT-2 with two blocks, at four widths, each trained for five numbers of steps, every run with a schedule of its own that
ends with it. Scored on the last 5% of the training text of Tiny Shakespeare; the validation text is not looked at. Each
width gets the best of three rates, chosen in short runs with a seed of its own. One seed for each point of the table.
About seven minutes on one core.
"""

from __future__ import annotations

import json
import platform
from datetime import date
from pathlib import Path

import torch
from tqdm import tqdm

from lib import seed
from lib.attention.backends import attention
from lib.spec import get
from lib.stack import Model
from lib.tasks.shakespeare import NAME, Windows, loss, nats, split
from lib.train import Task, TrainConfig, fit

RESULT = Path(__file__).with_suffix(".json")
N_CONTEXT, BATCH = 64, 12
WIDTHS, STEPS = (16, 32, 64, 128), (125, 250, 500, 1000, 2000)
RATES, RATE_STEPS = (0.004, 0.008, 0.016), 250
RATE_SEED, SEED = 10, 0


def trained(d_model: int, steps: int, lr: float, start: int) -> dict[str, float]:
    """Train one model; its size, the tokens it read, and its nats a character on the tuning slice."""
    ids, held, tokenizer = split("tuning")
    seed(start)
    sizes = {"n_layers": 2, "n_heads": 4, "d_model": d_model, "d_ff": 4 * d_model}
    plan = {"n_vocab": len(tokenizer), "n_positions": N_CONTEXT, "p_dropout": 0.0, "p_attend": 0.0, "attend": attention}
    model = Model(get("gpt2").but(**sizes, **plan))
    config = TrainConfig(
        steps=steps, batch=BATCH, lr=lr, warmup=steps // 10, lr_end=0.1, weight_decay=0.1, betas=(0.9, 0.99), clip=1.0,
        seed=start,
    )  # fmt: skip
    fit(Task(model, Windows(ids, N_CONTEXT), loss), config, show="none")
    return {
        "d_model": d_model,
        "parameters": sum(p.numel() for p in model.parameters()),
        "in blocks": sum(p.numel() for p in model.get_submodule("body.stack.blocks").parameters()),
        "steps": steps,
        "tokens": steps * BATCH * N_CONTEXT,
        "nats": round(nats(model, held, N_CONTEXT), 4),
    }


def main() -> None:
    rates, points = {}, []
    for d_model in tqdm(WIDTHS, unit="width"):
        tried = {lr: trained(d_model, RATE_STEPS, lr, RATE_SEED)["nats"] for lr in RATES}
        lr = rates[d_model] = min(tried, key=lambda lr: tried[lr])
        points += [trained(d_model, steps, lr, SEED) for steps in STEPS]
    about = {
        "command": "OMP_NUM_THREADS=1 python bench/scaling_gpt.py",
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}",
        "data": f"{NAME}, tuning slice: the last 5% of the training text; nats a character",
        "rates": rates,
    }
    RESULT.write_text(json.dumps(about | {"points": points}, indent=2) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
