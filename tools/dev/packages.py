"""The packages that each task needs on Debian 12 and 13, and apt.

`need` prints and installs those of its arguments that are missing; it waits while another program holds
apt's locks. On other distributions it names what is missing and ends.
"""

import os
import pathlib
import shutil
import subprocess
import threading
import time

from tools.dev import process
from tools.dev.console import Failure, header, say

#: What the build needs. meson.build and debian/control list the same; a test compares them.
BUILD = ["g++", "meson", "ninja-build", "pkgconf", "python3", "scdoc", "doctest-dev", "libfmt-dev",
         "libseccomp-dev", "libsystemd-dev", "libtomlplusplus-dev", "liburing-dev",
         "nettle-dev", "nlohmann-json3-dev"]
#: What every Python test needs.
PYTEST = ["python3", "python3-pytest", "python3-pytest-timeout", "python3-pytest-xdist",
          "python3-jsonschema", "iproute2", "procps", "util-linux"]
#: What single integration modules need in addition.
MODULES = {
    "completions": ["bash-completion", "fish", "zsh"],
    "idle": ["strace"],
    "journal": ["systemd"],
    "live": ["tmux"],
    "load_servers": ["socat"],
    "ping_servers": ["socat"],
    "prometheus": ["prometheus"],
    "sandbox": ["strace"],
    "stamp_codecs": ["python3-scapy", "tshark"],
}
SUITES = PYTEST + sorted({package for packages in MODULES.values() for package in packages})
#: What builds Debian packages, and what inspects them.
DEB = ["build-essential", "debhelper"]
DEB_TESTS = ["iproute2", "lintian", "mmdebstrap", "util-linux"]
SYSTEM = ["mmdebstrap", "systemd-container", "util-linux"]
#: What fetches, unpacks and starts the kernels of the stage `kernels`.
KERNELS = ["debian-archive-keyring", "iproute2", "kmod", "mawk", "util-linux"]
#: Clang with its sanitizers and libFuzzer, and the symbolizer of their stack traces.
CLANG = ["clang-19", "libclang-rt-19-dev", "llvm-19"]
LINT = ["clang-format-19", "clang-tidy-19", "shellcheck"]
ALL = BUILD + SUITES + DEB + DEB_TESTS + SYSTEM + KERNELS + CLANG + LINT
#: The servers that the benchmark compares with; it prints and leaves out those that are not available.
BENCH = ["libasio-dev", "libevent-dev", "libuv1-dev", "golang-go", "librust-tokio-dev", "cargo", "rustc",
         "nodejs", "irtt", "sockperf", "xinetd"]
#: The probers that `./dev bench truth` compares, and what it makes its link with.
BENCH_TRUTH = ["fping", "iperf3", "iproute2", "iputils-ping", "irtt", "sockperf"]

# The same for other distributions, whose packages have other names.
COMMANDS = ["c++", "meson", "ninja", "pkg-config", "python3"]
PKG_CONFIG = ["fmt", "nettle", "nlohmann_json", "tomlplusplus"]

LISTS = pathlib.Path("/var/lib/apt/lists")
LISTS_FRESH_SECONDS = 3600
LOCK_SECONDS_MAX = 600
_apt = threading.Lock()


def os_release(key):
    try:
        for line in pathlib.Path("/etc/os-release").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition("=")
            if name == key:
                return value.strip('"')
    except OSError:
        pass
    return ""


def on_debian():
    return os_release("ID") == "debian" and bool(shutil.which("apt-get"))


def missing(packages):
    """The packages that are not installed, in order."""
    wanted = list(dict.fromkeys(packages))
    done = subprocess.run(["dpkg-query", "-W", "-f=${Package} ${db:Status-Status}\n", *wanted],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    installed = {line.split()[0] for line in done.stdout.splitlines() if line.endswith(" installed")}
    return [package for package in wanted if package not in installed]


def available(package):
    return process.output(["apt-cache", "show", package]) not in (None, "")


def need(packages, log="build-dev/apt.log"):
    """Installs those of the packages that are missing."""
    if not on_debian():
        _name_what_is_missing()
        return
    with _apt:
        lacking = missing(packages)
        if not lacking:
            return
        if os.geteuid() != 0 and not shutil.which("sudo"):
            raise Failure("packages are missing, and installing them needs root or sudo. As root, "
                          "run:\n    apt-get update && apt-get install --no-install-recommends "
                          + " ".join(lacking))
        header("Installing: " + " ".join(lacking))
        # A third party's source that is down must not stop us: only a failed install counts.
        if not _lists_are_fresh():
            _apt_get(["update", "-qq"], log)
        install = ["install", "-y", "-qq", "--no-install-recommends", *lacking]
        if not _apt_get(install, log) and not (_apt_get(["update", "-qq"], log)
                                               and _apt_get(install, log)):
            process.show_failure(log, most=0, end=15)
            raise Failure(f"apt-get could not install them, see {log}")


def _lists_are_fresh():
    """Whether apt updated its lists within the last hour."""
    ages = [time.time() - path.stat().st_mtime for path in LISTS.glob("*_InRelease")]
    return bool(ages) and min(ages) < LISTS_FRESH_SECONDS and any(LISTS.glob("*_Packages*"))


def _apt_get(arguments, log):
    """apt-get. Waits for all of its locks; DPkg::Lock::Timeout covers only that of the package database."""
    command = ["apt-get", "-o", f"DPkg::Lock::Timeout={LOCK_SECONDS_MAX}", *arguments]
    if os.geteuid() != 0:
        command = ["sudo", "DEBIAN_FRONTEND=noninteractive", *command]
    deadline = time.monotonic() + LOCK_SECONDS_MAX
    announced = False
    while True:
        if process.run(command, log=log, env={"DEBIAN_FRONTEND": "noninteractive"}).ok:
            return True
        text = pathlib.Path(log).read_text(encoding="utf-8", errors="replace")
        if "Could not get lock" not in text or time.monotonic() > deadline:
            return False
        if not announced:
            say("    another program holds apt's lock; waiting for it")
            announced = True
        time.sleep(2)


def _name_what_is_missing():
    lacking = [command for command in COMMANDS if not shutil.which(command)]
    if shutil.which("pkg-config"):
        lacking += [f"{name} (pkg-config)" for name in PKG_CONFIG
                    if process.output(["pkg-config", "--exists", name]) is None]
    if lacking:
        raise Failure("this is not Debian. Please install the packages of this distribution that provide:\n    "
                      + "\n    ".join(lacking)
                      + "\nand optionally: liburing, libsystemd, doctest, scdoc (development files).")
