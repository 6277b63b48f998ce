"""The budget is scaled by the machine, and exceeded only by half as much again."""

from tools.dev import budget


def test_up_to_half_as_much_again_is_within_it():
    assert budget.verdict(budget.TEST_CPU_SECONDS * 1.5, 1.0)[0]
    assert not budget.verdict(budget.TEST_CPU_SECONDS * 1.5 + 1, 1.0)[0]


def test_a_slower_machine_has_more():
    good, text = budget.verdict(budget.TEST_CPU_SECONDS * 2, 2.0)
    assert good and "2.0 times" in text
    assert not budget.verdict(budget.TEST_CPU_SECONDS * 3 + 1, 2.0)[0]


def test_a_faster_machine_has_no_less():
    assert budget.slowness() >= 1.0
