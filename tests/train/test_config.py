"""Settings: every field is checked before anything starts, and the message says what would do."""

from dataclasses import dataclass

import pytest

from lib.train import ConfigError, TrainConfig, build


@dataclass(frozen=True)
class Options:
    widths: tuple[int, ...] = (8, 16)
    name: str = "small"
    bias: bool = True


def refused(cls, values, where="train"):
    with pytest.raises(ConfigError) as caught:
        build(cls, values, where)
    return str(caught.value)


def test_values_of_the_right_type_arrive_as_they_are():
    config = build(TrainConfig, {"steps": 10, "betas": [0.8, 0.9], "clip": None, "compile": True})
    assert (config.steps, config.betas, config.clip, config.compile) == (10, (0.8, 0.9), None, True)


def test_yaml_writes_1e_3_as_text_and_whole_numbers_for_numbers():
    config = build(TrainConfig, {"steps": 10, "lr": "1e-3", "weight_decay": 1, "clip": "2e0"})
    assert (config.lr, config.weight_decay, config.clip) == (1e-3, 1.0, 2.0)
    assert isinstance(config.weight_decay, float)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"step": 3}, "train.step is not a field. Did you mean steps?"),
        ({"steps": 3, "zebra": 3}, "train.zebra is not a field. Known: steps, batch"),
        ({}, "train.steps is missing"),
        ({"steps": 0}, "train.steps=0 is out of range: it must be at least 1"),
        ({"steps": 3, "lr": 0}, "train.lr=0.0 is out of range: it must be above 0"),
        ({"steps": 3, "lr_end": 1.5}, "at least 0 and at most 1"),
        ({"steps": 3, "lr": "nan"}, "train.lr=nan is not a finite number"),
        ({"steps": 3, "lr": "fast"}, "train.lr must be a number; found 'fast', which is str"),
        ({"steps": 3.0}, "train.steps must be a whole number; found 3.0, which is float"),
        ({"steps": True}, "train.steps must be a whole number; found True, which is bool"),
        ({"steps": 3, "compile": 1}, "train.compile must be true or false; found 1"),
        ({"steps": 3, "optimizer": "adam"}, "train.optimizer='adam' is not known. Did you mean adamw?"),
        ({"steps": 3, "betas": [0.9]}, "train.betas must have 2 values; found 1"),
        ({"steps": 3, "betas": 0.9}, "train.betas must be a list; found 0.9"),
        ({"steps": 3, "betas": [0.9, "x"]}, "train.betas[1] must be a number"),
        ({"steps": 3, "betas": [0.9, 1.5]}, "train.betas=1.5 is out of range: it must be at least 0 and below 1"),
        ({"steps": 3, "momentum": 1}, "below 1"),
        ({"steps": 3, "batch": 7, "accumulate": 2}, "choose a multiple of 2"),
        ({"steps": 3, "warmup": 4}, "warmup=4 is longer than the whole run of steps=3"),
        ([3], "train must be fields with values; found [3]"),
    ],
)
def test_what_cannot_be_used_is_said(values, said):
    assert said in refused(TrainConfig, values)


def test_a_list_of_any_length():
    assert build(Options, {"widths": [1, 2, 3]}).widths == (1, 2, 3)
    assert "options.widths[1] must be a whole number; found 'b'" in refused(Options, {"widths": [1, "b"]}, "options")
    assert build(Options, {}) == Options()
