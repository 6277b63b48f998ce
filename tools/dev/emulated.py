"""Kernels of which there is no User Mode Linux, and more than one processor: qemu emulates the machine.

Emulation is 20 times slower than this machine, so that such a guest runs conformance on io_uring, the daemon's unit
tests, and riposted once, and no Python: everything that it needs is in its initial memory image, with the libraries
of this machine (tests/kernels/emulated-init). It has no disk and no network, and so needs no module of its kernel.

The kernels are the `emulated` rows of tests/kernels/expectations.toml. Of a row's suite, the newest package of its
series is taken, or the newest of all; it is cached like the other kernels.
"""

import contextlib
import fcntl
import os
import pathlib
import re
import shutil
import time
import tomllib
from dataclasses import dataclass

from tools.dev import guest_suites, guests, kernels, mirror, process, results
from tools.dev.console import say
from tools.dev.trees import TOP

INIT = pathlib.Path("tests/kernels/emulated-init")
PACKAGES = ["qemu-system-x86"]
MEMORY_MIB = 1024
#: A patience for 20 times slower.
PATIENCE = 30
SECONDS_MAX = 3600
NEWEST = "newest"
PROGRAMS = ["cat", "chmod", "grep", "ip", "ln", "mkdir", "mount", "nproc", "prlimit", "sed", "sh", "sleep", "stty",
            "uname"]
FILES = ["/etc/group", "/etc/hosts", "/etc/nsswitch.conf", "/etc/passwd"]
#: Those of the tree that unit tests compare with the code.
SOURCES = ["packaging/man/*", "packaging/riposted.toml", "packaging/systemd/riposted.catalog"]
#: What the serial ports print: the kernel's messages, and the outputs of the programs.
PORTS = ("console", "conformance.tap", "unit_daemon.tap", "riposted")


@dataclass(frozen=True)
class Emulated:
    """A row of the table."""
    name: str
    series: str
    suite: str
    processors: int
    lacks: str
    operations: int


def table():
    rows = tomllib.loads(kernels.TABLE.read_text(encoding="utf-8"))["emulated"]
    return [Emulated(**row) for row in rows]


# --- The kernel -----------------------------------------------------------------------------------


def newest_package(names, series):
    """The newest of these names of packages, and its release; of a series, or of all of them."""
    found = []
    for name in names:
        release = re.fullmatch(r"linux-image-((\d+(?:\.\d+)+)\S*-cloud-amd64)", name)
        if release and (series == NEWEST or release[2].startswith(series + ".")):
            found.append(([int(part) for part in release[2].split(".")], release[1]))
    return max(found)[1] if found else None


def fetch(row):
    """The path of the row's kernel, from the cache or the mirror. Raises NoKernel."""
    home = kernels.cache() / f"emulated-{row.suite}-{row.series}"
    home.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{home}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kernel = home / "vmlinuz"
        if kernel.exists() and time.time() - kernel.stat().st_mtime < kernels.KEPT_SECONDS:
            return kernel
        try:
            download(row, home)
        except mirror.Unreachable as reason:
            if not kernel.exists():
                raise kernels.NoKernel(str(reason)) from None
            say(f"    {row.name}: the one in the cache is used, because {reason}")
            os.utime(kernel)
        return kernel


def download(row, home):
    suite = mirror.Suite(row.suite, kernels.cache() / "apt")
    suite.state.parent.mkdir(exist_ok=True)
    with open(f"{suite.state}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        suite.update()
        names = suite.names("^linux-image-[0-9].*-cloud-amd64$")
        release = newest_package(names, row.series)
        if not release:
            raise mirror.Unreachable(f"{row.suite} has no linux-image of {row.series} for clouds")
        say(f"    fetching Linux {release} from {row.suite}")
        fresh = pathlib.Path(f"{home}.new")
        kernels.remove(fresh)
        # Since 7.1 or so, linux-image has the kernel in a package of its own.
        binary = suite.names(f"^linux-binary-{re.escape(release)}$")
        suite.fetch(binary or [f"linux-image-{release}"], fresh)
    (found, *_) = sorted(fresh.rglob("vmlinuz*"))
    home.mkdir(exist_ok=True)
    shutil.copyfile(found, home / "vmlinuz.new")
    (home / "vmlinuz.new").rename(home / "vmlinuz")
    kernels.remove(fresh)


# --- The memory image -----------------------------------------------------------------------------


class Image:
    """A file in the format "newc" of cpio(5)."""

    def __init__(self, path):
        self.file = open(path, "wb")  # pylint: disable=consider-using-with
        self.names = set()

    def add(self, name, mode, content=b""):
        """A file, a directory, or a symbolic link, with its directories."""
        name = name.lstrip("/")
        if name in self.names:
            return
        parent = os.path.dirname(name)
        if parent:
            self.add(parent, 0o40755)
        self.names.add(name)
        self._write(name, mode, content)

    def add_file(self, path, name=None):
        with open(path, "rb") as file:
            self.add(name or path, 0o100000 | os.stat(path).st_mode & 0o777, file.read())

    def add_program(self, path, name):
        """A program and its libraries."""
        self.add_file(path, name)
        listed = process.output(["ldd", path]) or ""
        for library in re.findall(r"(?m)(/\S+) \(0x", listed):
            self.add_file(library)

    def close(self):
        self._write("TRAILER!!!", 0, b"")
        self.file.close()

    def _write(self, name, mode, content):
        encoded = name.encode() + b"\0"
        fields = [len(self.names), mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(encoded), 0]
        self._padded(b"070701" + b"".join(b"%08X" % field for field in fields) + encoded)
        self._padded(content)

    def _padded(self, data):
        self.file.write(data + bytes(-len(data) % 4))


def make_image(path, tree):
    with contextlib.closing(Image(path)) as image:
        for name in ("dev", "proc", "sys", "tmp", "run", "var/tmp"):
            image.add(name, 0o40755)
        image.add("init", 0o100755, INIT.read_bytes())
        for program in PROGRAMS:
            image.add_program(shutil.which(program), f"bin/{program}")
        for program in ("daemon/riposted", *guest_suites.PROGRAMS.values()):
            image.add_program(tree.path / program, f"usr/bin/{os.path.basename(program)}")
        for file in FILES:
            if os.path.exists(file):
                image.add_file(file)
        for file in (file for pattern in SOURCES for file in TOP.glob(pattern)):
            image.add_file(str(file))


# --- The guest ------------------------------------------------------------------------------------


def run(found, row, tree, stage="kernels"):
    """Emulates a machine with this kernel, and adds the rows of its tests."""
    reason = guests.refusal() or (None if shutil.which("qemu-system-x86_64")
                                  else f"qemu is not installed ({PACKAGES[0]})")
    if reason:
        found.add("skipped", stage, f"{row.name} every suite", reason)
        return
    try:
        kernel = fetch(row)
    except kernels.NoKernel as missing:
        found.add("skipped", stage, f"{row.name} every suite", f"no such kernel: {missing}")
        return
    out = guests.directory(row.name)
    make_image(out / "image", tree)
    done = process.run(command(row, kernel, out), log=out / "qemu.log")
    (out / "image").unlink()
    collect(found, stage, row, out, done.seconds)


def command(row, kernel, out):
    ports = [word for name in PORTS for word in ("-serial", f"file:{out / name}")]
    return ["timeout", "-k", 5, SECONDS_MAX, "nice", "qemu-system-x86_64", "-machine", "q35,usb=off,vmport=off",
            "-accel", "tcg,thread=multi", "-cpu", "max", "-m", MEMORY_MIB, "-smp", row.processors, "-display", "none",
            "-nodefaults", "-no-reboot", *ports, "-kernel", kernel, "-initrd", out / "image", "-append",
            # The clock of the emulated processor is reliable: without the word, clock_gettime is a system call.
            "console=ttyS0 quiet mitigations=off nowatchdog tsc=reliable random.trust_cpu=on panic=-1 "
            f"riposte.patience={PATIENCE}"]


def collect(found, stage, row, out, seconds):
    text = {name: (out / name).read_text(encoding="utf-8", errors="replace").replace("\r", "")
            if (out / name).exists() else "" for name in PORTS}
    status = dict(re.findall(r"(?m)^(riposted|conformance|unit_daemon) (\d+)$", text["riposted"]))
    faults = [line for line in text["console"].splitlines() if guests.FAULT.search(line)]
    how = faults[0][:200] if faults else "the guest ended, or was ended, before it did"
    for program in guest_suites.PROGRAMS:
        good = status.get(program) == "0"
        for outcome, case, reason, comments in results.of_program(
                program, good, f"exit code {status[program]}" if program in status else how, text[f"{program}.tap"]):
            for line in comments[-guest_suites.LINES_SHOWN:]:
                say(line)
            found.add(outcome, stage, f"{row.name} {case}", reason)
    for name, wrong in expectations(row, text["riposted"]).items():
        found.add("failed" if wrong else "passed", stage, f"{row.name} expectations: {name}", wrong)
    found.add("failed" if faults else "passed", stage, f"{row.name} the kernel's log", "; ".join(faults[:3]), seconds)


def expectations(row, log):
    """{what: what is wrong, or ""} of what the guest and riposted said."""
    lines = log.splitlines()
    release, processors = (lines + ["", ""])[:2]
    said = "\n".join(lines)
    lacks = re.search(r"(?m)^riposted: this kernel's io_uring lacks (.*); ", said)
    checks = {
        "the kernel": row.series == NEWEST or release.startswith(row.series + "."),
        "the number of processors": processors == str(row.processors),
        "auto chooses io_uring, with a worker for each processor":
            f"riposted: ready: backend io_uring, {row.processors} worker" in said,
        "the log says what the ring lacks": (lacks[1] if lacks else "") == row.lacks,
        "the daemon is sealed": f"riposted: sandbox: seccomp on, io_uring limited to {row.operations} operations\n"
                                in said,
        "riposted ends": "\nriposted 0\n" in said + "\n"}
    return {name: "" if good else said[:300] or "the guest said nothing" for name, good in checks.items()}
