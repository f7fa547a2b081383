"""Checks of 43_mini_gpt on counting: parameters, and the time that training takes."""

from __future__ import annotations

from numpy.random import Generator

from lib.checks import Case, Exercise, Misconception

LESSON = "of 43_mini_gpt"

# 43.6 ----------------------------------------------------------------------------------------------------------------


def n_parameters(n_vocab: int, n_positions: int, d_model: int, d_ff: int, n_layers: int) -> int:
    look = 4 * (d_model * d_model + d_model)
    feed = d_model * d_ff + d_ff + d_ff * d_model + d_model
    norm = 2 * d_model
    return (n_vocab + n_positions) * d_model + n_layers * (look + feed + 2 * norm) + norm


def _n_by_parts(n_vocab, n_positions, d_model, d_ff, n_layers):
    total = n_vocab * d_model + n_positions * d_model
    for _ in range(n_layers):
        for rows, columns in ((d_model, d_model),) * 4 + ((d_model, d_ff), (d_ff, d_model)):
            total += rows * columns + columns
        total += 4 * d_model
    return total + 2 * d_model


def _table_twice(n_vocab, n_positions, d_model, d_ff, n_layers):
    return n_parameters(n_vocab, n_positions, d_model, d_ff, n_layers) + n_vocab * d_model


def _no_positions(n_vocab, n_positions, d_model, d_ff, n_layers):
    return n_parameters(n_vocab, 0, d_model, d_ff, n_layers)


def _no_biases(n_vocab, n_positions, d_model, d_ff, n_layers):
    return n_parameters(n_vocab, n_positions, d_model, d_ff, n_layers) - n_layers * (5 * d_model + d_ff)


def _no_last_norm(n_vocab, n_positions, d_model, d_ff, n_layers):
    return n_parameters(n_vocab, n_positions, d_model, d_ff, n_layers) - 2 * d_model


def _norms_without_shift(n_vocab, n_positions, d_model, d_ff, n_layers):
    return n_parameters(n_vocab, n_positions, d_model, d_ff, n_layers) - (2 * n_layers + 1) * d_model


def _one_norm_a_block(n_vocab, n_positions, d_model, d_ff, n_layers):
    return n_parameters(n_vocab, n_positions, d_model, d_ff, n_layers) - n_layers * 2 * d_model


def _no_out(n_vocab, n_positions, d_model, d_ff, n_layers):
    return n_parameters(n_vocab, n_positions, d_model, d_ff, n_layers) - n_layers * (d_model * d_model + d_model)


def _always_four_times(n_vocab, n_positions, d_model, d_ff, n_layers):
    return n_parameters(n_vocab, n_positions, d_model, 4 * d_model, n_layers)


def _no_norms(n_vocab, n_positions, d_model, d_ff, n_layers):
    return n_parameters(n_vocab, n_positions, d_model, d_ff, n_layers) - (2 * n_layers + 1) * 2 * d_model


def _sizes_case(rng: Generator) -> tuple:
    return tuple(int(rng.integers(low, high)) for low, high in ((20, 90), (5, 70), (4, 40), (50, 99), (2, 6)))


# 43.7 ----------------------------------------------------------------------------------------------------------------


def hours(n_parameters: float, n_tokens: float, peak: float, share: float) -> float:
    return 6 * n_parameters * n_tokens / (peak * share) / 3600


def _hours_in_parts(n_parameters, n_tokens, peak, share):
    forward = 2 * n_parameters
    seconds = (forward + 2 * forward) * n_tokens / peak / share
    return seconds / 60 / 60


def _forward_alone(n_parameters, n_tokens, peak, share):
    return hours(n_parameters, n_tokens, peak, share) / 3


def _backward_like_forward(n_parameters, n_tokens, peak, share):
    return hours(n_parameters, n_tokens, peak, share) * 4 / 6


def _additions_forgotten(n_parameters, n_tokens, peak, share):
    return hours(n_parameters, n_tokens, peak, share) / 2


def _at_full_speed(n_parameters, n_tokens, peak, share):
    return 6 * n_parameters * n_tokens / peak / 3600


def _faster_than_the_peak(n_parameters, n_tokens, peak, share):
    return 6 * n_parameters * n_tokens / peak * share / 3600


def _seconds(n_parameters, n_tokens, peak, share):
    return hours(n_parameters, n_tokens, peak, share) * 3600


def _minutes(n_parameters, n_tokens, peak, share):
    return hours(n_parameters, n_tokens, peak, share) * 60


def _hours_case(rng: Generator) -> tuple:
    return tuple(float(x) for x in (*10 ** rng.uniform((6, 8, 10), (9, 11, 14)), rng.uniform(0.2, 0.7)))


EXERCISES = [
    Exercise(
        "43.6",
        "How many parameters",
        minutes=12,
        difficulty=1,
        reference=n_parameters,
        cases=[_sizes_case, Case("GPT-2, small", 50_257, 1024, 768, 3072, 12)],
        misconceptions=[
            Misconception(
                "counts the tied table twice",
                _table_twice,
                why="One table turns ids into vectors and vectors into logits. It is learned once and stored once.",
                look=f"Section 4 {LESSON}, 'Counting by hand'",
            ),
            Misconception(
                "forgets the table of positions",
                _no_positions,
                why="GPT-2 learns a vector for each position: n_positions rows of d_model numbers.",
                look=f"Section 4 {LESSON}, 'Counting by hand'",
            ),
            Misconception(
                "forgets the biases",
                _no_biases,
                why="Every linear layer has one, as wide as its output.",
                look=f"Section 4 {LESSON}, 'Counting by hand'",
            ),
            Misconception(
                "forgets the norm behind the last block",
                _no_last_norm,
                why="In pre-norm nobody norms the stream itself, so one norm stands behind the last block.",
                look="Section 3 of 42_transformer, 'Before or after?'",
            ),
            Misconception(
                "forgets the shifts of the norms",
                _norms_without_shift,
                why="A layer norm learns a scale and a shift, d_model numbers each.",
                look="Section 3 of 42_transformer, 'The residual stream'",
            ),
            Misconception(
                "gives each block one norm",
                _one_norm_a_block,
                why="Attention and feed-forward each have one in front.",
                look="Section 3 of 42_transformer, 'The block'",
            ),
            Misconception(
                "forgets the last matrix of attention",
                _no_out,
                why="Queries, keys, values *and* the projection of the heads' answers: four matrices.",
                look=f"Section 4 {LESSON}, 'Counting by hand'",
            ),
            Misconception(
                "takes the feed-forward layer to be four times as wide as the model",
                _always_four_times,
                why="It usually is, but d_ff says how wide: count with that.",
                look="Section 3 of 42_transformer, 'Feed-forward: each position by itself'",
            ),
            Misconception(
                "forgets the norms",
                _no_norms,
                why="Two for each block and one at the end, with 2 d_model numbers each.",
                look=f"Section 4 {LESSON}, 'Counting by hand'",
            ),
        ],
        hints=(
            "Count one attention layer, one feed-forward layer, one norm. How many of each are there?",
            "Attention: 4 (C C + C). Feed-forward: C F + F + F C + C. A norm: 2 C. Tables: V C and T C.",
            "(n_vocab + n_positions) * d_model + n_layers * (look + feed + 2 * norm) + norm",
        ),
        alternatives=[_n_by_parts],
    ),
    Exercise(
        "43.7",
        "How long will it take",
        minutes=8,
        difficulty=1,
        reference=hours,
        cases=[_hours_case, Case("GPT-2 on ten billion tokens", 1.24e8, 1e10, 1e14, 0.4)],
        misconceptions=[
            Misconception(
                "counts the way forward alone",
                _forward_alone,
                why="2 N D is what reading costs. Learning needs the way back too, which costs twice as much.",
                look=f"Section 4 {LESSON}, 'What a step costs'",
            ),
            Misconception(
                "takes the way back to cost as much as the way forward",
                _backward_like_forward,
                why="Each matrix takes part in two products on the way back: for the gradient of its input, and for "
                "its own.",
                look=f"Section 4 {LESSON}, 'What a step costs'",
            ),
            Misconception(
                "counts multiplications alone",
                _additions_forgotten,
                why="A product of matrices has an addition for each multiplication, and a machine's peak counts both.",
                look=f"Section 4 {LESSON}, 'What a step costs'",
            ),
            Misconception(
                "believes in the peak",
                _at_full_speed,
                why="A machine reaches only a share of its peak; divide by that too.",
                look=f"Section 4 {LESSON}, 'What a step costs'",
            ),
            Misconception(
                "gets faster the less of the peak is reached",
                _faster_than_the_peak,
                why="The real speed is peak * share, and the time is operations over speed.",
                look=f"Section 4 {LESSON}, 'What a step costs'",
            ),
            Misconception(
                "answers in seconds",
                _seconds,
                why="Asked for are hours.",
                look=f"Section 4 {LESSON}, 'What a step costs'",
            ),
            Misconception(
                "answers in minutes",
                _minutes,
                why="An hour has 3,600 seconds.",
                look=f"Section 4 {LESSON}, 'What a step costs'",
            ),
        ],
        hints=(
            "First the operations, then the speed, then the time.",
            "6 N D operations; the speed is peak * share operations a second.",
            "6 * n_parameters * n_tokens / (peak * share) / 3600",
        ),
        alternatives=[_hours_in_parts],
    ),
]
