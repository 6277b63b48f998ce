"""The build that is both tested and packed: the stage `check` compiles it with the flags of a Debian package, and
the stage `deb` packs its programs (packaging/build-deb --built)."""

import os
import subprocess

from tools.dev import packages
from tools.dev.trees import Tree

#: What debhelper passes to every Meson build.
DEBHELPER = ("--wrap-mode=nodownload", "--buildtype=plain", "--prefix=/usr", "--sysconfdir=/etc",
             "--localstatedir=/var")
#: Debug information changes no code: the least of it, for stack traces and for the tests that read which flags a
#: program was compiled with, takes a fifth of the time of the whole.
LESS_DEBUG = {"DEB_CXXFLAGS_STRIP": "-g", "DEB_CXXFLAGS_APPEND": "-g1"}
FLAGS = ("CPPFLAGS", "CXXFLAGS", "LDFLAGS")
#: Elsewhere than on Debian.
PLAIN = ("-Ddebug=false", "-Dunity=on", "-Dunity_size=24")


class PackagedTree(Tree):
    """A tree with the options of packaging/debian/rules besides its own."""

    def configure(self):
        return self.as_packaged().configure()

    def as_packaged(self):
        """The tree with all its options and flags."""
        if not packages.on_debian():
            return Tree(self.name, (*PLAIN, *self.options))
        triplet = _output(["dpkg-architecture", "-qDEB_HOST_MULTIARCH"]).strip()
        lines = _output(["make", "-s", "-f", "packaging/debian/rules", "print-build"]).splitlines()
        options = [line for line in lines if line.startswith("-")]
        flags = dict(line.split("=", 1) for line in lines if not line.startswith("-"))
        return Tree(self.name, (*DEBHELPER, f"--libdir=lib/{triplet}", *options, *self.options),
                    {name: flags[name] for name in FLAGS})


def _output(command):
    return subprocess.run(command, env=os.environ | LESS_DEBUG, stdout=subprocess.PIPE, text=True, check=True).stdout
