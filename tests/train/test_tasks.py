"""The tasks of the course: where a run is scored on what must not be chosen on, nothing is chosen."""

from dataclasses import replace

import pytest

from lib import data, recipe, tasks

LATER = ("bert-mini", "bert-mini-sst2")
"""They begin with what another command writes: test_bert.py."""
HELD = [name for name in recipe.names() if name not in LATER and hasattr(recipe.read(name).options, "held")]


@pytest.mark.parametrize("name", HELD)
def test_nothing_is_watched_on_the_test_split(name):
    plan = recipe.read(name)
    module = tasks.find(plan.task)
    if not data.available(module.NAME):
        pytest.skip(f"no source has {module.NAME}")
    choosing = "validation" if plan.task == "sentiment" else "tuning"
    last = "validation" if plan.task in ("mnist", "shakespeare") else "test"
    assert replace(plan, options=replace(plan.options, held=choosing)).make().watch
    assert not replace(plan, options=replace(plan.options, held=last)).make().watch
