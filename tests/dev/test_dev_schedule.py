"""Steps run when the steps that they need have ended and the budgets allow, and no step is lost."""

import threading

import pytest

from tools.dev.console import Failure
from tools.dev.schedule import Schedule, Step

SECONDS_MAX = 30


class Recorder:
    def __init__(self):
        self.rows = []

    def __call__(self, *row):
        self.rows.append(row)


@pytest.fixture
def record():
    return Recorder()


def run(steps, record, **limits):
    Schedule(steps, record, **({"processors": 2, "waiting": 4} | limits)).run()
    return {step.key: step.state for step in steps}


def test_a_step_begins_after_the_steps_that_it_needs(record):
    order = []
    steps = [Step("s", "last", lambda: order.append("last"), ("s: first", "s: second")),
             Step("s", "second", lambda: order.append("second"), ("s: first",)),
             Step("s", "first", lambda: order.append("first"))]
    assert set(run(steps, record).values()) == {"done"}
    assert order == ["first", "second", "last"]


def test_tests_run_beside_a_build(record):
    together = threading.Barrier(2)
    steps = [Step("s", "build", lambda: together.wait(SECONDS_MAX) and None, cpu=2),
             Step("s", "tests", lambda: together.wait(SECONDS_MAX) and None, waiting=4)]
    assert set(run(steps, record).values()) == {"done"}
    assert not record.rows


@pytest.mark.parametrize("what, size", [("cpu", 2), ("cpu", 9), ("waiting", 3), ("waiting", 9)])
def test_steps_that_exceed_a_budget_together_run_one_after_the_other(record, what, size):
    inside, most = [], []

    def body():
        inside.append(1)
        most.append(len(inside))
        inside.pop()
    steps = [Step("s", str(number), body, **{what: size}) for number in range(5)]
    assert set(run(steps, record).values()) == {"done"}
    assert max(most) == 1


def test_steps_that_need_a_failed_step_are_left_out_with_the_reason(record):
    def broken():
        raise Failure("the mirror is not there")
    steps = [Step("s", "a", broken), Step("s", "b", lambda: None, ("s: a",)),
             Step("s", "c", lambda: None, ("s: b",)), Step("s", "d", lambda: None)]
    assert run(steps, record) == {"s: a": "failed", "s: b": "left", "s: c": "left", "s: d": "done"}
    assert record.rows == [("failed", "s", "a", "the mirror is not there"),
                           ("skipped", "s", "b", "it needs 's: a'"),
                           ("skipped", "s", "c", "it needs 's: b'")]


def test_a_step_that_raises_is_a_failed_test(record, capsys):
    def broken():
        raise ZeroDivisionError("of nothing")
    assert run([Step("s", "a", broken)], record) == {"s: a": "failed"}
    assert record.rows == [("failed", "s", "a", "the step raised an exception")]
    assert "ZeroDivisionError: of nothing" in capsys.readouterr().out


def test_a_step_that_returns_false_has_recorded_why_itself(record):
    assert run([Step("s", "a", lambda: False)], record) == {"s: a": "failed"}
    assert not record.rows


def test_a_large_build_is_not_starved_by_small_ones(record):
    order = []
    steps = [Step("s", "small 1", lambda: order.append("small 1"), cpu=1),
             Step("s", "large", lambda: order.append("large"), cpu=2),
             Step("s", "small 2", lambda: order.append("small 2"), cpu=1)]
    run(steps, record)
    assert order.index("large") < order.index("small 2")


def test_needing_an_unknown_step_fails_an_assertion(record):
    with pytest.raises(AssertionError, match="no step has that key"):
        Schedule([Step("s", "a", lambda: None, ("s: z",))], record)


def test_the_output_of_two_steps_does_not_mix(record, capsys):
    from tools.dev.console import say
    together = threading.Barrier(2)

    def body(name):
        for _ in range(3):
            together.wait(SECONDS_MAX)
            say(name)
    run([Step("s", name, lambda name=name: body(name)) for name in ("one", "two")], record)
    lines = [line for line in capsys.readouterr().out.splitlines() if line in ("one", "two")]
    assert lines in (["one"] * 3 + ["two"] * 3, ["two"] * 3 + ["one"] * 3)
