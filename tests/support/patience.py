"""How long the tests wait for what must happen. Every such wait comes from here.

A wait ends when the condition holds, so that much patience costs nothing where all is well. None of these
is a mark: nothing is judged by how long it took. They are meant for two processors that ten other processes
keep busy; RIPOSTE_TEST_PATIENCE is a factor for a machine that is slower still, and a build with a
sanitizer is granted three times as much.
"""

import os

SANITIZER = os.environ.get("RIPOSTE_SANITIZER", "none")
FACTOR = float(os.environ.get("RIPOSTE_TEST_PATIENCE", "1")) * (1 if SANITIZER == "none" else 3)


def seconds(count):
    return count * FACTOR


#: For one step: an answer, a line of a log, the end of a process that was told to end.
WAIT = seconds(60)
#: For a program that has work to do first, which may be much for a processor that others use, too.
RUN = seconds(240)
