"""The lists of modules in tools/dev/stages.py name modules that exist."""

import pytest

from tools.dev import stages


def test_modules_but_some_are_all_others():
    everything = set(stages.modules_but([]))
    some = set(stages.modules(["echo", "link"]))
    assert some < everything
    assert set(stages.modules_but(["echo", "link"])) == everything - some


def test_excluding_a_module_that_does_not_exist_fails():
    with pytest.raises(AssertionError, match="no_such_module"):
        stages.modules_but(["no_such_module"])


@pytest.mark.parametrize("names", [stages.NOT_UNDER_ASAN, stages.LEAK_MODULES, stages.THREADED_MODULES,
                                   stages.MINIMAL_MODULES])
def test_a_list_is_sorted_and_names_modules_that_exist(names):
    assert names == sorted(set(names))
    stages.modules_but(names)
