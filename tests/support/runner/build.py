"""The programs under test: tests/integration/meson.build writes a file into the build tree that names the programs
and the features of the build. It becomes the environment that the tests read. The client and other tools that
only drive the daemon may come from another tree, so that a daemon built with ThreadSanitizer needs no such client.
"""

import json
import os
import pathlib
import time

import pytest

DESCRIPTION = "tests/integration/integration.json"
#: Entries that always describe the daemon's own build.
DAEMON = ("RIPOSTED", "RIPOSTE_FEATURES", "RIPOSTE_SANITIZER")
INTEGRATION = pathlib.Path(__file__).resolve().parents[2] / "integration"


def add_options(group):
    group.addoption("--build", metavar="DIR", default=os.environ.get("RIPOSTE_BUILD"),
                    help="the build tree of Meson whose programs are tested [build]")
    group.addoption("--tools", metavar="DIR",
                    help="the build tree whose client and tools are used [that of --build]")
    group.addoption("--backends", metavar="NAMES",
                    help="run only these backends of the build: epoll,io_uring")


def configure(config):
    # The results must not depend on the user's environment.
    os.environ.update(LC_ALL="C.UTF-8", TZ="UTC", PYTHONDONTWRITEBYTECODE="1")
    time.tzset()
    config.build_backends = ["epoll"]
    config.build_is_known = False
    directory = config.option.build
    if directory is not None or os.path.exists(os.path.join("build", DESCRIPTION)):
        use(config, os.path.abspath(directory or "build"))
    if config.option.backends:
        chosen = config.option.backends.split(",")
        unknown = set(chosen) - set(config.build_backends)
        if unknown:
            raise pytest.UsageError(f"--backends: the build has no {', '.join(sorted(unknown))}, "
                                    f"it has {', '.join(config.build_backends)}")
        config.build_backends = chosen
    config.pluginmanager.register(Build(config), "riposte-build")


def use(config, directory):
    found = description(directory, "--build")
    os.environ["RIPOSTE_BUILD"] = config.option.build = directory
    os.environ.update(found["environment"])
    if config.option.tools:
        tools = description(os.path.abspath(config.option.tools), "--tools")["environment"]
        os.environ.update({name: value for name, value in tools.items() if name not in DAEMON})
    config.build_backends = found["backends"].split()
    config.build_is_known = True


def description(directory, option):
    path = os.path.join(directory, DESCRIPTION)
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except OSError as problem:
        raise pytest.UsageError(f"{option}: {path}: {problem.strerror}; set up by `meson setup`, it is "
                                "there unless the build has no tests") from None


class Build:
    def __init__(self, config):
        self.config = config

    def pytest_ignore_collect(self, collection_path):
        # The peers of the benchmark exist only with -Dbench=true.
        if collection_path.name == "test_bench_peers.py":
            return not os.environ.get("RIPOSTE_BENCH_PEERS") or None
        return None

    def pytest_collection_modifyitems(self, items):
        if not self.config.build_is_known and any(INTEGRATION in item.path.parents for item in items):
            raise pytest.UsageError("tests/integration needs --build=DIR, the build tree of Meson")
