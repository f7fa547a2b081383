import pytest
import torch


@pytest.fixture
def traced(monkeypatch):
    """`torch.compile` without code generation, which takes seconds; the list of what it was given."""
    given, compile = [], torch.compile

    def trace(model, **settings):
        given.append(model)
        return compile(model, **settings | {"backend": "eager"})

    monkeypatch.setattr(torch, "compile", trace)
    return given
