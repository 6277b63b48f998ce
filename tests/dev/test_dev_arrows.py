"""The table of include directions has no cycle, the sources follow it, and a forbidden include is found."""

import pathlib

import pytest

from tools.dev import arrows


def findings(tmp_path, files):
    for name in ("common", "client", "daemon"):
        (tmp_path / name).mkdir()
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(arrows.forbidden(tmp_path))


def test_the_table_has_no_cycle():
    assert arrows.cycle() is None


def test_a_cycle_is_found(monkeypatch):
    monkeypatch.setitem(arrows.DAEMON, "core", {"tcp"})
    assert arrows.cycle() is not None


def test_the_sources_follow_the_table():
    assert not list(arrows.forbidden())


@pytest.mark.parametrize("program", arrows.ALLOWED)
def test_every_room_is_in_the_table(program):
    rooms = {path.parent.name for path in pathlib.Path(program).glob("*/*.h")}
    assert rooms | {"main"} == set(arrows.ALLOWED[program])


@pytest.mark.parametrize("name, include", [
    ("daemon/tcp/engine.cpp", "daemon/udp/responder.h"),
    ("daemon/udp/responder.h", "daemon/tcp/connection.h"),
    ("daemon/io/backend.h", "daemon/tcp/connection.h"),
    ("daemon/core/host.h", "daemon/telemetry/counters.h"),
    ("daemon/services/echo.cpp", "daemon/io/backend.h"),
    ("daemon/tcp/engine.cpp", "daemon/supervisor/supervisor.h"),
    ("daemon/tcp/engine.cpp", "daemon/config/config.h"),
    ("daemon/log/log.cpp", "daemon/config/config.h"),
    ("daemon/tcp/engine.cpp", "client/send/send.h"),
    ("client/send/send.cpp", "daemon/io/backend.h"),
    ("client/net/connect.cpp", "client/ping/prober.h"),
    ("client/show/table.h", "client/load/load_result.h"),
    ("client/measure/cause.cpp", "client/show/report.h"),
    ("client/ping/ping.cpp", "client/load/load_account.h"),
    ("common/text.h", "daemon/io/backend.h"),
    ("common/text.h", "client/send/send.h"),
])
def test_a_forbidden_include_is_found(tmp_path, name, include):
    found = findings(tmp_path, {name: f'#include "{include}"\n'})
    assert len(found) == 1 and name in found[0] and include in found[0]


def test_a_room_outside_the_table_is_found(tmp_path):
    assert "the room attic" in findings(tmp_path, {"daemon/attic/box.h": ""})[0]


def test_rooms_below_may_be_included(tmp_path):
    assert not findings(tmp_path, {
        "daemon/tcp/engine.cpp": '#include "daemon/io/backend.h"\n#include "common/fd.h"\n'
                                 '#include "build_features.h"\n#include <vector>\n'})
