"""Printing. A step that runs beside others collects its lines and prints them at its end, so that
the output of two steps never mixes; everything else is printed at once.
"""

import sys
import threading

_lock = threading.Lock()
_local = threading.local()


class Failure(Exception):
    """Ends the command with status 1 and one line: what, where, what to do."""


def say(text=""):
    """Prints a line, or adds it to the block of the step that this thread runs."""
    block = getattr(_local, "block", None)
    if block is not None:
        block.append(text)
    else:
        with _lock:
            print(text, flush=True)


def header(text):
    say(f"\n==> {text}")


class Block:
    """with Block(): the lines of this thread are printed in one piece, at the end."""

    def __enter__(self):
        _local.block = []
        return self

    def __exit__(self, *_):
        lines, _local.block = _local.block, None
        if lines:
            say("\n".join(lines))


def warn(text):
    print(text, file=sys.stderr, flush=True)
