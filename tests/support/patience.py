"""The limits of the tests' waits for events that must happen. All such limits are defined here.

A wait ends when its condition holds, so a long limit costs nothing if all is well. None of these is a
performance target: no test judges how long something took. They suit two processors that ten other processes
keep busy; RIPOSTE_TEST_PATIENCE is a factor for a slower machine, and a build with a sanitizer gets three
times as much.
"""

import os

SANITIZER = os.environ.get("RIPOSTE_SANITIZER", "none")
FACTOR = float(os.environ.get("RIPOSTE_TEST_PATIENCE", "1")) * (1 if SANITIZER == "none" else 3)


def seconds(count):
    return count * FACTOR


#: For one step: a reply, a line of a log, the end of a process after a signal.
WAIT = seconds(60)
#: For a program that has work to do first, perhaps on a busy processor.
RUN = seconds(240)
