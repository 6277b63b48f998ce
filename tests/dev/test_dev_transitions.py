"""The state of a TCP connection is assigned in one file, where its transitions stand side by side."""

import pathlib
import re

HOME = "daemon/tcp/connection.cpp"
#: An assignment; not a comparison, and not the initial value of a member.
ASSIGNED = re.compile(r"^(?!.*ConnectionState state_ =).*\bstate_?\s*=(?!=)", re.MULTILINE)


def assignments(top="."):
    """The number of assignments in each source of the room."""
    counts = {}
    for path in sorted(pathlib.Path(top, "daemon/tcp").iterdir()):
        count = len(ASSIGNED.findall(path.read_text(encoding="utf-8")))
        if count:
            counts[str(path.relative_to(top))] = count
    return counts


def test_the_state_of_a_connection_is_assigned_in_one_file():
    # open, finish, leave, abort, release, vacate
    assert assignments() == {HOME: 6}


def test_an_assignment_elsewhere_is_found(tmp_path):
    room = tmp_path / "daemon" / "tcp"
    room.mkdir(parents=True)
    (room / "engine.cpp").write_text(
        "c.state = ConnectionState::open;\nif (c.state() == ConnectionState::open)\n", encoding="utf-8")
    assert assignments(tmp_path) == {"daemon/tcp/engine.cpp": 1}
