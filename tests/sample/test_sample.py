"""Decoding: equal to its references; stops, streams, seeds; clear errors."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.stats import binom

from lib.attention.decode import Cache, PagedCache, SlidingCache
from lib.attention.masks import padding
from lib.heads import LM
from lib.sample import (
    Draw,
    Greedy,
    MinP,
    RepetitionPenalty,
    Temperature,
    TopK,
    TopP,
    Typical,
    apply,
    beam_search,
    contrastive_search,
    generate,
    pieces,
    speculate,
    stream,
)
from lib.spec import get
from lib.stack import Model, State
from tests.attention.twins import normal
from tests.sample.twins import every_answer, small
from tests.sample.verified import CLAIMS, SMALL

PROMPTS = [[1, 2, 3], [4], [0, 4]]
LARGE = SMALL.but(n_vocab=30, n_positions=40, head=LM)  # tied, such a model would repeat one token for ever


@pytest.fixture(scope="module")
def model() -> Model:
    return small(LARGE, 3)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_claim(claim):
    assert claim.measure() <= claim.tolerance


def text(ids: list[int]) -> str:
    """Ids as letters: a, b, c, ..."""
    return "".join(chr(ord("a") + i) for i in ids)


# --- filters ---------------------------------------------------------------------------------------------------------


def test_filters_come_in_their_order():
    logits, seen = torch.tensor([[3.0, 2.0, 1.0, -1.0]]), torch.tensor([[0, -1]])
    flat = apply([Temperature(100.0), TopP(0.5)], logits, seen)
    sharp = apply([TopP(0.5), Temperature(100.0)], logits, seen)
    assert (flat > -math.inf).sum() == 2 and (sharp > -math.inf).sum() == 1
    assert torch.equal(apply([RepetitionPenalty(3.0)], logits, seen), torch.tensor([[1.0, 2.0, 1.0, -1.0]]))


@pytest.mark.parametrize("one", [TopP(0.7), TopP(1.0), TopK(2), MinP(0.3), Typical(0.5)], ids=str)
def test_what_stays_keeps_its_proportions(one):
    p = torch.tensor([[0.4, 0.3, 0.2, 0.1]], dtype=torch.float64)
    y = one(p.log()).softmax(-1)
    stays = y > 0
    assert torch.allclose(y, p * stays / (p * stays).sum())
    n = {TopP(0.7): 2, TopP(1.0): 4, TopK(2): 2, MinP(0.3): 3, Typical(0.5): 2}[one]
    assert stays.sum() == n


# --- greedy and drawn ------------------------------------------------------------------------------------------------


def test_each_prompt_gets_the_answer_that_it_gets_alone(model):
    together = generate(model, PROMPTS, 9)
    assert together == [generate(model, [prompt], 9)[0] for prompt in PROMPTS]
    assert generate(model, torch.tensor([PROMPTS[0]] * 2), 9) == [together[0]] * 2


def test_a_stop_ends_its_row_and_no_other(model):
    free = generate(model, PROMPTS, 9)
    stop = free[0][2]
    until = [row[: row.index(stop) + 1] if stop in row else row for row in free]
    assert len(until[0]) <= 3 < max(map(len, until))
    assert generate(model, PROMPTS, 9, stop=[stop]) == until
    assert [row[0].ids for row in beam_search(model, PROMPTS, 9, n_beams=1, stop=[stop])] == until
    assert speculate(model, small(LARGE, 4), PROMPTS, 9, stop=[stop]).ids == until
    assert contrastive_search(model, PROMPTS, 9, k=1, stop=[stop]) == until


def test_rows_that_are_done_take_nothing_from_the_others(model):
    how = {"filters": [RepetitionPenalty(3.0)], "stop": list(range(0, 30, 4))}
    together = generate(model, PROMPTS, 12, **how)
    assert len(together[0]) < len(together[2]), "the first row is to leave before the last"
    assert together == [generate(model, [prompt], 12, **how)[0] for prompt in PROMPTS]


def test_a_string_may_begin_in_one_token_and_end_in_another(model):
    free = generate(model, PROMPTS[:1], 9)[0]
    string = text(free[1:3])
    short = generate(model, PROMPTS[:1], 9, stop=[29, string], decode=text)[0]
    assert short == free[: text(free).index(string) + 2]


def test_a_stream_is_the_answer_step_by_step(model):
    stop = generate(model, PROMPTS, 9)[0][2]
    seen: list[list[int | None]] = []
    whole = generate(model, PROMPTS, 9, stop=[stop], watch=seen.append)
    steps = list(stream(model, PROMPTS, 9, stop=[stop]))
    assert steps == seen
    assert [[step[i] for step in steps if step[i] is not None] for i in range(3)] == whole
    first = next(iter(stream(model, PROMPTS, 9)))
    assert first == [row[0] for row in whole]


def test_the_pieces_of_a_text_are_its_characters_whole():
    data = list("aé€😀z".encode())
    parts = list(pieces([*data, None, 98], lambda ids: bytes(ids).decode(errors="replace")))
    assert parts == ["a", "é", "€", "😀", "z"]
    broken = list(pieces(data[:2], lambda ids: bytes(ids).decode(errors="replace")))
    assert broken == ["a", "\N{REPLACEMENT CHARACTER}"]


def test_the_same_seed_gives_the_same_ids(model):
    def draw(pick, filters=()):
        return generate(model, PROMPTS, 9, pick=pick, filters=filters)

    assert draw(Draw(5)) == draw(Draw(5)) == draw(Draw(torch.Generator().manual_seed(5))) != draw(Draw(6))
    going_on = Draw(5)
    assert draw(going_on) != draw(going_on)
    state = torch.get_rng_state()
    assert draw(Draw(0), [TopK(1)]) == generate(model, PROMPTS, 9)
    assert torch.equal(torch.get_rng_state(), state)  # nobody else's random numbers are used
    calls = [speculate(model, small(LARGE, 4), PROMPTS, 9, pick=Draw(5)).ids for _ in range(2)]
    assert calls[0] == calls[1]


def test_a_penalty_reads_the_prompt_and_the_answer(model):
    never = [RepetitionPenalty(1e9), lambda logits, seen: logits - logits.amin() + 1e-3, RepetitionPenalty(1e9)]
    for prompt, answer in zip(PROMPTS, generate(model, PROMPTS, 20, filters=never), strict=True):
        assert len({*prompt, *answer}) == len(prompt) + 20


def test_no_gradient_is_kept(model):
    kept = []
    generate(model, PROMPTS, 2, filters=[lambda logits, seen: kept.append(logits.requires_grad) or logits])
    assert kept == [False] * 2 and torch.is_grad_enabled()


def test_other_caches_and_an_encoder_serve_too(model):
    caches = [
        lambda n, size: PagedCache(n, 2, 30, 3, 4, torch.float64),
        lambda n, size: SlidingCache(n, 2, 40, 4, torch.float64),
    ]
    for cache in caches:
        start = lambda n, size, cache=cache: State([cache(n, size) for _ in range(2)])  # noqa: E731
        assert generate(model, PROMPTS, 9, start=start) == generate(model, PROMPTS, 9)
    reads = get("transformer").but(n_vocab=11, n_layers=2, n_heads=2, d_model=8, d_ff=12)
    translator = small(reads, 0)
    source, lengths = torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0]]), torch.tensor([4, 2])
    start = lambda n, size: translator.start(source, size, padding(lengths))  # noqa: E731
    ids = torch.tensor([[0], [0]])
    with torch.no_grad():
        for _ in range(6):
            best = translator(source, ids, padding(lengths))[:, -1:].argmax(-1)
            ids = torch.cat((ids, best), dim=1)
    assert generate(translator, [[0], [0]], 6, start=start) == ids[:, 1:].tolist()
    beams = beam_search(translator, [[0], [0]], 6, n_beams=3, start=start)
    alone = beam_search(translator, [[0]], 6, n_beams=3, start=lambda n, size: translator.start(source[1:, :2], size))
    assert [one.ids for one in beams[1]] == [one.ids for one in alone[0]]


# --- beams -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length_penalty", [-1.0, 0.0, 0.7, 2.0])
def test_beams_as_wide_as_the_space_find_every_answer_in_order(length_penalty):
    model, prompt = small(SMALL, 7), [1, 2]
    log_p = every_answer(model, prompt, 3, [0, 3])
    ranked = sorted(log_p, key=lambda ids: -log_p[ids] / len(ids) ** length_penalty)
    found = beam_search(model, [prompt, [4]], 3, n_beams=80, length_penalty=length_penalty, stop=[0, 3])[0]
    assert [tuple(one.ids) for one in found] == ranked
    scores = [log_p[ids] / len(ids) ** length_penalty for ids in ranked]
    assert np.allclose([one.score for one in found], scores, atol=1e-12)


def test_one_beam_is_greedy_and_more_find_likelier_answers(model):
    greedy = generate(model, PROMPTS, 9)
    found = [[row[0] for row in beam_search(model, PROMPTS, 9, n_beams=n)] for n in (1, 12)]
    assert [one.ids for one in found[0]] == greedy
    assert all(many.score >= one.score for one, many in zip(*found, strict=True))
    assert any(many.score > one.score + 0.01 for one, many in zip(*found, strict=True))


def test_what_is_kept_is_a_tree(model):
    keep: list = []
    answers = beam_search(model, PROMPTS[:2], 5, n_beams=3, keep=keep)
    assert [[len(row) for row in step] for step in keep] == [[3, 3]] * 4 + [[0, 0]]
    for before, after in itertools.pairwise(keep):
        for old, new in zip(before, after, strict=True):
            assert {tuple(one.ids[:-1]) for one in new} <= {tuple(one.ids) for one in old}
            assert [one.score for one in new] == sorted((one.score for one in new), reverse=True)
    assert answers[0][0].ids[:-1] in [one.ids for one in keep[3][0]]


# --- a draft ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_draft", [1, 3, 20])
def test_greedy_speculation_is_greedy_decoding(model, n_draft):
    for draft in (model, small(LARGE, 4), small(LARGE.but(n_layers=1), 5)):
        found = speculate(model, draft, PROMPTS, 9, n_draft=n_draft, filters=[RepetitionPenalty(1.3)])
        assert found.ids == generate(model, PROMPTS, 9, filters=[RepetitionPenalty(1.3)])
        if draft is model:
            assert found.p_accepted == 1 and found.n_calls == math.ceil(9 / (n_draft + 1))


def test_the_share_of_accepted_tokens_is_what_the_distributions_have_in_common():
    target, draft, N = small(SMALL, 0, 2), small(SMALL.but(n_layers=1), 1, 2), 2000
    filters = [Temperature(0.8), TopK(4)]
    with torch.no_grad():
        logits = [m(torch.tensor([[1, 2]]))[:, -1] for m in (target, draft)]
    p, q = (apply(filters, x, torch.tensor([[1, 2]])).softmax(-1) for x in logits)
    expected = float(torch.minimum(p, q).sum())
    found = speculate(target, draft, [[1, 2]] * N, 2, n_draft=1, filters=filters, pick=Draw(0))
    assert (found.n_drafted, found.n_judged, found.p_accepted) == (N, N, found.n_accepted / N)
    assert 0.001 < binom.cdf(found.n_accepted, N, expected) < 0.999 and expected < 0.9


@pytest.mark.parametrize("kind", ["plain", "paged", "sliding"])
@torch.no_grad()
def test_what_was_taken_back_leaves_no_trace(kind, model):
    make = {
        "plain": lambda: Cache(2, 2, 12, 4, torch.float64),
        "paged": lambda: PagedCache(2, 2, 12, 3, 4, torch.float64),
        "sliding": lambda: SlidingCache(2, 2, 12, 4, torch.float64),
    }[kind]
    one, two = (State([make() for _ in range(2)]) for _ in range(2))
    ids = torch.arange(14).view(2, 7)
    model.step(ids, one)
    model.step(ids[:, :4], two, [4, 2])
    one.rewind([4, 2])
    assert torch.equal(model.step(ids[:, 4:], one, [3, 1]), model.step(ids[:, 4:], two, [3, 1]))
    one.rewind([100, 100])
    assert one.caches[0].n.tolist() == [7, 3]


# --- bad input -------------------------------------------------------------------------------------------------------


def broken(row: int = 1) -> Model:
    model = small(LARGE, 3)
    with torch.no_grad():
        model.body.embed.tokens.weight[PROMPTS[row][-1]] = math.nan
    return model


def sliding_round():
    cache = SlidingCache(1, 1, 2, 4)
    for _ in range(3):
        x = torch.zeros(1, 1, 1, 4)
        cache.extend(x, x, cache.next_positions(1, 1))
    cache.rewind([1])


def none_left(logits, seen):
    return torch.full_like(logits, -math.inf)


WRONG = {
    "no prompt": (lambda m: generate(m, [], 3), "there is no prompt"),
    "an empty prompt": (lambda m: generate(m, [[1], []], 3), "prompt 1 is empty: give at least one id"),
    "a prompt alone": (lambda m: generate(m, [1, 2], 3), "list of lists of ids, but entry 0 is 1"),
    "a prompt of one axis": (lambda m: generate(m, torch.tensor([1, 2]), 3), "put a single prompt in a list"),
    "a text": (lambda m: generate(m, "To be", 3), "not text: encode it first"),
    "texts": (lambda m: generate(m, ["To be"], 3), "entry 0 is 'To be'"),
    "parts of ids": (lambda m: generate(m, [[1.5]], 3), "prompt 0 must be a row of whole numbers, not torch.float32"),
    "ids of another model": (lambda m: generate(m, [[30]], 3), "ids are from 0 to 29"),
    "nothing new": (lambda m: generate(m, PROMPTS, 0), "n_new is a whole number of new ids, at least 1, not 0"),
    "longer than the table": (lambda m: generate(m, [[1] * 35], 7), "35 ids and 7 new .* 40 rows. Shorten the prompt"),
    "beams beyond the table": (lambda m: beam_search(m, [[1] * 35], 7), "Shorten the prompt"),
    "states beyond the table": (lambda m: contrastive_search(m, [[1] * 35], 6), "Shorten the prompt"),
    "drafts beyond the table": (lambda m: speculate(m, m, [[1] * 35], 7), "Shorten the prompt"),
    "longer than the cache": (lambda m: generate(m, PROMPTS, 9, start=lambda n, size: m.start(n, 8)), "has room for 8"),
    "training": (lambda m: generate(small(LARGE, 3).train(), PROMPTS, 3), r"training mode, .* call model.eval\(\)"),
    "a draft in training": (lambda m: speculate(m, small(LARGE, 3).train(), PROMPTS, 3), "training mode"),
    "a NaN": (lambda m: generate(broken(), PROMPTS, 3), "the logits of row [01] from the model hold the value nan"),
    "a NaN in beams": (lambda m: beam_search(broken(), PROMPTS, 3), "hold the value nan"),
    "a NaN in states": (lambda m: contrastive_search(broken(), PROMPTS, 3), "hold the value nan"),
    "a NaN in a draft": (lambda m: speculate(m, broken(), PROMPTS, 3), "hold the value nan"),
    "a filter that leaves nothing": (lambda m: generate(m, PROMPTS, 3, filters=[none_left]), "no token is left"),
    "k of nothing": (lambda m: TopK(0), "at least 1, not 0"),
    "k of a part": (lambda m: TopK(1.5), "whole number of tokens, at least 1, not 1.5"),
    "p of nothing": (lambda m: TopP(0.0), "above 0 and up to 1, not 0.0"),
    "p of too much": (lambda m: TopP(1.1), "above 0 and up to 1, not 1.1"),
    "min-p": (lambda m: MinP(-0.1), "above 0 and up to 1, not -0.1"),
    "typical": (lambda m: Typical(1.0), "between 0 and 1, not 1.0"),
    "temperature 0": (lambda m: Temperature(0), r"above 0 and finite, not 0; .* use pick=Greedy\(\)"),
    "temperature below 0": (lambda m: Temperature(-1.0), "above 0 and finite, not -1.0"),
    "penalty": (lambda m: RepetitionPenalty(0.0), "above 0 and finite, not 0.0"),
    "filters without draws": (lambda m: generate(m, PROMPTS, 3, filters=[TopP(0.9)]), r"no effect .* pick=Draw"),
    "a seed": (lambda m: Draw(0.5), "a whole number or a torch.Generator, not 0.5"),
    "bytes": (lambda m: generate(m, PROMPTS, 3, stop=[b"x"], decode=text), "an id or a string, not b'x' of type bytes"),
    "an empty string": (lambda m: generate(m, PROMPTS, 3, stop=[""], decode=text), "empty string"),
    "a string alone": (lambda m: generate(m, PROMPTS, 3, stop="end"), r"write \['end'\]"),
    "a number alone": (lambda m: generate(m, PROMPTS, 3, stop=5), "stop is a list of ids and strings, not 5"),
    "strings without text": (lambda m: generate(m, PROMPTS, 3, stop=["end"]), "give decode=tokenizer.decode"),
    "no beams": (lambda m: beam_search(m, PROMPTS, 3, n_beams=0), "n_beams is a whole number, at least 1, not 0"),
    "an endless penalty": (lambda m: beam_search(m, PROMPTS, 3, length_penalty=math.inf), "finite number, not inf"),
    "early": (lambda m: beam_search(m, PROMPTS, 3, early="yes"), 'True, False or "never", not \'yes\''),
    "no candidates": (lambda m: contrastive_search(m, PROMPTS, 3, k=0), "at least 1, not 0"),
    "alpha": (lambda m: contrastive_search(m, PROMPTS, 3, alpha=1.5), "from 0 to 1, not 1.5"),
    "no drafts": (lambda m: speculate(m, m, PROMPTS, 3, n_draft=0), "n_draft is a whole number, at least 1, not 0"),
    "two vocabularies": (lambda m: speculate(m, small(SMALL, 0), PROMPTS, 3), "has 5 entries and the model's 30"),
    "back round": (lambda m: sliding_round(), "holds the last 2 positions: the earlier ones"),
    "back to nowhere": (lambda m: m.start(2, 4).rewind([1, -1]), r"2 whole numbers, .* not \[1, -1\]"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_bad_input_is_a_clear_error(wrong, model):
    run, message = WRONG[wrong]
    with pytest.raises(ValueError, match=message):
        run(model)


def test_beams_do_not_draw(model):
    with pytest.raises(TypeError, match="pick"):
        beam_search(model, PROMPTS, 3, pick=Draw(0))


def test_greedy_has_all_of_the_probability():
    shares = Greedy().shares(normal(np.random.default_rng(0), 3, 5))
    assert torch.equal(shares.sum(-1), torch.ones(3, dtype=torch.float64)) and set(shares.unique().tolist()) == {0, 1}
