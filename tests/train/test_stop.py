"""Ctrl-C and SIGTERM: the step is finished and saved, and the run goes on from there to the same bits."""

import os
import signal
import threading
from dataclasses import replace

import pytest
import torch

from lib.train import Interrupted, fit
from tests.train import small

CONFIG = replace(small.CONFIG, steps=8, save_every=0, accumulate=1)


def interrupting(number, at, times=1):
    """The small task; with the batch of step `at` the process gets a signal."""
    task = small.task()
    batch, calls = task.train.batch, []

    def counted(indices, rng):
        calls.append(indices)
        if len(calls) == at:
            for _ in range(times):
                signal.raise_signal(number)
        return batch(indices, rng)

    task.train.batch = counted
    return task


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_step_is_finished_and_saved_and_the_run_can_go_on(number, tmp_path):
    whole = small.task()
    fit(whole, CONFIG, show="none")
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(Interrupted) as caught:
        fit(interrupting(number, at=3), CONFIG, tmp_path, show="none")
    assert isinstance(caught.value, KeyboardInterrupt)
    assert caught.value.step == 3 and caught.value.checkpoint == str(tmp_path / "step-00000003")
    assert str(caught.value) == f"Stopped after step 3 of 8. Saved in {tmp_path / 'step-00000003'}."
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    again = small.task()
    assert fit(again, CONFIG, tmp_path, resume=True, show="none").step == 8
    for a, b in zip(whole.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_second_ctrl_c_interrupts_at_once(tmp_path):
    before = signal.getsignal(signal.SIGINT)  # a job in the background ignores it
    with pytest.raises(KeyboardInterrupt) as caught:
        fit(interrupting(signal.SIGINT, at=3, times=2), CONFIG, tmp_path, show="none")
    assert not isinstance(caught.value, Interrupted) and not list(tmp_path.glob("step-*"))
    assert signal.getsignal(signal.SIGINT) is before


def test_in_the_last_step_there_is_nothing_left_to_interrupt(tmp_path):
    assert fit(interrupting(signal.SIGINT, at=8), CONFIG, tmp_path, show="none").step == 8


def test_without_a_folder_it_says_that_nothing_is_kept():
    with pytest.raises(Interrupted, match="Nothing is kept: the run has no folder") as caught:
        fit(interrupting(signal.SIGINT, at=2), CONFIG, show="none")
    assert caught.value.checkpoint == ""


def test_on_a_full_disk_it_says_that_it_could_not_be_saved(tmp_path, monkeypatch):
    from lib import files

    def full(*arguments):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(files, "write", full)
    with pytest.warns(UserWarning), pytest.raises(Interrupted, match=r"could not be saved\. The last checkpoint: none"):
        fit(interrupting(signal.SIGINT, at=2), CONFIG, tmp_path, show="none")


def test_in_another_thread_signals_are_left_alone():
    before, inside = signal.getsignal(signal.SIGINT), []
    task = small.task()
    batch = task.train.batch
    task.train.batch = lambda indices, rng: inside.append(signal.getsignal(signal.SIGINT)) or batch(indices, rng)
    thread = threading.Thread(target=fit, args=(task, CONFIG), kwargs={"show": "none"})
    thread.start()
    thread.join()
    assert len(inside) == 8 and set(inside) == {before}
