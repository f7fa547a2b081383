"""Our models beside transformers' in one run: the time of a forward pass, at equal settings.

    OMP_NUM_THREADS=1 python bench/zoo.py              a minute; writes bench/zoo.json

Both hold the same weights, in float32, on the processor, in evaluation mode and without gradients, and get the same
ids; the largest difference of their answers stands in the table. Two settings, named as transformers names them:

    eager     every number of the table of weights is made: our `core.attend`
    sdpa      torch's fused operator: our `backends.attention`

They run in turns, so that what else the machine does slows both alike; a time is the median of process time over the
turns, and the ratio is ours by theirs. Exit status 1 where ours takes longer than theirs.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from lib import seed
from lib.attention import backends, core
from lib.load import from_pretrained
from lib.stack import Model

RESULT = Path(__file__).with_suffix(".json")
ATTEND: dict[str, Callable[..., Tensor]] = {"eager": core.attend, "sdpa": backends.attention}
LAYERS, HEADS, WIDTH, VOCAB = 4, 8, 256, 4000
MODELS: dict[str, dict[str, Any]] = {
    "GPT2LMHeadModel": {"n_layer": LAYERS, "n_head": HEADS, "n_embd": WIDTH, "bos_token_id": 0, "eos_token_id": 0},
    "LlamaForCausalLM": {
        "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": HEADS // 4,
        "hidden_size": WIDTH, "intermediate_size": 688,
    },
    "BertForMaskedLM": {
        "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "hidden_size": WIDTH, "intermediate_size": 4 * WIDTH
    },
}  # fmt: skip
SHAPES = (8, 64), (4, 256)
"""Sequences x positions."""


def in_turns(runs: Mapping[str, Callable[[], object]], turns: int) -> dict[str, float]:
    """Seconds of one call of each: the median over the turns."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(turns + 2):  # the first two warm up
        for name in sorted(runs, reverse=bool(turn % 2)):  # either is first as often as the other
            start = time.process_time()
            runs[name]()
            if turn >= 2:
                found[name].append(time.process_time() - start)
    return {name: statistics.median(times) for name, times in found.items()}


def pair(architecture: str, setting: str, folder: str) -> tuple[torch.nn.Module, Model]:
    """Theirs, and ours with the same weights."""
    kind = getattr(transformers, architecture)
    config = kind.config_class(**MODELS[architecture], vocab_size=VOCAB, attn_implementation=setting)
    theirs = kind(config).eval()
    theirs.save_pretrained(folder)
    read = from_pretrained(folder)
    ours = Model(read.spec.but(attend=ATTEND[setting]))
    ours.load_state_dict(read.state_dict())
    return theirs, ours.eval()


@torch.no_grad()
def rows(turns: int) -> Iterator[dict[str, Any]]:
    for architecture in MODELS:
        for setting in ATTEND:
            seed(0)
            with tempfile.TemporaryDirectory() as folder:
                theirs, ours = pair(architecture, setting, folder)
            for B, T in SHAPES:
                ids = torch.randint(1, VOCAB, (B, T))
                off = (ours(ids) - theirs(ids, use_cache=False).logits).abs().max().item()
                assert off < 1e-4, f"{architecture}, {setting}: the answers differ by {off}"
                runs = {"ours": partial(ours, ids), "theirs": partial(theirs, ids, use_cache=False)}
                times = in_turns(runs, turns)
                yield {
                    "model": architecture, "setting": setting, "shape": f"{B} x {T}",
                    **{f"{name}, ms": round(1000 * t, 2) for name, t in times.items()},
                    "ratio": round(times["ours"] / times["theirs"], 3), "difference": f"{off:.0e}",
                }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=20)
    turns = parser.parse_args().turns
    found = []
    for row in rows(turns):
        print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
        found.append(row)
    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "machine": platform.machine()}
    about = {"date": date.today().isoformat(), "threads": torch.get_num_threads(), "turns": turns, **versions}
    RESULT.write_text(json.dumps({"about": about, "rows": found}, indent=1) + "\n", encoding="utf-8")
    return int(any(row["ratio"] > 1 for row in found))


if __name__ == "__main__":
    sys.exit(main())
