"""A Debian booted for the tests in a container: real systemd, real dpkg, a loopback of its own.

mmdebstrap makes the root once per release, with the packages' dependencies, and it is kept in the user's
cache for a month (like the root of `./dev test --stage root`). It is never written to: each boot uses it
as the lower layer of an overlay whose upper layer is a tmpfs; see `boot`, which also cleans up. The
machine ends with the test, at the latest by PR_SET_PDEATHSIG.

nsenter(1) runs commands in the container's namespaces, without using its services: observation must not
depend on what is tested. The generator of traffic joins only the network (traffic.py).
"""

import atexit
import ctypes
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from patience import seconds

#: Booting takes longer than the waits of other tests.
WAIT = seconds(120)
MONTH_SECONDS = 30 * 24 * 3600
#: Packages that a booted system and the test's own commands need, besides the packages' dependencies.
SYSTEM_PACKAGES = ["systemd", "systemd-sysv", "dbus"]
PR_SET_PDEATHSIG = 1

libc = ctypes.CDLL(None, use_errno=True)


def unavailable():
    """Why no machine can be booted here, or None."""
    if os.geteuid() != 0:
        return "needs root"
    for program, package in (("systemd-nspawn", "systemd-container"), ("mmdebstrap", "mmdebstrap"),
                             ("nsenter", "util-linux"), ("unshare", "util-linux")):
        if not shutil.which(program):
            return f"{program} is not installed (package {package})"
    trial = subprocess.run(["unshare", "--mount", "sh", "-c", "mount -t tmpfs none /mnt"],
                           capture_output=True, text=True, check=False)
    return f"no mount namespace is available: {trial.stderr.strip()}" if trial.returncode else None


def await_true(condition, what, timeout=WAIT):
    """Waits until condition() is true, and returns what it returned."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what}")
        time.sleep(0.05)


def dependencies(*packages):
    """The names of the packages that .deb files depend on, except for each other."""
    names, own = set(), set()
    for package in packages:
        fields = subprocess.run(["dpkg-deb", "-f", package, "Package", "Depends"], check=True,
                                capture_output=True, text=True).stdout
        values = dict(line.split(": ", 1) for line in fields.splitlines() if ": " in line)
        own.add(values["Package"])
        for choice in values.get("Depends", "").split(","):
            names.add(choice.split("|")[0].split("(")[0].strip())
    return sorted(names - own - {""})


class NoRoot(Exception):
    """A root could not be made: the mirror is not available."""


def make_root(release, packages):
    """The directory of a pristine root with these packages. Only one process at a time makes one."""
    cache = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "riposte")
    root = os.path.join(cache, f"system-{release}")
    mark = os.path.join(root, ".complete")
    wanted = " ".join(packages)
    os.makedirs(cache, exist_ok=True)
    with open(root + ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            with open(mark, encoding="utf-8") as file:
                if set(packages) <= set(file.read().split()) and time.time() - os.path.getmtime(mark) < MONTH_SECONDS:
                    return root
        except OSError:
            pass
        print(f"# making a root of {release} in {root}", flush=True)
        subprocess.run(["rm", "-rf", "--one-file-system", root], check=True)
        made = subprocess.run(["timeout", "400", "mmdebstrap", "--quiet", "--variant=minbase",
                               "--include=" + ",".join(packages), release, root],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if made.returncode:
            raise NoRoot((made.stderr.strip().splitlines() or ["mmdebstrap failed"])[-1])
        with open(mark, "w", encoding="utf-8") as file:
            file.write(wanted)
    return root


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(child) for child in file.read().split()]


class Machine:
    """One boot. Use as a context, or call close(); it is closed at exit in any case."""

    def __init__(self, root):
        self.directory = tempfile.mkdtemp(prefix="riposte-system-")
        self.console = tempfile.TemporaryFile()
        self.leader = None
        self.process = None
        atexit.register(self.close)
        self._boot(root)
        try:
            self._wait_until_up()
        except BaseException:
            self.show_console()
            self.close()
            raise

    def _boot(self, root):
        parent = os.getpid()

        def end_with_the_test():
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:
                os._exit(1)

        self.process = subprocess.Popen(
            [os.path.join(os.path.dirname(os.path.abspath(__file__)), "boot"), root, self.directory],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.console,
            start_new_session=True, preexec_fn=end_with_the_test)

    def _wait_until_up(self):
        first = self.process.stdout.readline().split()
        if len(first) != 2:
            raise AssertionError("systemd-nspawn was not started")
        nspawn = int(first[1])

        def leader():
            if self.process.poll() is not None:
                raise AssertionError("systemd-nspawn has ended")
            found = children(nspawn)
            return found and os.path.exists(f"/proc/{found[0]}/root/run/systemd/private") and found[0]
        self.leader = await_true(leader, "systemd is there")
        state = self.run("systemctl", "is-system-running", "--wait", check=False).stdout.strip()
        if state != "running":
            raise AssertionError(f"the machine is {state}: "
                                 + self.run("systemctl", "--failed", "--plain", check=False).stdout)

    # Commands and files

    def run(self, *command, check=True, timeout=WAIT, input=None):
        """Runs a command in the container, as root; stdout and stderr come as text."""
        done = subprocess.run(
            ["nsenter", "-t", str(self.leader), "-a", "env", "-i",
             "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "TERM=dumb",
             "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0", "DEBIAN_FRONTEND=noninteractive",
             "COLUMNS=200", *command],
            capture_output=True, text=True, errors="replace", timeout=timeout, check=False,
            **({"input": input} if input is not None else {"stdin": subprocess.DEVNULL}))
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)}: status {done.returncode}\n{done.stdout}"
                                 f"{done.stderr}")
        return done

    def systemctl(self, *arguments, check=True):
        return self.run("systemctl", *arguments, check=check)

    def show(self, unit, *properties):
        """The values of a unit's properties; a single one is not in a list."""
        text = self.systemctl("show", unit, "-p", ",".join(properties)).stdout
        found = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        values = [found.get(name, "") for name in properties]
        return values[0] if len(values) == 1 else values

    def path(self, name):
        """The host's path of a file of the container."""
        return f"/proc/{self.leader}/root{name}"

    def write(self, name, text):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)

    def read(self, name):
        with open(self.path(name), encoding="utf-8") as file:
            return file.read()

    def copy_in(self, source, directory="/root"):
        """Returns the name in the container."""
        target = os.path.join(directory, os.path.basename(source))
        os.makedirs(self.path(directory), exist_ok=True)
        shutil.copyfile(source, self.path(target))
        return target

    def journal(self, *arguments):
        """The output of journalctl, including everything logged before, since the journal may lag behind."""
        self.run("journalctl", "--sync")
        return self.run("journalctl", "--no-pager", *arguments).stdout

    def in_network(self, *command):
        """The beginning of a command line that runs on the host with only the container's network."""
        return ["nsenter", "-t", str(self.leader), "-n", *command]

    # Its end

    def show_console(self):
        self.console.seek(0)
        for line in self.console.read().decode("ascii", "backslashreplace").splitlines()[-40:]:
            print("#   " + line, flush=True)

    def close(self):
        """Ends it at once; `boot` removes what it set up. Raises if something is left."""
        atexit.unregister(self.close)
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
        if self.process is not None:
            self.process.communicate(timeout=WAIT)
        self.console.close()
        if os.path.exists(self.directory):
            raise AssertionError(f"{self.directory} is left")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


if __name__ == "__main__":  # a root for tools/dev/guest_system.py; its directory is the last line
    try:
        print(make_root(sys.argv[1], sys.argv[2:]))
    except NoRoot as problem:
        sys.exit(str(problem))
