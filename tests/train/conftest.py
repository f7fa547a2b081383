import pytest
import torch


@pytest.fixture
def traced(monkeypatch):
    """`torch.compile` without code generation, which takes seconds; the list of the graphs it traces."""
    graphs, compile = [], torch.compile

    def keep(graph, inputs):
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", lambda model, **settings: compile(model, **settings | {"backend": keep}))
    return graphs
