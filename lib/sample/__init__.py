"""Decoding: from a model's distributions to text.

    generate(model, prompts, 100)                                                   the likeliest token every time
    generate(model, prompts, 100, filters=[Temperature(0.8), TopP(0.95)], pick=Draw(seed=0))
    for step in stream(model, prompts, 100): ...                                    the same, step by step
    beam_search(model, prompts, 100, n_beams=4, length_penalty=1.0)                 the likeliest whole answers
    contrastive_search(model, prompts, 100, k=4, alpha=0.6)                         likely, but unlike what is there
    speculate(model, draft, prompts, 100, pick=Draw(seed=0))                        as generate, in fewer calls
    generate(Compiled(model, n_rows=1, size=512), [prompt], 100)                    as generate, in faster steps

    filters.py       what is done to logits: temperature, top-k, top-p, min-p, typical, repetition penalty
    generate.py      greedy or drawn, as a whole or as a stream
    beam.py, contrastive.py, speculative.py
    compiled.py      a model whose step is one piece of machine code
    run.py           prompts, stops, feeding a model

`model` is a `lib.stack.Model` with `start` and `step`, in evaluation mode. prompts: ids, one row for each; the rows may
be of different lengths.
"""

from lib.sample.beam import Hypothesis, beam_search
from lib.sample.compiled import Compiled
from lib.sample.contrastive import contrastive_search
from lib.sample.filters import Filter, MinP, RepetitionPenalty, Temperature, TopK, TopP, Typical, apply
from lib.sample.generate import Draw, Greedy, Pick, generate, pieces, stream
from lib.sample.speculative import Speculated, speculate

__all__ = [
    "Compiled",
    "Draw",
    "Filter",
    "Greedy",
    "Hypothesis",
    "MinP",
    "Pick",
    "RepetitionPenalty",
    "Speculated",
    "Temperature",
    "TopK",
    "TopP",
    "Typical",
    "apply",
    "beam_search",
    "contrastive_search",
    "generate",
    "pieces",
    "speculate",
    "stream",
]
