"""Packages of any Debian suite, fetched by an apt with a state of its own: this machine's apt is not touched.

The mirror is the one that this machine's own apt sources name. A package is found by its name, never by
a version: mirrors forget versions.
"""

import pathlib
import re

from tools.dev import process
from tools.dev.console import Failure

KEYRING = pathlib.Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SECONDS_MAX = 300


class Unreachable(Failure):
    """The mirror does not answer, or does not have the package. The text is the reason."""


def address(security=False):
    """The mirror's address for the suites, or for those of the security updates; "" if no source names one."""
    listed = process.output(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]) or ""
    uris = [uri.rstrip("/") for uri in listed.split()]
    main = next((uri for uri in uris if uri.endswith("/debian")), "")
    if not security:
        return main
    return next((uri for uri in uris if uri.endswith("/debian-security")), main and main + "-security")


class Suite:
    """One suite ("sid", "trixie-backports") with an apt state below `directory`."""

    def __init__(self, name, directory):
        self.name = name
        self.state = pathlib.Path(directory).resolve() / name
        self.log = self.state / "log"

    def update(self):
        """Fetches the lists of packages."""
        for part in ("lists/partial", "cache/archives/partial", "preferences.d"):
            (self.state / part).mkdir(parents=True, exist_ok=True)
        (self.state / "status").touch()
        mirror = address(security=self.name.endswith("-security"))
        if not mirror:
            raise Unreachable("no apt source of this machine names a Debian mirror")
        (self.state / "sources.list").write_text(
            f"deb [signed-by={KEYRING}] {mirror} {self.name} main\n", encoding="ascii")
        # Without the option, apt takes old lists for good if the mirror does not answer.
        if not self._apt_get("update", "-o", "APT::Update::Error-Mode=any").ok:
            raise Unreachable(f"the mirror's lists of {self.name} cannot be fetched: {self._error()}")

    def names(self, expression):
        """The names of packages that match a regular expression."""
        found = process.output([*self._command("apt-cache"), "pkgnames"]) or ""
        return sorted(name for name in found.split() if re.search(expression, name))

    def fetch(self, packages, into):
        """Downloads and unpacks packages; returns the version of the first."""
        downloads = self.state / "downloads"
        process.run(["rm", "-rf", downloads])
        downloads.mkdir()
        if not self._apt_get("download", *packages, cwd=downloads).ok:
            raise Unreachable(f"{self.name} has no {' '.join(packages)}: {self._error()}")
        version = ""
        for package in packages:
            (file,) = downloads.glob(f"{package}_*.deb")
            version = version or process.output(["dpkg-deb", "--field", file, "Version"]).strip()
            if not process.run(["dpkg-deb", "--extract", file, into], log=self.log).ok:
                raise Unreachable(f"{file.name} cannot be unpacked: {process.last_line(self.log)}")
        process.run(["rm", "-rf", downloads])
        return version

    def _apt_get(self, *arguments, cwd=None):
        return process.run(["timeout", SECONDS_MAX, *self._command("apt-get"), "-qq", *arguments],
                           log=self.log, cwd=cwd)

    def _command(self, program):
        options = {"Dir::State": self.state, "Dir::State::Lists": self.state / "lists",
                   "Dir::State::status": self.state / "status", "Dir::Cache": self.state / "cache",
                   "Dir::Etc::sourcelist": self.state / "sources.list", "Dir::Etc::sourceparts": "/dev/null",
                   "Dir::Etc::preferencesparts": self.state / "preferences.d",
                   "Acquire::Languages": "none", "APT::Sandbox::User": "root"}
        return [program, *(word for key, value in options.items() for word in ("-o", f"{key}={value}"))]

    def _error(self):
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines() if self.log.exists() else []
        return next((line for line in lines if line.startswith("E:")), process.last_line(self.log))
