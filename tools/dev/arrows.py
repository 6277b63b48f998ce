"""Include directions: which folder of `daemon` may include which.

A folder is a room, and may include only rooms below it. The table is the architecture (CONTRIBUTING.md draws
it); an include that it does not list is a finding.
"""

import pathlib
import re

#: What each room may include, besides its own headers, `common` and headers that Meson generates.
ALLOWED = {
    "main": {"supervisor", "config", "log", "platform"},
    "supervisor": {"config", "worker", "tcp", "udp", "listen", "services", "telemetry", "io", "core", "log",
                   "platform"},
    "config": {"tcp", "udp", "listen", "acl", "services", "telemetry", "io", "log"},
    "worker": {"tcp", "udp", "listen", "acl", "services", "telemetry", "io", "core", "log"},
    "tcp": {"listen", "acl", "services", "telemetry", "io", "core", "log"},
    "udp": {"listen", "acl", "services", "telemetry", "io", "core", "log"},
    "listen": {"acl", "services", "telemetry", "platform", "log"},
    "telemetry": {"services", "core", "log"},
    "io": {"core"},
    "services": set(),
    "acl": set(),
    "core": set(),
    "log": set(),
    "platform": set(),
}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)
#: Made by Meson, at the top of the build.
GENERATED = {"build_features.h"}


def room_of(path):
    """The room of a source or an include: "common", "client", "tests", or a folder of `daemon`."""
    parts = pathlib.PurePath(path).parts
    if parts[0] != "daemon":
        return parts[0]
    return parts[1] if len(parts) > 2 else "main"


def forbidden(top="."):
    """A line for each include that the table does not allow, and for each room that the table lacks."""
    for path in sorted(pathlib.Path(top, "daemon").rglob("*")):
        if path.suffix not in (".h", ".cpp"):
            continue
        name = str(path.relative_to(top))
        here = room_of(name)
        if here not in ALLOWED:
            yield f"{name}: tools/dev/arrows.py does not know the room {here}"
            continue
        for included in INCLUDE.findall(path.read_text(encoding="utf-8")):
            there = room_of(included)
            if included in GENERATED or there in (here, "common") or there in ALLOWED[here]:
                continue
            yield f"{name}: includes {included}, but {here} is below or beside {there}"
    for owner, other in (("common", "daemon"), ("common", "client"), ("client", "daemon")):
        for path in sorted(pathlib.Path(top, owner).rglob("*")):
            if path.suffix not in (".h", ".cpp"):
                continue
            for included in INCLUDE.findall(path.read_text(encoding="utf-8")):
                if pathlib.PurePath(included).parts[0] == other:
                    yield f"{path.relative_to(top)}: includes {included}; {owner} must not depend on {other}"


def cycle():
    """A room that can include itself through others; None if the table has no cycle."""
    left = {room: set(below) for room, below in ALLOWED.items()}
    while left:
        leaves = [room for room, below in left.items() if not below & left.keys()]
        if not leaves:
            return min(left)
        for room in leaves:
            del left[room]
    return None
