"""The budget is scaled by the speed of the machine; a run may exceed it by half."""

from tools.dev import budget


def test_a_run_may_exceed_the_budget_by_half():
    assert budget.verdict(budget.TEST_CPU_SECONDS * 1.5, 1.0)[0]
    assert not budget.verdict(budget.TEST_CPU_SECONDS * 1.5 + 1, 1.0)[0]


def test_a_slower_machine_has_a_larger_budget():
    good, text = budget.verdict(budget.TEST_CPU_SECONDS * 2, 2.0)
    assert good and "2.0 times" in text
    assert not budget.verdict(budget.TEST_CPU_SECONDS * 3 + 1, 2.0)[0]


def test_a_faster_machine_has_no_smaller_budget():
    assert budget.slowness() >= 1.0
