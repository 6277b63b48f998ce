"""Include directions: which folder of `daemon` or `client` may include which.

A folder is a room, and may include only rooms below it. The table is the architecture (CONTRIBUTING.md draws
it); an include that it does not list is a finding.
"""

import pathlib
import re

#: What each room of a program may include, besides its own headers, `common` and headers that Meson generates.
#: `main` is the top folder of the program.
DAEMON = {
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
CLIENT = {
    "main": {"send", "ping", "probe", "load", "throughput", "status", "show", "options"},
    "send": {"measure", "show", "net", "options"},
    "ping": {"stamp", "measure", "show", "net", "options"},
    "probe": {"measure", "show", "net", "options"},
    "load": {"working", "measure", "show", "net", "options"},
    "throughput": {"working", "measure", "show", "net", "options"},
    "working": {"ping", "measure", "show", "net", "options"},
    "status": {"measure", "show", "net", "options"},
    "net": {"show", "measure", "options"},
    "show": {"measure", "options"},
    "options": {"stamp", "measure"},
    "stamp": {"measure"},
    "measure": set(),
}
ALLOWED = {"daemon": DAEMON, "client": CLIENT}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)
#: Made by Meson, at the top of the build.
GENERATED = {"build_features.h"}


def room_of(path):
    """The program of a source or an include, or "common", "tests"; and its room, None where there are no rooms."""
    parts = pathlib.PurePath(path).parts
    if parts[0] not in ALLOWED:
        return parts[0], None
    return parts[0], parts[1] if len(parts) > 2 else "main"


def sources(top, folder):
    """The names of its sources, and what each includes."""
    for path in sorted(pathlib.Path(top, folder).rglob("*")):
        if path.suffix in (".h", ".cpp"):
            yield str(path.relative_to(top)), INCLUDE.findall(path.read_text(encoding="utf-8"))


def forbidden(top="."):
    """A line for each include that the table does not allow, and for each room that the table lacks."""
    for program, allowed in ALLOWED.items():
        for name, includes in sources(top, program):
            here = room_of(name)[1]
            if here not in allowed:
                yield f"{name}: tools/dev/arrows.py does not know the room {here}"
                continue
            for included in includes:
                other, there = room_of(included)
                if other == program and there != here and there not in allowed[here]:
                    yield f"{name}: includes {included}, but {here} is below or beside {there}"
                elif other != program and other != "common" and included not in GENERATED:
                    yield f"{name}: includes {included}; {program} must not depend on {other}"
    for name, includes in sources(top, "common"):
        for included in includes:
            if room_of(included)[0] in ALLOWED:
                yield f"{name}: includes {included}; common must not depend on {room_of(included)[0]}"


def cycle():
    """A room that can include itself through others; None if the tables have no cycle."""
    for allowed in ALLOWED.values():
        left = {room: set(below) for room, below in allowed.items()}
        while left:
            leaves = [room for room, below in left.items() if not below & left.keys()]
            if not leaves:
                return min(left)
            for room in leaves:
                del left[room]
    return None
