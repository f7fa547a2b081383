"""Decoding beside `transformers`' generate, beside every sequence there is, and beside the papers, without a cache.

The models are tiny and random; each `..._error` is the share of answers that differ, or the largest difference.
"""

from __future__ import annotations

import itertools
import math
from functools import cache

import numpy as np
import torch
from scipy.stats import chi2
from torch import Tensor
from transformers import GPT2LMHeadModel
from transformers.generation import logits_process as theirs

from lib.sample import (
    Draw,
    MinP,
    RepetitionPenalty,
    Temperature,
    TopK,
    TopP,
    Typical,
    beam_search,
    contrastive_search,
    generate,
    speculate,
)
from lib.spec import Spec
from lib.stack import Model
from tests import hf
from tests.attention.twins import shaken

N_MODELS = 100
PAD = 0


# --- filters ---------------------------------------------------------------------------------------------------------


def random_logits(rng: np.random.Generator) -> Tensor:
    """A few rows: plain ones, ones with many ties, all equal, far apart, some ruled out already; float32 or float64."""
    B, V = rng.integers(1, 6), rng.integers(1, 30)
    kinds = [
        rng.normal(size=V) * 3,
        rng.integers(-2, 3, V).astype(float),
        np.full(V, 1.5),
        rng.normal(size=V) * 300,
        np.where((rng.random(V) < 0.5) & (np.arange(V) > 0), -np.inf, rng.normal(size=V)),
    ]
    rows = np.stack([kinds[rng.integers(len(kinds))] for _ in range(B)])
    return torch.from_numpy(rows).to(torch.float64 if rng.integers(2) else torch.float32)


def random_filter(name: str, rng: np.random.Generator):
    """One of ours, and theirs for the same number; the ends of its range come often."""
    p = float(rng.choice([rng.uniform(0.01, 0.99), 0.5, 1e-9, 1 - 1e-6, 1.0]))
    t = float(rng.choice([rng.uniform(0.05, 5), 1.0, 1e-3, 1e3]))
    if name == "TopK":
        k = int(rng.choice([1, 2, rng.integers(1, 40), 1000]))
        return TopK(k), theirs.TopKLogitsWarper(k)
    if name == "Typical":
        p = min(p, 1 - 1e-6)
    ours, warper, value = {
        "Temperature": (Temperature, theirs.TemperatureLogitsWarper, t),
        "TopP": (TopP, theirs.TopPLogitsWarper, p),
        "MinP": (MinP, theirs.MinPLogitsWarper, p),
        "Typical": (Typical, theirs.TypicalLogitsWarper, p),
        "RepetitionPenalty": (RepetitionPenalty, theirs.RepetitionPenaltyLogitsProcessor, t),
    }[name]
    return ours(value), warper(value)


def filter_error(name: str, rng: np.random.Generator) -> float:
    logits = random_logits(rng)
    ours, warper = random_filter(name, rng)
    seen = torch.from_numpy(rng.integers(-1, logits.shape[1], (len(logits), rng.integers(0, 9))))
    before = logits.clone()
    alone = [warper(row[row >= 0][None], one[None])[0] for row, one in zip(seen, logits.clone(), strict=True)]
    a, b = ours(logits, seen), torch.stack(alone)
    assert torch.equal(logits, before), "the logits that it was given are changed"
    assert torch.equal(a == -math.inf, b == -math.inf), f"{ours} keeps other tokens of {logits}"
    return float((a.softmax(-1) - b.softmax(-1)).abs().max())


# --- transformers' generate ------------------------------------------------------------------------------------------


@cache
def pair(seed: int) -> tuple[GPT2LMHeadModel, Model, list[list[int]]]:
    """Theirs, ours with the same weights, and prompts of unequal length."""
    rng = np.random.default_rng(seed)
    heads = int(rng.integers(1, 3))
    sizes = {"n_layer": int(rng.integers(1, 3)), "n_head": heads, "n_embd": 4 * heads * int(rng.integers(1, 3))}
    config = {"vocab_size": 20, "n_positions": 24, "bos_token_id": None, "eos_token_id": None, **sizes}
    config["tie_word_embeddings"] = bool(rng.integers(2))
    model = hf.build("GPT2LMHeadModel", config, rng)
    for p in (
        model.transformer.wpe.weight,
        model.transformer.ln_f.weight,
    ):  # so that answers are not one token for ever
        p.data *= 8
    prompts = [rng.integers(1, 20, n).tolist() for n in rng.integers(1, 7, rng.integers(1, 4))]
    return model, hf.through_a_folder(model), prompts


@torch.no_grad()
def their_answers(seed: int, stop: list[int], **how) -> tuple[list[list[list[int]]], list[list[float]]]:
    """For each prompt of the pair its answers, without padding, and their scores, where there are any."""
    model, _, prompts = pair(seed)
    T = max(map(len, prompts))
    ids = torch.tensor([[PAD] * (T - len(p)) + p for p in prompts])
    there = torch.tensor([[0] * (T - len(p)) + [1] * len(p) for p in prompts])
    out = model.generate(
        ids, attention_mask=there, do_sample=False, pad_token_id=PAD, eos_token_id=stop or None,
        return_dict_in_generate=True, output_scores=True, **how,
    )  # fmt: skip
    scores = out.get("sequences_scores")
    scores = torch.zeros(len(out.sequences)) if scores is None else scores
    n = len(out.sequences) // len(prompts)
    answers = [until(row, stop, how["max_new_tokens"]) for row in out.sequences[:, T:].tolist()]
    split = [list(range(i, i + n)) for i in range(0, len(answers), n)]
    split = [[i for i in group if scores[i] > -1e8] for group in split]  # -1e9 is their "there was none"
    return [[answers[i] for i in group] for group in split], [[float(scores[i]) for i in group] for group in split]


def until(ids: list[int], stop: list[int], n: int) -> list[int]:
    """Up to the first stop, and that included."""
    ends = [i + 1 for i, one in enumerate(ids) if one in stop]
    return ids[: min([n, *ends])]


def greedy_error() -> float:
    wrong = 0
    for seed in range(N_MODELS):
        stop = [[], [3], [4, 5, 6]][seed % 3]
        found, _ = their_answers(seed, stop, max_new_tokens=12)
        _, ours, prompts = pair(seed)
        wrong += [[row] for row in generate(ours, prompts, 12, stop=stop)] != found
    return wrong / N_MODELS


def beam_error() -> float:
    """All hypotheses in their order, and the scores to 1e-5, since theirs are float32."""
    wrong = 0
    for seed in range(N_MODELS):
        rng = np.random.default_rng(seed)
        stop = [[], [3], [4, 5, 6], [1, 2, 3, 4, 5, 6, 7, 8]][rng.integers(4)]
        how = {
            "n_beams": int(rng.integers(2, 5)),
            "length_penalty": float(rng.choice([-1, 0, 0.5, 1, 2])),
            "early": [True, False, "never"][rng.integers(3)],
        }
        n, penalty, early = how.values()
        more = {"num_beams": n, "num_return_sequences": n, "length_penalty": penalty, "early_stopping": early}
        ids, scores = their_answers(seed, stop, max_new_tokens=8, **more)
        _, model, prompts = pair(seed)
        answers = beam_search(model, prompts, 8, stop=stop, **how)
        same = [[one.ids for one in row] for row in answers] == ids
        ours, found = [one.score for row in answers for one in row], [score for row in scores for score in row]
        wrong += not (same and np.allclose(ours, found, atol=1e-5))
    return wrong / N_MODELS


@torch.no_grad()
def slow_contrastive(model: GPT2LMHeadModel, ids: list[int], n_new: int, k: int, alpha: float) -> list[int]:
    """The paper's equation 5 for one row, each candidate read from the beginning, without a cache."""
    n_prompt = len(ids)
    for _ in range(n_new):
        p = model(torch.tensor([ids])).logits[0, -1].softmax(-1)
        scores = {}
        for v in p.argsort(descending=True)[:k].tolist():
            states = model(torch.tensor([[*ids, v]]), output_hidden_states=True).hidden_states[-1][0]
            likeness = torch.cosine_similarity(states[-1:], states[:-1], dim=-1).max()
            scores[v] = float((1 - alpha) * p[v] - alpha * likeness)
        ids = [*ids, max(scores, key=scores.__getitem__)]
    return ids[n_prompt:]


def contrastive_error() -> float:
    wrong = 0
    for seed in range(N_MODELS):
        rng = np.random.default_rng(seed)
        k, alpha, stop = int(rng.integers(1, 6)), float(rng.choice([0.2, 0.6, 1.0])), [[], [4, 5, 6]][seed % 2]
        model, ours, prompts = pair(seed)
        found = [until(slow_contrastive(model, row, 5, k, alpha), stop, 5) for row in prompts]
        wrong += contrastive_search(ours, prompts, 5, k=k, alpha=alpha, stop=stop) != found
    return wrong / N_MODELS


# --- every sequence there is -----------------------------------------------------------------------------------------


def small(spec: Spec, seed: int, times: float = 4) -> Model:
    """A model in float64 whose distributions are uneven and differ from place to place."""
    model = shaken(Model(spec), np.random.default_rng(seed)).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            p *= times if p.dim() == 2 or name.endswith("final.weight") else 1
    return model


@torch.no_grad()
def every_answer(model: Model, prompt: list[int], n_new: int, stop: list[int]) -> dict[tuple[int, ...], float]:
    """log p of every answer: those that end at their first stop, and those of n_new ids. Without a cache."""
    log_p = {}
    for answer in itertools.product(range(model.spec.n_vocab), repeat=n_new):
        ids = until(list(answer), stop, n_new)
        logits = model(torch.tensor([prompt + ids]))[0, len(prompt) - 1 : -1].log_softmax(-1)
        log_p[tuple(ids)] = float(logits.gather(1, torch.tensor(ids)[:, None]).sum())
    return log_p


def drawn_error(spec: Spec, drafted: bool, N: int = 12_000) -> float:
    """Chi-square of N drawn answers against their exact distribution, over what 1 in 1,000 exceeds by chance."""
    target, draft, prompt = small(spec, 0, 2), small(spec.but(n_layers=1), 1, 2), [1, 2]
    exact = every_answer(target, prompt, 3, [])
    if drafted:
        found = speculate(target, draft, [prompt] * N, 3, n_draft=2, pick=Draw(0)).ids
    else:
        found = generate(target, [prompt] * N, 3, pick=Draw(0))
    answers = list(exact)
    counts = np.bincount([answers.index(tuple(row)) for row in found], minlength=len(answers))
    expected = N * np.exp([exact[answer] for answer in answers])
    rare = expected < 5  # the test is for counts that are not too small: the rare answers count as one
    if rare.any():
        counts, expected = (np.append(x[~rare], x[rare].sum()) for x in (counts, expected))
    return float(((counts - expected) ** 2 / expected).sum() / chi2.isf(1e-3, len(counts) - 1))
