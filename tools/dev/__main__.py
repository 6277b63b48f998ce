"""./dev COMMAND: see HELP."""

import os
import signal
import sys

from tools.dev import process
from tools.dev.console import Failure, warn
from tools.dev.trees import TOP

HELP = """./dev demo                      build, start riposted, query it over TCP and UDP, stop it
./dev build                     build riposted and riposte in build-dev/release
./dev test                      the tests that every change must pass: about half an hour
           --all                the long form, before a release
           --stage STAGE        one stage: check asan threads minimal deb root system kernels
                                lint; in the long form also sanitize whole
./dev test WORD...              single tests: 'timers', 'test_handover', 'a slow reader'
           [-k TEXT] [--list] [--durations N] [--repeat N] [--load N]
./dev mutate [NAME...]          plant faults, and check that the tests catch each of them
           [--list] [--page]    list the faults; print docs/planted-faults.md
./dev kernels [KERNEL...]       conformance and more on kernels that users run, booted here
           run KERNEL [COMMAND] a command, or a shell, in one of them; --list names them
./dev lint                      clang-format, shellcheck, clang-tidy, include directions, language
./dev soak MINUTES              storms of 10,000 peers, attacks and simulated faults, round after
                                round, with a table of what honest clients lost
./dev deb                       the Debian packages in build-dev/deb/packages, checked by lintian
./dev bench [--help]            riposted against Asio, libuv, libevent, Go, Tokio, node, xinetd
                                and bare loops: CPU for each request, latency, memory
./dev bench generator [--help]  riposte load against a plain epoll loop
./dev bench stamp [--help]      the reflector of STAMP beside the UDP echo: CPU a packet, T3
./dev bench throughput [--help] riposte load --upload and --download beside iperf3
./dev bench many [--help]       riposte ping of 1,000 endpoints beside fping; needs root for fping
./dev bench truth [--help]      riposte, ping, fping, irtt, iperf3 and sockperf on a link whose
                                faults are known: what each reports, and what was true; needs root
./dev fuzz SECONDS [TARGET...]  libFuzzer on each target; exits with 1 if one crashed, and prints
           [--merge]            where the input is; --merge: new inputs into tests/fuzz/corpus
./dev help                      this text

On Debian 12 and 13, ./dev installs missing packages with apt (as root, or with sudo). All builds
are in build-dev/. ./dev writes nowhere else, and removes only what it made."""


def commands():
    # pylint: disable=import-outside-toplevel
    from tools.dev import commands as small, debs, demo, kernel_commands
    return {"demo": demo.command, "build": small.build, "test": small.test, "lint": small.lint_all,
            "kernels": kernel_commands.command, "soak": small.soak, "deb": debs.command,
            "bench": small.bench, "fuzz": small.fuzz, "mutate": small.mutate_all, "packages": small.install,
            "quick_debs": lambda arguments: debs.build_quick(*arguments)}


def restore_signals():
    """A shell that starts ./dev in the background makes it ignore SIGINT and SIGQUIT, and its children inherit
    that, although tests interrupt them. A signal that is caught here has its default action in a child again."""
    signal.signal(signal.SIGINT, process.interrupt)
    signal.signal(signal.SIGTERM, process.interrupt)
    if signal.getsignal(signal.SIGQUIT) == signal.SIG_IGN:
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)


def main(arguments):
    if not arguments or arguments[0] in ("help", "-h", "--help"):
        print(HELP)
        return 0
    if sys.version_info < (3, 11):
        warn(f"./dev: needs Python 3.11 or later; this is {sys.version.split()[0]}")
        return 1
    os.chdir(TOP)
    sys.stdout.reconfigure(errors="backslashreplace", line_buffering=True)
    restore_signals()
    command = commands().get(arguments[0])
    if command is None:
        warn(f"./dev: unknown command {arguments[0]}; ./dev help lists them")
        return 1
    try:
        return command(arguments[1:]) or 0
    except Failure as problem:
        warn(f"./dev: {problem}")
        return 1
    except KeyboardInterrupt:
        process.end_all()
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
