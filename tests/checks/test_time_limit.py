"""Loops without end are stopped; a real Ctrl-C is not mistaken for that."""

import signal
import subprocess
import sys
import textwrap
import threading
import time

import nbformat
import pytest
from nbclient import NotebookClient

from lib.checks import Case, Exercise
from lib.checks.core import diagnose
from lib.checks.run import Stopped, time_limit

EXERCISE = Exercise(
    "99.2", "Stop", reference=lambda x: x, cases=[Case("one", 1), Case("two", 2)], hints=("a", "b", "c"), seconds=0.4
)


def spins(x):
    while True:
        pass


def sleeps(x):
    time.sleep(30)


def swallows(x):
    while True:
        try:
            x += 1
        except Exception:
            pass


def swallows_around_a_call(x):
    while True:
        try:
            x = abs(x)
        except Exception:
            pass


def swallows_all(x):
    while True:
        try:
            time.sleep(0.01)
        except:  # noqa: E722
            pass


def prints(x):
    while True:
        print("again and again")


def spins_on_the_second_case(x):
    while x == 2:
        pass
    return x


NEEDS_3_11 = pytest.mark.skipif(
    sys.version_info < (3, 11),
    reason="missing: Python 3.11. In a loop that is a `try` without a call, 3.10 handles no signal, not even Ctrl-C",
)


@pytest.mark.parametrize(
    "answer",
    [
        spins,
        sleeps,
        pytest.param(swallows, marks=NEEDS_3_11),
        swallows_around_a_call,
        swallows_all,
        prints,
        spins_on_the_second_case,
    ],
)
def test_a_loop_without_end_is_stopped(answer):
    begun = time.perf_counter()
    result = diagnose(EXERCISE, answer, 1)
    assert time.perf_counter() - begun < 3
    assert result.kind == "endless" and "stopped after 0.4 s" in repr(result)
    assert f"case      {'two' if answer is spins_on_the_second_case else 'one'}" in repr(result)


def test_the_limit_is_for_all_cases_together():
    def slow(x):
        time.sleep(0.3)
        return x

    assert diagnose(EXERCISE, slow, 1).kind == "endless"


def test_a_loop_in_another_thread_is_stopped():
    results = []
    thread = threading.Thread(target=lambda: results.append(diagnose(EXERCISE, spins, 1)))
    thread.start()
    thread.join(5)
    assert results and results[0].kind == "endless"


def test_what_ends_in_time_is_left_alone_and_the_handler_is_put_back():
    before = signal.getsignal(signal.SIGINT)
    for _ in range(20):
        with time_limit(0.02):
            pass
    time.sleep(0.1)
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(Stopped), time_limit(0.05):
        time.sleep(5)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("ignored", [False, True], ids=["", "in the background"])
def test_a_shell_that_ignores_ctrl_c_makes_no_difference(ignored):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.default_int_handler)
    try:
        assert diagnose(EXERCISE, spins, 1).kind == "endless"
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_real_ctrl_c_goes_through():
    timer = threading.Timer(0.1, lambda: signal.raise_signal(signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            diagnose(EXERCISE, spins, 1)
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_in_a_program_ends_it_as_usual():
    code = """
        import signal, threading
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
        from lib.checks import Case, Exercise, check
        e = Exercise("99.2", "Stop", reference=lambda x: x, cases=[Case("one", 1)], hints=("a", "b", "c"))
        threading.Timer(0.3, lambda: signal.raise_signal(signal.SIGINT)).start()
        def spins(x):
            while True: pass
        check(e, spins)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=9)
    assert "KeyboardInterrupt" in done.stderr


def test_in_a_notebook_the_loop_is_stopped_and_the_kernel_goes_on(tmp_path):
    cells = [
        "from lib.checks import Case, Exercise, check\n"
        'e = Exercise("99.2", "Stop", reference=abs, cases=[Case("one", 1)], hints=("a", "b", "c"), seconds=0.5)\n'
        "def spins(x):\n    while True:\n        pass",
        "check(e, spins)",
        "def wrong(x):\n    return undefined + x\ncheck(e, wrong)",
        "6 * 7",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    NotebookClient(
        notebook, timeout=60, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    stopped, wrong, after = (cell.outputs[0].data for cell in notebook.cells[1:])
    assert "stopped after 0.5 s" in stopped["text/plain"] and "<strong>✗ 99.2 Stop" in stopped["text/html"]
    assert "at line 2: return undefined + x" in wrong["text/plain"]
    assert after["text/plain"] == "42"
