"""The compiled step: the plain step's ids, and its logits but for rounding; clear errors."""

from __future__ import annotations

import pytest
import torch
from torch._inductor import cpp_builder
from torch._inductor.exc import InvalidCxxCompiler

from lib.attention.backends import compiler_lacks
from lib.attention.decode import SlidingCache
from lib.heads import LM
from lib.sample import Compiled, RepetitionPenalty, beam_search, generate
from lib.spec import Spec, get
from lib.stack import Model, State
from tests.sample.twins import small

PROMPTS = [[1, 2, 3], [4], [0, 4]]
SIZES = {"n_vocab": 30, "n_positions": 40, "n_layers": 2, "n_heads": 4, "d_model": 16, "d_ff": 24, "head": LM}
SPECS = {"gpt2": get("gpt2").but(**SIZES), "llama": get("llama").but(**SIZES, n_groups=2)}

needs_compiler = pytest.mark.skipif(compiler_lacks() is not None, reason=f"nothing to compile with: {compiler_lacks()}")


def pair(spec: Spec) -> tuple[Model, Compiled]:
    model = small(spec, 5, 2)  # surer of its answers, so that they vary
    return model, Compiled(model, n_rows=3, size=30)


@needs_compiler
@pytest.mark.parametrize("name", SPECS)
def test_a_compiled_step_is_the_plain_step(name):
    model, fast = pair(SPECS[name])
    states = [each.start(3, 30) for each in (model, fast)]
    ids, lengths = torch.tensor([[1, 2, 3], [4, 0, 0], [0, 4, 0]]), [3, 1, 2]
    with torch.no_grad():
        for new, n in [(ids, lengths), *((ids[:, i : i + 1], None) for i in (0, 1, 2))]:
            plain, quick = (each.step(new, state, n) for each, state in zip((model, fast), states, strict=True))
            assert (plain[:, 0] - quick[:, 0]).abs().max() < 1e-10
        assert states[1].caches[0].n.tolist() == [6, 4, 5]

    free = generate(model, PROMPTS, 20)
    assert len({i for row in free for i in row}) > 3, "an answer of one id proves little"
    assert generate(fast, PROMPTS, 20) == free
    assert generate(fast, PROMPTS[:1], 20) == free[:1]  # fewer rows than it was compiled for
    how = {"stop": list(range(0, 30, 4)), "filters": [RepetitionPenalty(3.0)]}
    until = generate(model, PROMPTS, 20, **how)
    assert len(set(map(len, until))) > 1, "some row is to end before the others"
    assert generate(fast, PROMPTS, 20, **how) == until
    beams = [beam_search(each, PROMPTS[:1], 8, n_beams=3) for each in (model, fast)]
    assert [[one.ids for one in row] for row in beams[0]] == [[one.ids for one in row] for row in beams[1]]

    d_head, G = model.spec.d_head, model.spec.n_groups or model.spec.n_heads
    other = lambda n, size: State([SlidingCache(n, G, size, d_head, torch.float64) for _ in range(2)])  # noqa: E731
    assert generate(fast, PROMPTS, 20, start=other) == free  # the model's own way

    with pytest.raises(ValueError, match="compiled for 3 rows of 30 positions, not for 4 of 12: compile another"):
        generate(fast, [[1]] * 4, 12)
    with pytest.raises(ValueError, match="not for 1 of 40"):
        generate(fast, [[1]], 40)
    state = fast.start(1, 30)
    with torch.no_grad():
        fast.body.step(torch.zeros(1, 30, dtype=torch.long), state)
    with pytest.raises(ValueError, match="a row would hold 31 positions, but this step was compiled for 30"):
        fast.step(torch.tensor([[1]]), state)


def test_what_cannot_be_compiled_is_said(monkeypatch):
    model = small(SPECS["gpt2"], 3)
    with pytest.raises(ValueError, match="sizes are at least 1: n_rows=0"):
        Compiled(model, 0, 5)
    with pytest.raises(ValueError, match=r"training mode: call model.eval\(\)"):
        Compiled(small(SPECS["gpt2"], 3).train(), 1, 5)
    reads = get("transformer").but(n_vocab=11, n_layers=1, n_heads=2, d_model=8, d_ff=12)
    with pytest.raises(ValueError, match="with an encoder is not compiled"):
        Compiled(small(reads, 0), 1, 5)

    def none_here():
        raise InvalidCxxCompiler

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", none_here)
    with pytest.raises(ValueError, match=r"finds no C.. compiler .* take the model itself, which gives the same ids"):
        Compiled(model, 1, 5)
