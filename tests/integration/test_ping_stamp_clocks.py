"""One-way delays between clocks that are said to be synchronized, by riposted with clock = "system" and by riposte: what
adjtimex(2) says is a library's here, which is loaded before the C library."""

import os
import shutil
import subprocess
import tempfile
import time
import unittest

from client import run, run_json
from daemon import SANITIZER, RiposteTest, needs_program
from peers import UdpPeer

LIBRARY = """
#include <stdlib.h>
#include <string.h>
#include <sys/timex.h>

int adjtimex(struct timex *state)
{
    memset(state, 0, sizeof *state);
    state->maxerror = atol(getenv("FAKE_MAXERROR_US"));
    return TIME_OK;
}
"""
THERE, BACK = 0.015, 0.009  # seconds
UNKNOWN_US = 16_000_000


@needs_program("cc")
@unittest.skipIf(SANITIZER != "none", "a sanitizer must be the first library")
class Synchronized(RiposteTest):
    def setUp(self):
        super().setUp()
        directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, directory)
        self.library = os.path.join(directory, "clock.so")
        subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", self.library], input=LIBRARY, text=True,
                       check=True)

    def clock(self, error_us):
        return {"LD_PRELOAD": self.library, "FAKE_MAXERROR_US": str(error_us)}

    def ping(self, theirs_us, ours_us, runner=run_json, form="-j"):
        """Over a way that takes longer there than back."""
        daemon = self.daemon(config='[[listen]]\nservice = "stamp"\naddress = "127.0.0.1:0"\nclock = "system"\n',
                             environment=self.clock(theirs_us))
        upstream = self.datagram_socket()
        upstream.connect(("127.0.0.1", daemon.port("stamp", "udp")))

        def relay(server, data, client):
            time.sleep(THERE)
            upstream.send(data)
            answer = upstream.recv(2000)
            time.sleep(BACK)
            server.sendto(answer, client)

        with UdpPeer(relay) as peer:
            return runner("ping", form, "-c", 10, "-i", "40ms", "-W", "20s", peer.endpoint.replace("udp", "stamp"),
                          env=self.clock(ours_us))

    def test_the_bound_is_the_two_estimates(self):
        stamp = self.ping(3000, 5000).json["endpoints"][0]["stamp"]
        claims = stamp["reflector"]["clock"]
        self.assertEqual(claims["synchronized"], stamp["reflector"]["answers"])
        part, = stamp["one_way"]
        self.assertEqual((part["basis"], part["contradicts"]), ("synchronized", False))
        # An estimate has eight bits, and is rounded up.
        self.assertGreaterEqual(part["bound"], 0.008)
        self.assertLessEqual(part["bound"], 0.008 * (1 + 2**-7))
        self.assertGreaterEqual(claims["error_min"], 0.003)
        # The delays are as they are, not halves of the round trip.
        self.assertGreaterEqual(part["there"]["min"], THERE)
        self.assertGreaterEqual(part["back"]["min"], BACK)

    def test_the_summary_prints_it(self):
        text = " ".join(self.ping(3000, 5000, run, "-q").stdout.split())
        self.assertRegex(text, r"there \d+(\.\d+)? ms \+- 8\.[01], back \d+(\.\d+)? ms \+- 8\.[01] "
                               r"\(medians; clocks synchronized\)")
        self.assertIn("its clock, as it says: synchronized, error 3", text)

    def test_a_clock_that_is_not_synchronized_has_no_say(self):
        for theirs_us, ours_us in ((UNKNOWN_US, 5000), (3000, UNKNOWN_US)):
            part, = self.ping(theirs_us, ours_us).json["endpoints"][0]["stamp"]["one_way"]
            self.assertEqual(part["basis"], "round_trips")
            self.assertGreaterEqual(part["bound"], (THERE + BACK) / 2)


if __name__ == "__main__":
    unittest.main()
