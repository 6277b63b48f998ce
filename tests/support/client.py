"""Runs riposte as its users do: to its end, or beside the test, with signals.

    done = run("ping", "-c", "3", endpoint)          done.returncode, done.stdout, done.stderr (text)
    done = run_json("load", "-j", ..., endpoint)     the same, and done.json, validated by its schema
    with Running("ping", endpoint) as client:        a process: client.signal(SIGINT), client.finish()

Every wait has a limit. A sanitizer's report fails the test, whatever the exit code is.

The environment (tests/support/runner/build.py sets it):
    RIPOSTE               the program

A document with "schema": "riposte/ping/2" is validated by packaging/schema/
riposte-ping-2.schema.json. That needs Debian's python3-jsonschema: without it documents are only
parsed, and validate() skips its test with the reason.
"""

import json
import os
import re
import subprocess
import time
import unittest
from signal import SIGINT

from patience import RUN, SANITIZER, WAIT  # noqa: F401

try:
    import jsonschema
except ImportError:
    jsonschema = None

RIPOSTE = os.path.abspath(os.environ.get("RIPOSTE", "build/client/riposte"))
SCHEMAS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../packaging/schema")

_SANITIZER_REPORTS = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:",
                      "WARNING: ThreadSanitizer", "Assertion `", "terminate called")


class Done:
    """How a run ended: its exit code (-N: signal N), and what it wrote."""

    def __init__(self, arguments, returncode, stdout, stderr):
        self.arguments = arguments
        self.returncode = returncode
        self.stdout = stdout
        self.stderr = stderr
        self.json = None
        for mark in _SANITIZER_REPORTS:
            if mark in stderr:
                raise AssertionError(f"{self}\nriposte complained")

    def __str__(self):
        return (f"riposte {' '.join(self.arguments)}\nexit code {self.returncode}\n"
                f"--- stdout\n{self.stdout}--- stderr\n{self.stderr}")


def environment(changes=None):
    """This process's environment without variables that change the client's output. A value of None in `changes`
    unsets a variable."""
    env = {key: value for key, value in os.environ.items()
           if not key.startswith("RIPOSTE") and key not in ("COLUMNS", "LINES", "NO_COLOR")}
    for key, value in (changes or {}).items():
        if value is None:
            env.pop(key, None)
        else:
            env[key] = value
    return env


class Running:
    """A running client. Leaving the `with` block ends it in any case."""

    def __init__(self, *arguments, env=None, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                 stderr=subprocess.PIPE, preexec=None):
        self.arguments = [str(argument) for argument in arguments]
        self.process = subprocess.Popen([RIPOSTE, *self.arguments], stdin=stdin, stdout=stdout,
                                        stderr=stderr, env=environment(env), preexec_fn=preexec)
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        for pipe in (self.process.stdout, self.process.stderr, self.process.stdin):
            if pipe:
                pipe.close()
        self.process.wait(WAIT)

    def signal(self, number):
        self.process.send_signal(number)

    def poll(self):
        return self.process.poll()

    def finish(self, timeout=RUN):
        """Waits for its end. Done.stdout lacks lines that were read before."""
        try:
            stdout, stderr = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            stdout, stderr = self.process.communicate()
            done = Done(self.arguments, None, _text(stdout), _text(stderr))
            raise AssertionError(f"{done}\nit still ran after {timeout:g} s") from None
        return Done(self.arguments, self.process.returncode, _text(stdout), _text(stderr))

    def line(self):
        """The next line of standard output, which must arrive (the test's time limit bounds the wait)."""
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError("standard output ended")
        return line.decode()

    def error_line(self):
        line = self.process.stderr.readline()
        if not line:
            raise AssertionError("standard error ended")
        return line.decode()

    def catches(self, number):
        """Whether it has a handler for this signal. A signal before that does not test the handler."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            mask = int(re.search(r"^SigCgt:\s+([0-9a-f]+)$", status.read(), re.M)[1], 16)
        return bool(mask >> (number - 1) & 1)

    def await_handlers(self, numbers=(SIGINT,)):
        """Waits until the client handles these signals itself."""
        deadline = time.monotonic() + WAIT
        while not all(self.catches(number) for number in numbers):
            if self.poll() is not None:
                raise AssertionError(f"it ended before:\n{self.finish()}")
            if time.monotonic() > deadline:
                raise AssertionError("it never handled the signals")
            time.sleep(0.005)

    def _state(self):
        with open(f"/proc/{self.pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[0]

    def is_stopped(self):
        return self._state() == "T"

    def is_asleep(self):
        """Whether it already waits for something."""
        return self._state() == "S"

    def rss_kib(self):
        """Its memory; 0 if it has ended and was not waited for."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            found = re.search(r"^VmRSS:\s+(\d+) kB", status.read(), re.M)
        return int(found[1]) if found else 0


def _text(output):
    return (output or b"").decode("utf-8", "backslashreplace")


def run(*arguments, env=None, timeout=RUN, **keywords):
    """Runs it to its end; keywords as for Running."""
    with Running(*arguments, env=env, **keywords) as client:
        return client.finish(timeout)


def parse_json(done):
    """Sets done.json from standard output, which must be one document that is valid by its schema."""
    try:
        done.json = json.loads(done.stdout, parse_constant=_no_number)
    except ValueError as problem:
        raise AssertionError(f"{done}\nnot JSON: {problem}") from None
    if jsonschema:
        validate(done.json)
    return done


def run_json(*arguments, **keywords):
    """run() of a command with -j among its arguments."""
    return parse_json(run(*arguments, **keywords))


def _no_number(name):
    raise ValueError(f"{name} is no JSON")


def schema_of(document):
    name = document["schema"].replace("/", "-")
    with open(os.path.join(SCHEMAS, f"{name}.schema.json"), encoding="utf-8") as file:
        return json.load(file)


def validate(document):
    """Validates a document by the schema that it names."""
    if not jsonschema:
        raise unittest.SkipTest("python3-jsonschema is not installed: documents are not validated")
    schema = schema_of(document)
    kind = jsonschema.validators.validator_for(schema)
    kind.check_schema(schema)
    problems = [f"{'/'.join(str(step) for step in problem.absolute_path) or '(top)'}: "
                f"{problem.message[:300]}" for problem in kind(schema).iter_errors(document)]
    if problems:
        raise AssertionError("the schema does not allow the document:\n" + "\n".join(problems))


def comment(text):
    """Prints a figure for the reader of a test's output; pytest shows it with -rP, or if the test fails."""
    for line in str(text).splitlines():
        print("# " + line, flush=True)
