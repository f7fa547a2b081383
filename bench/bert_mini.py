"""The three commands of the small BERT, beside what needs no network: held-out gaps and pairs, then sentiment.

    OMP_NUM_THREADS=1 python bench/bert_mini.py [FOLDER]      writes bench/bert_mini.json

The tokenizer and the pre-training of configs/bert-mini.yaml; the same gaps filled by the commonest piece, and by the
commonest next to a neighbour; then configs/bert-mini-sst2.yaml from the pre-trained weights and from new ones, three
seeds each. With FOLDER, what is there of an earlier run is taken from it. Settings were chosen on the last 5% of the
training documents and on SST-2's validation split. Each run here scores the test split once, at its end.
"""

from __future__ import annotations

import json
import platform
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import lightning.fabric  # noqa: F401  # its import is no one's training
import torch

from lib import recipe
from lib.pretrain.masking import IGNORE
from lib.tasks import bert_pretrain
from lib.tasks.bert_pretrain import Options, Rows

RESULT = Path(__file__).with_suffix(".json")
SEEDS, INITS = (0, 1, 2), ("pretrained", "scratch")


def train(config: str, folder: Path, *changes: str) -> dict[str, float]:
    """Train as a configuration says; the scores and the CPU seconds, which stay in the folder."""
    kept = folder / "result.json"
    if not kept.is_file():
        plan = replace(recipe.read(config, changes), folder=folder)
        start = time.process_time()
        metrics = recipe.train(plan, resume=folder.is_dir()).metrics
        found = metrics | {"steps": plan.train.steps, "CPU seconds": time.process_time() - start}
        kept.write_text(json.dumps(found), encoding="utf-8")
    return {name: round(value, 4) for name, value in json.loads(kept.read_text("utf-8")).items()}


class Neighbours:
    """For each piece the commonest one on its right and on its left in the training text; else the commonest of all."""

    def __init__(self, documents: Iterable[list[list[int]]]):
        self.counts: Counter[int] = Counter()
        self.after: defaultdict[int, Counter[int]] = defaultdict(Counter)
        self.before: defaultdict[int, Counter[int]] = defaultdict(Counter)
        for document in documents:
            ids = [i for sentence in document for i in sentence]
            self.counts.update(ids)
            for a, b in pairwise(ids):
                self.after[a][b] += 1
                self.before[b][a] += 1

    def guesses(self, left: int, right: int) -> dict[str, int]:
        """What each baseline says of a gap between two pieces. `both`: of the two answers the surer one."""
        common = self.counts.most_common(1)[0][0]
        ways = {"left": self.after[left], "right": self.before[right]}
        found = {name: counts.most_common(1)[0][0] if counts else common for name, counts in ways.items()}
        surer = max(ways, key=lambda name: self._share(ways[name]))
        return {"commonest": common, **found, "both": found[surer]}

    @staticmethod
    def _share(counts: Counter[int]) -> float:
        return counts.most_common(1)[0][1] / counts.total() if counts else 0.0


def baselines(rows: Rows, neighbours: Neighbours) -> dict[str, float]:
    """The share of the gaps of `bert_pretrain.score` that each fills, shown the neighbours even where masked."""
    rng, right, n_gaps = torch.Generator().manual_seed(0), Counter[str](), 0
    for numbers in torch.arange(len(rows)).split(bert_pretrain.N_VALID):
        *_, y, _ = rows.batch(numbers.tolist(), rng)
        ids = rows.ids[numbers].tolist()
        for row, at in (y != IGNORE).nonzero().tolist():
            n_gaps += 1
            for name, guess in neighbours.guesses(ids[row][at - 1], ids[row][at + 1]).items():
                right[name] += guess == ids[row][at]
    return {name: round(count / n_gaps, 4) for name, count in right.items()}


def beside(options: Options, seed: int) -> dict[str, Any]:
    """The baselines on the held-out rows, and how many documents and pairs there are."""
    tokenizer = bert_pretrain.find_tokenizer(options.tokenizer, "course tokenizer bert-mini")
    texts, held = bert_pretrain.documents(options, seed)
    rows, pairs = bert_pretrain.held_rows(held, tokenizer, options)
    counts = {"training documents": len(texts), "held-out documents": len(held), "held-out pairs": len(pairs)}
    return counts | {"baselines": baselines(rows, Neighbours(bert_pretrain.encoded(texts, tokenizer)))}


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
    made = f"options.tokenizer={folder / 'tokenizer.json'}"
    plan = recipe.read("bert-mini", [made])
    if not Path(plan.options.tokenizer).is_file():
        recipe.tokenizer(plan)
    results: dict[str, Any] = {"pre-training": train("bert-mini", folder / "pretrained", made)}
    results |= beside(plan.options, plan.train.seed)
    model = f"options.model={folder / 'pretrained' / 'model'}"
    for init in INITS:
        results[init] = [
            train("bert-mini-sst2", folder / f"{init}-{seed}", model, f"options.init={init}", f"train.seed={seed}")
            for seed in SEEDS
        ]
    accuracy = {init: sum(run["accuracy"] for run in results[init]) / len(SEEDS) for init in INITS}
    about = {
        "command": "OMP_NUM_THREADS=1 python bench/bert_mini.py",
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}",
        "threads": torch.get_num_threads(),
        "gain": round(accuracy["pretrained"] - accuracy["scratch"], 4),
    }
    RESULT.write_text(json.dumps(about | results, indent=2) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
