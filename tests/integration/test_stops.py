"""A client that is delayed for a while: stopped (Ctrl-Z), or blocked on its output. It judges replies that arrive
meanwhile by their time of arrival, not by when it reads them.

A peer replies in time or too late, by a seed, and records when, on the client's clock. The model that judges
the client is naive: each reply by itself, by its time. Replies so near the timeout that the test cannot
decide may have either fate.
"""

import fcntl
import os
import random
import re
import tempfile
import time
import unittest
from signal import SIGCONT, SIGQUIT, SIGSTOP

from client import Running, comment, parse_json
from daemon import RiposteTest
from delayed import DelayedEcho, DelayedStream
from patience import FACTOR, seconds
from peers import spelled, wait_until

SEEDS = range(1, 3) if "RIPOSTE_SEED" not in os.environ else [int(os.environ["RIPOSTE_SEED"])]
TIMEOUT_MS = 700
TIMEOUT_NS = TIMEOUT_MS * 1_000_000
#: The tolerance of a printed time. Judging by the time of reading would add more than a second.
SLACK_NS = int(0.3e9 * FACTOR)


def delays(seed):
    """Delays: well in time; too late; never."""
    choices = random.Random(seed)
    return lambda _index: choices.choice((0, 0, choices.uniform(0, 0.3), choices.uniform(0.9, 1.2), None))


class Case(RiposteTest):
    def delayed(self, delay, kind=DelayedEcho):
        peer = kind(delay)
        self.addCleanup(peer.close)
        return peer

    @staticmethod
    def await_probes(peer):
        """The kernel takes a moment until it stamps packets."""
        wait_until(lambda: len(peer.echoed) >= 20, "20 probes")

    def hold_up(self, process, seed):
        """A schedule of stops, each longer than the timeout and than a second, with pauses between them. It
        ends with the client running."""
        choices = random.Random(seed)
        for _ in range(3):
            time.sleep(choices.uniform(0.1, 0.4))
            if process.poll() is not None:
                return
            self.stop(process, choices.uniform(1.1, 1.8))

    @staticmethod
    def stop(process, how_long):
        process.signal(SIGSTOP)
        wait_until(lambda: process.poll() is not None or process.is_stopped(), "stopped")
        time.sleep(how_long)
        process.signal(SIGCONT)

    @staticmethod
    def await_answers(process):
        """Waits until load has measured replies, and consumes its reports of that."""
        def answered():
            process.signal(SIGQUIT)
            return "median" in process.error_line()
        wait_until(answered, "the first answer")

    @staticmethod
    def fate(entry):
        """The expected fate of a probe; None if it is too close to decide."""
        if entry is None or entry.after_ns is None:
            return "lost"
        least, most = entry.took_ns()
        if most < TIMEOUT_NS:
            return "answered"
        return "lost" if least >= TIMEOUT_NS else None


class Ping(Case):
    LINE = re.compile(r"56 bytes from \S+: seq=(\d+) (?:ttl=\d+ )?time=([\d.]+) ms(.*)")
    COUNT = 300

    def judge(self, peer, output):
        """Compares each line with the model."""
        fates, times_ns = {}, {}
        for line in output.splitlines():
            if told := re.match(r"(?:connected in \S+ ms, no answer to|no answer to|no connection for) seq=(\d+) ",
                                line):
                fates[int(told[1])] = "lost"
            elif (told := self.LINE.match(line)) and "(late)" in told[3]:
                fates.setdefault(int(told[1]), "lost")
            elif told:
                fates[int(told[1])] = "answered"
                times_ns[int(told[1])] = float(told[2]) * 1e6
        entries = {number: entry for (_, number), entry in peer.echoed.items()}
        self.assertEqual(set(fates), set(range(1, self.COUNT + 1)), output)
        wrong = []
        for number, fate in fates.items():
            entry = entries.get(number)  # none: it waited behind others on a connection that ended
            right = self.fate(entry)
            if right not in (None, fate):
                wrong.append((number, "should be", right, entry and entry.after_ns and entry.took_ns()))
            elif number in times_ns:
                least, most = entry.took_ns()
                if not least - SLACK_NS <= times_ns[number] <= most + SLACK_NS:
                    wrong.append((number, "took", times_ns[number], "not", entry.took_ns()))
        self.assertEqual(wrong, [], output)
        comment(f"{sum(fate == 'answered' for fate in fates.values())} of {self.COUNT} answered")

    def start(self, peer, *arguments, **keywords):
        process = self.enterContext(Running("ping", "-c", self.COUNT, "-i", "10ms", "-W", f"{TIMEOUT_MS}ms",
                                            *arguments, peer.endpoint, **keywords))
        process.await_handlers()
        return process

    def hold_up_and_judge(self, peer, seed, *arguments):
        with tempfile.TemporaryFile() as output:
            process = self.start(peer, *arguments, stdout=output)
            self.await_probes(peer)
            self.hold_up(process, seed)
            process.finish()
            output.seek(0)
            if isinstance(peer, DelayedStream):
                peer.merge()
            self.judge(peer, output.read().decode())

    def test_a_stopped_ping_judges_by_the_time_of_arrival(self):
        for seed in SEEDS:
            with self.subTest(seed=seed):
                self.hold_up_and_judge(self.delayed(delays(seed)), seed)

    def test_a_stopped_ping_judges_a_stream_by_the_time_of_arrival(self):
        # On one connection a late reply delays those behind it, so that most arrive at once.
        for seed in SEEDS:
            choices = random.Random(seed)
            rare = lambda _index, choices=choices: choices.choice((0,) * 60 + (0.2, None))
            for delay, arguments in ((delays(seed), ("--reconnect",)), (rare, ())):
                with self.subTest(seed=seed, arguments=arguments):
                    self.hold_up_and_judge(self.delayed(delay, DelayedStream), seed, *arguments)

    def test_a_ping_whose_output_blocks_judges_by_the_time_of_arrival(self):
        for seed in SEEDS:
            with self.subTest(seed=seed):
                peer = self.delayed(delays(seed))
                reader, writer = os.pipe()
                fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
                process = self.start(peer, stdout=writer)
                os.close(writer)
                output = b""
                with open(reader, "rb", buffering=0) as pipe:
                    # The pipe fills with a line for each probe; the test repeatedly does not read for a while.
                    while part := pipe.read(4096):
                        output += part
                        if len(output) < 3 * 4096:
                            time.sleep(1.5)
                process.finish()
                self.judge(peer, output.decode())


class Load(Case):
    def test_a_stopped_load_loses_no_reply(self):
        # More connections than one turn of its loop serves, and each has its reply when load continues.
        for transport, arguments in (("tcp", ()), ("tcp", ("--reconnect",)), ("udp", ())):
            with self.subTest(transport=transport, arguments=arguments):
                _, address = self.serve("echo", transport=transport)
                process = self.enterContext(Running(
                    "load", "-j", "--warmup", 0, "-d", f"{seconds(4.5)}s", "-c", 600, "-W", f"{seconds(3)}s",
                    *arguments, spelled(transport, address)))
                process.await_handlers()
                self.await_answers(process)
                self.stop(process, seconds(3.6))
                counts = parse_json(process.finish()).json["counts"]
                self.assertGreater(counts["answered"], 600)
                self.assertEqual(counts["lost"], 0, counts)

    def test_a_stopped_load_judges_datagrams_by_the_time_of_arrival(self):
        for seed in SEEDS:
            with self.subTest(seed=seed):
                choose = delays(seed)
                # The first one only shows that the endpoint answers.
                peer = self.delayed(lambda index, choose=choose: choose(index) if index else 0)
                process = self.enterContext(Running(
                    "load", "-j", "--warmup", 0, "-n", 900, "-c", 200, "-r", 400, "-W",
                    f"{TIMEOUT_MS}ms", peer.endpoint))
                process.await_handlers()
                self.await_probes(peer)
                self.hold_up(process, seed)
                found = parse_json(process.finish()).json
                entries = [entry for entry in peer.echoed.values() if entry.sent_ns]
                # Requests that overflowed the peer's buffer after a stop never arrived.
                self.assertLessEqual(len(entries), found["counts"]["sent"])
                fates = [self.fate(entry) for entry in entries]
                answered, open_ = fates.count("answered"), fates.count(None)
                self.assertLessEqual(answered, found["counts"]["answered"], found["counts"])
                self.assertLessEqual(found["counts"]["answered"], answered + open_, found["counts"])
                self.assertEqual(found["counts"]["answered"] + found["counts"]["lost"],
                                 found["counts"]["sent"])
                longest = max(entry.took_ns()[1] for entry, fate in zip(entries, fates)
                              if fate in (None, "answered") and entry.after_ns)
                self.assertLessEqual(found["latency_from_send"]["max"] * 1e9, longest + SLACK_NS)
                comment(f"{answered} of {len(entries)} answered, {open_} too near to call")


if __name__ == "__main__":
    unittest.main()
