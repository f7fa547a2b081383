"""Dates as people write them, to ISO: '3rd of March 1987' -> '1987-03-03'.

The days are those of 1930 to 2029, so two digits of a year are never ambiguous: 30 to 99 are 1930 to 1999, 00 to 29 are
2000 to 2029. In digits the day comes before the month. Every weekday is the true one. A day of the calendar is for
training, for tuning or for the test, in all its written forms: a test date has never been seen in any form.

With `distractors`, the date stands in a list of other things that have numbers: room 12, page 3 of 40, 17.5 kg.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal

import numpy as np
import torch
from numpy.random import Generator

from lib.tokens.vocabulary import Vocabulary, pad, pieces
from lib.train.config import number
from lib.train.task import Task
from lib.zoo.seq2seq import Additive, Attention, Fixed, Multiplicative, Pairs, Seq2Seq, pair_loss

FIRST, N_DAYS, N_HELD = date(1930, 1, 1), 36_525, 2_000

MONTHS = "January February March April May June July August September October November December".split()
MOIS = "janvier février mars avril mai juin juillet août septembre octobre novembre décembre".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
JOURS = "lundi mardi mercredi jeudi vendredi samedi dimanche".split()

FORMS = (
    "{y}-{mm}-{dd}", "{dd}/{mm}/{y}", "{d}/{m}/{yy}", "{d}.{m}.{y}", "{dd}.{mm}.{yy}", "{d}-{mon}-{yy}",
    "{d} {month} {y}", "{d} {mon} {y}", "{mon} {d}, {yy}", "{month} {th}, {y}", "{th} of {month} {y}",
    "the {th} of {month}, {y}", "{day}, {d} {month} {y}", "{dy} {mon} {d}, {y}", "{day} the {th} of {month} {yy}",
    "{day} {dd}/{mm}/{y}", "{premier} {mois} {y}", "le {premier} {mois} {yy}", "{jour} {premier} {mois} {y}",
)  # fmt: skip

CLAUSES = (
    "invoice {n4}", "{n1} boxes of {n2}", "room {n2}", "page {n1} of {n2}", "{n1}.{n2} kg", "paid {n2}.{two} euros",
    "tel. {n4}{two}", "version {n1}.{n2}", "at {hour}:{two}", "platform {n1}", "flight {n4}", "gate {n1}",
    "order no. {n4}{n2}", "{n2} seats left", "ref. {n4}-{two}", "{n1} of {n2} parcels",
)  # fmt: skip


def ordinal(n: int) -> str:
    """1st, 2nd, 3rd, 4th, 11th."""
    ending = "th" if 10 < n % 100 < 14 else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"


def written(day: date, rng: Generator) -> str:
    """A day in one of nineteen forms, English and French, sometimes all in small letters or all in capitals."""
    month, weekday = day.month - 1, day.weekday()
    form = FORMS[rng.integers(len(FORMS))]
    text = form.format(
        y=day.year, yy=f"{day.year % 100:02}", m=day.month, mm=f"{day.month:02}", d=day.day, dd=f"{day.day:02}",
        th=ordinal(day.day), premier="1er" if day.day == 1 else day.day, month=MONTHS[month], mon=MONTHS[month][:3],
        mois=MOIS[month], day=DAYS[weekday], dy=DAYS[weekday][:3], jour=JOURS[weekday],
    )  # fmt: skip
    case = rng.choice(3, p=(0.7, 0.2, 0.1))
    return (text, text.lower(), text.upper())[case]


def distracted(day: date, rng: Generator, most: int = 6) -> str:
    """A written day among up to `most` clauses that hold other numbers."""
    clauses = []
    for _ in range(rng.integers(most + 1)):
        clauses.append(
            CLAUSES[rng.integers(len(CLAUSES))].format(
                n1=rng.integers(1, 32),
                n2=rng.integers(1, 100),
                n4=rng.integers(100, 10_000),
                two=rng.integers(10, 60),
                hour=f"{rng.integers(24):02}",
            )
        )
    where = rng.integers(len(clauses) + 1)
    clauses.insert(where, str(rng.choice(["", "on ", "due ", "dated "])) + written(day, rng))
    return ", ".join(clauses)


def calendar(rng: Generator) -> tuple[list[date], list[date], list[date]]:
    """The days of the century in three piles that share none: training, 2,000 for tuning, 2,000 for the test."""
    days = [FIRST + timedelta(days=int(i)) for i in rng.permutation(N_DAYS)]
    return days[: -2 * N_HELD], days[-2 * N_HELD : -N_HELD], days[-N_HELD:]


def exact(model: Seq2Seq, sources: list[list[int]], answers: list[str], vocabulary: Vocabulary) -> np.ndarray:
    """For each source, whether the model's own greedy answer is right in every character. Returns Booleans (n,)."""
    right = np.zeros(len(sources), dtype=bool)
    order = sorted(range(len(sources)), key=lambda i: len(sources[i]))
    device = next(model.parameters()).device
    for start in range(0, len(order), 250):
        chosen = order[start : start + 250]
        ids = model.greedy(pad([sources[i] for i in chosen]).to(device), n_steps=11)
        for i, row in zip(chosen, ids.tolist(), strict=True):
            right[i] = "".join(vocabulary.decode(row)) == answers[i]
    return right


ATTENTIONS: dict[str, type[Attention]] = {"additive": Additive, "multiplicative": Multiplicative, "fixed": Fixed}
"""The names that a configuration file may use for the classes."""


@dataclass(frozen=True)
class Options:
    """What `course train` may set."""

    attention: Literal["additive", "multiplicative", "fixed"] = "multiplicative"
    distractors: int = number(0, least=0)
    """The most clauses around a date; with 0 the date stands alone."""
    n_examples: int = number(100_000, least=1)
    d_embed: int = number(48, least=1)
    d_model: int = number(128, least=2)
    p_drop: float = number(0.0, least=0, most=1)


def build(options: Options, seed: int) -> Task:
    """Training strings, and the tuning days written once each; the test days are left for the notebook."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    train, tune, _ = calendar(rng)
    days = [train[i] for i in rng.integers(len(train), size=options.n_examples)]
    texts = [pieces(distracted(day, rng, options.distractors).lower()) for day in days]
    tune_texts = [pieces(distracted(day, rng, options.distractors).lower()) for day in tune]
    source, target = Vocabulary.of(texts), Vocabulary.of([list("0123456789-")])
    examples = Pairs([source.encode(t) for t in texts], [target.encode(day.isoformat()) for day in days])
    held, answers = [source.encode(t) for t in tune_texts], [day.isoformat() for day in tune]

    def evaluate(model: Any) -> dict[str, float]:
        right = exact(model, held, answers, target)
        longest = np.argsort([len(row) for row in held], kind="stable")[-len(held) // 4 :]
        return {"exact": float(right.mean()), "exact_longest_quarter": float(right[longest].mean())}

    attention = ATTENTIONS[options.attention]
    model = Seq2Seq(len(source), len(target), options.d_embed, options.d_model, attention, options.p_drop)
    return Task(model, examples, pair_loss, evaluate, watch="exact")
