"""course::flash: what torch asks of an operator, its gradients, and that a compiled graph keeps it whole."""

import pytest
import torch

from lib.attention import masks, scores
from lib.attention.core import attend
from lib.attention.ops import flash
from lib.attention.pattern import Pattern

WORKS = {"plain torch": False, "Triton": True}
LENGTHS = torch.tensor([5, 0], dtype=torch.int32)
DOCUMENTS = torch.tensor([[0, 0, 1, 1, 1, 2, 2], [0, 1, 1, 1, 1, 1, 1]], dtype=torch.int32)
PATTERNS = {
    "everything": Pattern(),
    "a causal window": Pattern(left=2, right=0),
    "lengths, cap, slopes": Pattern(lengths=LENGTHS, cap=1.5, slopes=torch.tensor([0.5, 0.25])),
    "documents": Pattern(right=0, documents=DOCUMENTS),
}


def heads(T: int = 7, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    """q, k and v of 2 heads and 1, of widths 8 and 6, q and v not contiguous."""
    torch.manual_seed(T)
    q, k, v = (torch.randn(2, *shape, dtype=dtype) for shape in ((T, 2, 8), (1, T, 8), (T, 1, 6)))
    return [x.requires_grad_() for x in (q.transpose(1, 2), k, v.transpose(1, 2))]


@pytest.fixture(params=WORKS, ids=lambda name: name.replace(" ", "-"))
def triton(request):
    if WORKS[request.param]:
        pytest.importorskip("triton", reason="triton is not installed: it exists for Linux")
    return WORKS[request.param]


CALLS = {  # pattern, sinks and dropout too?, Triton?
    "plain torch, everything": ("everything", False, False),
    "plain torch, a causal window, more": ("a causal window", True, False),
    "plain torch, lengths, cap, slopes": ("lengths, cap, slopes", False, False),
    "plain torch, documents, more": ("documents", True, False),
    "Triton, documents, more": ("documents", True, True),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_torch_asks_of_an_operator(name):
    """opcheck: the schema tells the truth, the fake has the right shapes and strides, autograd is registered, and a
    traced graph with symbolic shapes gives the same output and gradients."""
    pattern, more, triton = CALLS[name]
    if triton:
        pytest.importorskip("triton", reason="triton is not installed: it exists for Linux")
    sinks = torch.randn(2, requires_grad=True) if more else None
    seed = torch.tensor(3) if more else None
    options = (*vars(PATTERNS[pattern]).values(), sinks, seed, 0.3, 0.5 if more else 0.0, triton)
    inputs = heads(dtype=torch.float32 if triton else torch.float16)  # lse is of float32 whatever they are
    torch.library.opcheck(torch.ops.course.flash.default, (*inputs, *options))
    with torch.no_grad():
        y, lse = torch.ops.course.flash(*inputs, *options)
        dlse = torch.randn_like(lse) if more else None
        inputs = [torch.randn_like(y), dlse, *(x.detach() for x in inputs), y, lse, *options]
        torch.library.opcheck(torch.ops.course.flash_backward.default, tuple(inputs))


def test_gradients_are_those_of_differences():
    """Of y and of lse, by q, k, v and the sinks."""
    leaves = [*heads(5, torch.float64), torch.randn(2, dtype=torch.float64, requires_grad=True)]
    slopes = torch.tensor([0.5, 0.25])

    def run(q, k, v, sinks):
        return flash(q, k, v, Pattern(left=2, right=0, cap=1.5, slopes=slopes), scale=0.3, sinks=sinks, triton=False)

    assert torch.autograd.gradcheck(run, leaves)


def test_either_output_alone_has_its_gradient(triton):
    """Of lse too, the logarithm of a sum: its gradient by q is the weighted mean of the keys, times the scale."""
    q, k, v = heads()
    y, lse = flash(q, k, v, Pattern(right=0), scale=0.3, triton=triton)
    mean = attend(q, k, k, masks.causal, scale=0.3)
    torch.testing.assert_close(torch.autograd.grad(lse.sum(), q, retain_graph=True)[0], 0.3 * mean)
    both = torch.autograd.grad(y.sum() + lse.sum(), q, retain_graph=True)[0]
    torch.testing.assert_close(both - torch.autograd.grad(y.sum(), q, retain_graph=True)[0], 0.3 * mean)


def test_a_gradient_without_strides(triton):
    """What `sum` sends back is one number, read again and again: strides of 0."""
    found = []
    for one in (lambda x: x.sum(), lambda x: (x * torch.ones_like(x)).sum()):
        q, k, v = heads()
        y, _ = flash(q, k, v, Pattern(right=0), scale=0.3, triton=triton)
        found.append(torch.autograd.grad(one(y), (q, k, v)))
    torch.testing.assert_close(*found)


def test_no_second_derivative():
    q, k, v = heads()
    y, _ = flash(q, k, v, Pattern(), scale=0.3, triton=False)
    (dq,) = torch.autograd.grad(y.square().sum(), q, create_graph=True)
    with pytest.raises(RuntimeError, match="flash_backward"):
        dq.sum().backward()


def test_a_compiled_graph_keeps_it_and_takes_any_length(triton):
    """One graph without a break for all lengths; dropout draws anew at each call, and its backward the same again."""
    graphs = []

    def keep(graph, inputs):
        graphs.append(graph)
        return torch._dynamo.lookup_backend("aot_eager")(graph, inputs)

    def run(q, k, v, sinks):
        seed = torch.randint(2**62, ())
        return flash(
            q, k, v, Pattern(left=3, right=0), scale=0.3, p_dropout=0.5, seed=seed, sinks=sinks, triton=triton
        )[0]

    compiled = torch.compile(run, fullgraph=True, dynamic=True, backend=keep)
    for T in (9, 20):
        q, k, v = heads(T)
        sinks = torch.randn(2, requires_grad=True)
        found = []
        for f in (compiled, run):
            torch.manual_seed(1)
            found.append([y := f(q, k, v, sinks), *torch.autograd.grad(y.square().sum(), (q, k, v, sinks))])
        torch.testing.assert_close(*found)
        assert not torch.equal(compiled(q, k, v, sinks), found[0][0])
    assert len(graphs) == 1
    assert [str(node.target) for node in graphs[0].graph.nodes].count("course.flash") == 1


def test_only_the_length_that_is_marked_is_a_symbol():
    """mark_dynamic refuses a graph that was specialised to the length."""
    run = torch.compile(
        lambda q, k, v: flash(q, k, v, Pattern(right=0), scale=0.3, triton=False)[0],
        backend="aot_eager",
        fullgraph=True,
    )
    with torch._dynamo.config.patch(error_on_recompile=True):
        for T in (9, 6, 20):
            q, k, v = (x.detach() for x in heads(T))
            for x in (q, k, v):
                torch._dynamo.mark_dynamic(x, 2)
            torch.testing.assert_close(run(q, k, v), attend(q, k, v, masks.causal, scores.same, 0.3))


def test_bad_input_is_said_by_what_runs():
    q, k, v = heads()
    with pytest.raises(ValueError, match="each key needs one value"):
        flash(q, k, v[:, :, :3], Pattern(), scale=0.3, triton=False)
