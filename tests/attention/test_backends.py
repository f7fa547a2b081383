"""Which back end runs, what it says of the others, what is refused. That they agree: `verified.py`, and here."""

import importlib.util
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from lib.attention import backends, masks, scores
from lib.attention.backends import BACKENDS, Request, attention, explain
from lib.attention.core import Attention, attend
from lib.attention.decode import Cache
from lib.attention.masks import and_masks, causal, sliding_window
from lib.layers.pos import Rotary
from tests.attention.backend_twins import backend_error
from tests.attention.twins import normal, shaken

WITH_GRADIENT = ["sdpa", "flash", "reference"]


def heads(
    T: int = 5, S: int | None = None, H: int = 2, D: int = 4, dtype=torch.float32, device="cpu"
) -> list[torch.Tensor]:
    torch.manual_seed(0)
    S = T if S is None else S
    return [torch.randn(2, n, m, D, dtype=dtype, device=device) for n, m in ((H, T), (1, S), (1, S))]


def requested(mask=masks.full, score=scores.same, p_dropout=0.0, sinks=None, T: int = 5, **kind) -> Request:
    return Request(*heads(T, **kind), mask, score, None, p_dropout, sinks)


# --- they agree -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_triton_agrees(seed):
    """In the interpreter; every feature of the kernels: tests/attention/flash."""
    pytest.importorskip("triton", reason="triton is not installed: it exists for Linux")
    assert backend_error("triton", torch.float32, np.random.default_rng(seed)) < 1e-5


@pytest.mark.parametrize("backend", [*WITH_GRADIENT, "auto"])
def test_a_query_that_may_attend_to_nothing_gives_zeros(backend):
    """In the output and in its gradient, whatever the other queries do."""
    leaves = [x.requires_grad_() for x in heads()]
    y = attention(*leaves, masks.padding([0, 3]), backend=backend)
    (y + 1).square().sum().backward()
    assert not y[0].any() and y[1].all()
    assert all(not x.grad[0].any() and x.grad.isfinite().all() for x in leaves)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("backend", WITH_GRADIENT)
def test_half_precision(backend, dtype):
    """The dtype comes back, and the error is that of its rounding: of a few units of 2^-11 or 2^-8."""
    q, k, v = heads(dtype=dtype)
    y = attention(q, k, v, causal, scores.alibi(2), backend=backend)
    assert y.dtype == dtype
    expected = attend(q.double(), k.double(), v.double(), causal, scores.alibi(2))
    assert (y - expected).abs().max() <= 8 * torch.finfo(dtype).eps * v.abs().max()


@pytest.mark.parametrize("backend", WITH_GRADIENT)
def test_dropout_has_the_right_mean(backend):
    """Over many draws the answer is that without dropout, within five standard errors of 4,000; each call draws anew,
    from torch's generator."""
    q, k, v = (x.expand(4000, -1, -1, -1) for x in (normal(np.random.default_rng(n), 1, 1, 3, 4) for n in range(3)))
    torch.manual_seed(0)
    y = attention(q, k, v, causal, p_dropout=0.4, backend=backend)
    off = y.mean(0) - attention(q[:1], k[:1], v[:1], causal)[0]
    assert (off.abs() <= 5 * y.std(0) / 4000**0.5 + 1e-12).all()
    assert y.std(0).min() > 0.01
    assert not torch.equal(attention(q, k, v, causal, p_dropout=0.4, backend=backend), y)
    torch.manual_seed(0)
    assert torch.equal(attention(q, k, v, causal, p_dropout=0.4, backend=backend), y)


@pytest.mark.parametrize("backend", WITH_GRADIENT)
def test_in_the_slot_of_a_layer(backend):
    """Training with sinks, and decoding from a cache, where positions are not indices."""
    options = dict(mask=and_masks(causal, sliding_window(4)), score=scores.alibi(4), pos=Rotary(4))
    layers = [
        shaken(Attention(16, 4, 2, sinks=nn.Parameter(torch.zeros(4)), attend=one, **options), np.random.default_rng(0))
        for one in (attend, partial(attention, backend=backend))
    ]
    x, found = normal(np.random.default_rng(1), 2, 7, 16), []
    for layer in layers:
        cache = Cache(2, 2, 7, 4, dtype=torch.float64)
        with torch.no_grad():
            steps = [layer(part, cache=cache) for part in x.split((4, 1, 2), 1)]
        y = layer(x)
        torch.testing.assert_close(torch.cat(steps, 1), y, rtol=0, atol=1e-6)  # a Pattern's slopes are float32
        found.append((y, *torch.autograd.grad(y.square().sum(), layer.parameters())))
    assert len(found[0]) == 10  # with the gradient of the sinks
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-6)


def test_strides_do_not_matter():
    strided = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in heads(7, H=4)]
    assert not strided[0].is_contiguous()
    for backend in WITH_GRADIENT:
        expected = attend(*(x.contiguous() for x in strided), causal)
        torch.testing.assert_close(attention(*strided, causal, backend=backend), expected)


# --- tiles of a block mask --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_a_block_mask_from_intervals(seed):
    """It meets the tiles in which torch finds a pair, asking for every pair; and one at most where there is none."""
    rng = np.random.default_rng(seed)
    (T, S), n, B = rng.integers(1, 600, 2).tolist(), int(rng.integers(1, 300)), 2
    mask = (
        and_masks(causal, sliding_window(n)),
        sliding_window(n),
        and_masks(causal, masks.padding(torch.from_numpy(rng.integers(0, S + 1, B)))),
        masks.documents(torch.from_numpy(np.sort(rng.integers(0, 5, (B, T)), 1))),
    )[seed % 4]
    S = T if seed % 4 == 3 else S
    request = Request(torch.zeros(B, 1, T, 1), *[torch.zeros(B, 1, S, 1)] * 2, mask, scores.same, None, 0.0, None)
    assert request.interval is not None
    theirs = torch.zeros(B, 1, -(-T // 128) * 128, -(-S // 128) * 128, dtype=torch.bool)
    theirs[:, :, :T, :S] = masks.dense(mask, B, 1, T, S)
    theirs = theirs.unflatten(3, (-1, 128)).unflatten(2, (-1, 128)).any(-1).any(3)
    ours = request.block_mask.to_dense().bool().expand_as(theirs)
    assert not (theirs & ~ours).any()
    assert torch.equal(ours.sum(-1).clamp(min=1), theirs.sum(-1).clamp(min=1))


# --- which one, and why -----------------------------------------------------------------------------------------------

LONG = dict(T=4096, H=1, D=1)
LAYOUT = torch.eye(32, dtype=torch.bool)[None]


def on_a_gpu(monkeypatch, request: Request, capability: tuple[int, int]) -> Request:
    """The request as it would be, were its tensors on such a GPU."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    request.on_cpu, request.on_gpu = False, True
    return request


@pytest.fixture
def compiler(monkeypatch):
    monkeypatch.setattr(backends, "_compiler_lacks", lambda: None)


AUTO = {  # request -> the back end, and what is said of another
    "short": (lambda: requested(causal), "sdpa", "flex", "5 x 5"),
    "a long window": (lambda: requested(sliding_window(256), **LONG), "flex", "triton", "interpreted"),
    "without a pattern": (lambda: requested(masks.block_sparse(LAYOUT, 128), **LONG), "flex", "triton", "interp"),
    "long, nothing skipped": (lambda: requested(**LONG), "sdpa", "flex", "rules out 0% of the tiles"),
    "long, half skipped": (lambda: requested(causal, **LONG), "sdpa", "flex", "48%"),
    "long, a cap": (lambda: requested(score=scores.soft_cap(2.0), **LONG), "flex", "flex", "taken"),
    "a cap": (lambda: requested(score=scores.soft_cap(2.0)), "reference", "sdpa", "soft_cap may do more"),
    "a function": (lambda: requested(score=lambda s, b, h, q, k: s), "reference", "triton", "interpreted"),
    "dropout": (lambda: requested(sliding_window(256), p_dropout=0.1, **LONG), "sdpa", "flex", "no dropout"),
    "sinks": (lambda: requested(sliding_window(256), sinks=torch.zeros(1), **LONG), "sdpa", "flex", "no attention"),
    "float64": (lambda: requested(sliding_window(256), dtype=torch.float64, **LONG), "sdpa", "flex", "float32"),
    "learned": (lambda: requested(score=scores.T5Bias(2)), "sdpa", "flex", "2048 x 2048 and more"),
}  # fmt: skip


@pytest.fixture
def with_triton(monkeypatch):
    """Plans are made, and requests refused, without a look at Triton itself: so these tests run on any system."""
    monkeypatch.setattr(backends, "HAS_TRITON", True)


@pytest.mark.parametrize("name", AUTO)
def test_auto_on_a_cpu(name, compiler, with_triton):
    make, taken, other, reason = AUTO[name]
    plan = make().plan("auto")
    assert plan.backend == taken and reason in plan.reasons[other], plan


LEARNED = {
    "a module": scores.T5Bias(1),
    "its forward": scores.T5Bias(1).forward,
    "a part": scores.Compose(scores.alibi(1), scores.T5Bias(1)),
    "moved": scores.moved(scores.T5Bias(1), torch.arange(4096)[None], torch.arange(4096)[None]),
    "a function": lambda s, b, h, q, k: s * slope,
}
slope = torch.ones((), requires_grad=True)


@pytest.mark.parametrize("learns", ["q", "sinks", *LEARNED])
def test_a_gradient_on_a_cpu_is_not_for_flex(learns, compiler):
    score = LEARNED.get(learns, scores.same)
    q, k, v = heads(**LONG)
    sinks = torch.zeros(1).requires_grad_(learns == "sinks")
    if learns == "q":
        q.requires_grad_()
    call = partial(Request, q, k, v, sliding_window(256), score, None, 0.0, sinks if learns == "sinks" else None)
    assert call().wants_gradient and "flex" not in call().plan("auto").backend
    with torch.no_grad():
        assert not call().wants_gradient
        assert call().plan("auto").backend == ("sdpa" if learns == "sinks" else "flex")


def test_auto_on_a_gpu(monkeypatch, with_triton):
    window = and_masks(causal, sliding_window(256))
    plan = on_a_gpu(monkeypatch, requested(window, scores.alibi(2)), (9, 0)).plan("auto")
    assert (plan.backend, plan.reasons) == ("triton", {"triton": "taken"})
    plan = on_a_gpu(monkeypatch, requested(window), (7, 5)).plan("auto")
    assert plan.backend == "sdpa" and "capability 7.5; below 8.0" in plan.reasons["triton"]
    plan = on_a_gpu(monkeypatch, requested(masks.block_sparse(LAYOUT, 128), **LONG), (9, 0)).plan("auto")
    assert plan.backend == "flex" and "block_sparse" in plan.reasons["triton"]
    for kind, reason in ((dict(dtype=torch.float64), "not torch.float64"), (dict(D=257), "at most 256 wide, not 257")):
        plan = on_a_gpu(monkeypatch, requested(causal, **kind), (9, 0)).plan("auto")
        assert plan.backend == "sdpa" and reason in plan.reasons["triton"]


@pytest.mark.parametrize(("version", "serves"), [("3.3.1", False), ("3.4.0", True), ("3.7.1+git", True)])
def test_the_kernels_need_a_triton_that_is_new_enough(monkeypatch, version, serves):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "triton")
    monkeypatch.setattr("importlib.metadata.version", lambda name: version)
    assert backends.has_triton() is serves


def test_without_triton(monkeypatch):
    monkeypatch.setattr(backends, "HAS_TRITON", False)
    for request in (requested(causal), on_a_gpu(monkeypatch, requested(sliding_window(256), **LONG), (9, 0))):
        plan = request.plan("auto")
        assert plan.backend == "sdpa" and "not installed" in plan.reasons["triton"]
    assert "not installed" in plan.reasons["flex"]


def test_without_a_compiler(monkeypatch):
    """torch finds its compiler by a list of names: here one that nobody has."""
    import torch._inductor.config

    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    backends._compiler_lacks.cache_clear()
    try:
        with torch._inductor.config.patch({"cpp.cxx": ("no-such-compiler",)}):
            plan = requested(sliding_window(256), **LONG).plan("auto")
    finally:
        backends._compiler_lacks.cache_clear()
    assert plan.backend == "sdpa" and "no C++ compiler" in plan.reasons["flex"]


def test_without_avx(monkeypatch):
    backends._compiler_lacks.cache_clear()
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    try:
        assert "AVX2" in requested(**LONG).plan("auto").reasons["flex"]
    finally:
        backends._compiler_lacks.cache_clear()


def test_it_explains(capsys, compiler):
    q, k, v = heads()
    y = attention(q, k, v, causal, explain=True)
    said = capsys.readouterr().out
    assert [line.split()[0] for line in said.splitlines()] == ["triton", "flex", "sdpa"]
    assert said.splitlines()[-1].split() == ["sdpa", "taken"]
    assert said == f"{explain(q, k, v, causal)}\n"
    assert torch.equal(attention(q, k, v, causal), y) and not capsys.readouterr().out
    assert str(explain(q, k, v, backend="flash")).split() == ["flash", "taken:", "asked", "for"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_one_that_is_asked_for_runs(backend, monkeypatch):
    if backend == "triton":
        pytest.importorskip("triton", reason="triton is not installed: it exists for Linux")
    monkeypatch.setattr(backends, "_compiler_lacks", lambda: None)
    ran = []
    watched = {
        name: backends.Backend(lambda r, name=name: ran.append(name), one.lacks, one.passed_over)
        for name, one in BACKENDS.items()
    }
    monkeypatch.setattr(backends, "BACKENDS", watched)
    attention(*heads(), causal, backend=backend)
    assert ran == [backend]


@pytest.mark.parametrize("backend", ["auto", "sdpa", "flash"])
def test_inside_a_compiled_model(backend):
    """No break in the graph, for masks of numbers alone."""
    layer = Attention(
        8,
        2,
        mask=and_masks(causal, sliding_window(3)),
        score=scores.alibi(2),
        attend=partial(attention, backend=backend),
    )
    x = torch.randn(2, 6, 8)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), layer(x))


# --- bad input --------------------------------------------------------------------------------------------------------

Q, K, V = heads()
BAD = {
    "'gpu': take one of auto, triton, flex, sdpa, flash, reference": lambda: attention(Q, K, V, backend="gpu"),
    "p_dropout is a probability below 1, not 1": lambda: attention(Q, K, V, p_dropout=1),
    "4 axes, B H T D": lambda: attention(Q[0], K, V),
    "no axis may be empty": lambda: attention(Q[:, :, :0], K, V),
    "no axis may be empty.*k (2, 1, 0, 4)": lambda: attention(Q, K[:, :, :0], V[:, :, :0]),
    "no axis may be empty.*q (0, 2, 5, 4)": lambda: attention(Q[:0], K[:0], V[:0]),
    "heads of q must be a multiple": lambda: attention(Q[:, :1], K.expand(-1, 2, -1, -1), V.expand(-1, 2, -1, -1)),
    "dtypes differ.*k (.*torch.float16": lambda: attention(Q, K.half(), V),
    "floating-point numbers.*torch.int64": lambda: attention(Q.long(), K.long(), V.long()),
    "devices differ.*v (.* on meta": lambda: attention(Q, K, V.to("meta")),
    "sinks are 2 floating-point numbers.*sinks (3,)": lambda: attention(Q, K, V, sinks=torch.zeros(3)),
    "sinks are 2 floating-point numbers.*torch.int64": lambda: attention(Q, K, V, sinks=torch.zeros(2).long()),
    "devices differ.*sinks (2,) torch.float32 on meta": lambda: attention(Q, K, V, sinks=torch.zeros(2, device="meta")),
    "the mask was made for a smaller batch": lambda: attention(Q, K, V, masks.padding([3])),
    "flash cannot do this.*dilated.*backend='sdpa' can": lambda: attention(Q, K, V, masks.dilated(2), backend="flash"),
    "triton cannot do this.*T5Bias": lambda: attention(Q, K, V, score=scores.T5Bias(2), backend="triton"),
    "triton cannot do this.*not torch.float64": lambda: attention(Q.double(), K.double(), V.double(), backend="triton"),
    "soft_cap may do more. backend='reference' can": lambda: attention(
        Q, K, V, score=scores.soft_cap(2.0), backend="sdpa"
    ),
    "sdpa cannot do this.*Compose may do more": lambda: attention(
        Q, K, V, score=scores.Compose(scores.alibi(2), scores.soft_cap(2.0)), backend="sdpa"
    ),
    "flex cannot do this.*no backward": lambda: attention(Q.clone().requires_grad_(), K, V, backend="flex"),
    "flex cannot do this.*no dropout.*backend='sdpa' can": lambda: attention(Q, K, V, p_dropout=0.5, backend="flex"),
    "flex cannot do this.*on meta": lambda: attention(*(x.to("meta") for x in (Q, K, V)), backend="flex"),
    "triton cannot do this.*q is on meta": lambda: attention(*(x.to("meta") for x in (Q, K, V)), backend="triton"),
}  # fmt: skip


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_said(message, with_triton):
    with pytest.raises(ValueError) as error:
        BAD[message]()
    assert all(piece in str(error.value) for piece in message.split(".*")), str(error.value)


def test_triton_on_a_cpu_needs_its_interpreter(monkeypatch, with_triton):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(ValueError, match=r"need a CUDA device, and q is on cpu.*backend='sdpa' can"):
        attention(Q, K, V, causal, backend="triton")
