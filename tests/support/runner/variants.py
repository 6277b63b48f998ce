"""The collected tests and their order: a class of a module marked `backends` is collected once for each
backend (`Stream[io_uring]`), and with --repeat each class N times (`Stream[io_uring-2]`).

A variant is a subclass with the attribute `backend`, which the module gets under that name. These names are
also accepted in a test's address on the command line, which pytest alone would not understand.
"""

import os
import re
import unittest

import pytest

VARIANT = r"\[.*?\]"


def add_options(group):
    group.addoption("--repeat", metavar="N", type=int, default=1, help="run each test N times")
    group.addoption("--only-these", action="append", default=[], help="for the runner's own use")


def configure(config):
    take_addresses(config)
    config.pluginmanager.register(Variants(config), "riposte-variants")


def take_addresses(config):
    """Changes FILE::Class[variant]::test to FILE::Class::test, and turns the address into a condition."""
    for index, argument in enumerate(config.args):
        path, found, rest = argument.partition("::")
        if found and "[" in rest:
            path_here = os.path.abspath(os.path.join(config.invocation_params.dir, path))
            relative = os.path.relpath(path_here, config.rootpath)
            config.option.only_these.append(f"{relative}::{rest}")
            config.args[index] = f"{path}::{re.sub(VARIANT, '', rest)}"


class NoTest(pytest.Item):
    """Stands for a module without tests, which is an error."""

    def runtest(self):
        pytest.fail("there is no test in this module", pytrace=False)


class Variants:
    def __init__(self, config):
        self.config = config
        self.modules = []

    def labels(self, node):
        """(label, attributes) of each variant; one without label is the class itself."""
        knows_backends = hasattr(node.obj, "backend")  # this access also makes the node read the class's own marks
        mark = node.get_closest_marker("backends")
        backends = [None]
        if mark and knows_backends:
            backends = [name for name in self.config.build_backends
                        if not mark.args or name in mark.args]
        for number in range(1, self.config.option.repeat + 1):
            for backend in backends:
                words = ([backend] if backend else []) + ([str(number)] if number > 1 else [])
                yield "-".join(words), {"backend": backend} if backend else {}

    @pytest.hookimpl(hookwrapper=True)
    def pytest_pycollect_makeitem(self, collector, name, obj):
        outcome = yield
        node = outcome.get_result()
        if isinstance(node, pytest.Class) and issubclass(obj, unittest.TestCase):
            outcome.force_result([self.variant(node, *each) for each in self.labels(node)])

    @staticmethod
    def variant(node, label, attributes):
        if not label:
            return node
        name = f"{node.name}[{label}]"
        own = {"__module__": node.obj.__module__, "__doc__": node.obj.__doc__, **attributes}
        setattr(node.parent.obj, name, type(node.name, (node.obj,), own))
        return type(node).from_parent(node.parent, name=name)

    def pytest_collectreport(self, report):
        self.modules += [node for node in report.result or () if isinstance(node, pytest.Module)]

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items):
        there = {item.getparent(pytest.Module) for item in items}
        imported = [module for module in self.modules if getattr(module, "_obj", None)]
        items += [NoTest.from_parent(module, name="no test") for module in imported
                  if module not in there]
        chosen = self.config.option.only_these
        if chosen:
            left_out = [item for item in items if not any(
                item.nodeid == each or item.nodeid.startswith(each + "::") for each in chosen)]
            if left_out:
                self.config.hook.pytest_deselected(items=left_out)
                items[:] = [item for item in items if item not in set(left_out)]
        # The longest tests first, so that none is left at the end; those that run alone last.
        items.sort(key=lambda item: (item.get_closest_marker("alone") is not None,
                                     item.get_closest_marker("first") is None))
