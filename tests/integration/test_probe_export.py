"""riposte probe serves its figures: whole at every scrape, under hostile clients, and as the packaged Prometheus
(Debian: prometheus) reads them.
"""

import html.parser
import json
import os
import pathlib
import re
import signal
import socket
import tempfile
import unittest

from client import Running
from daemon import WAIT, RiposteTest, await_true
from examples import EXAMPLES, need
from prometheus import Prometheus, fetch

CONFIG = """
[metrics]
listen = "tcp://127.0.0.1:0"
[[listen]]
service = "echo"
address = ["udp://127.0.0.1:0"]
"""
PROBE = """
[probe]
interval = "20ms"
timeout = "500ms"
self = "none"
[[discover]]
file = "targets.json"
[export]
group = ["site"]
"""


def samples(text):
    """{(metric, labels as sorted pairs): value} of the text format."""
    found = {}
    for name, labels, value in re.findall(r"^([a-z_]+)(?:\{(.*)\})? (\S+)$", text, re.M):
        found[name, tuple(sorted(re.findall(r'(\w+)="([^"]*)"', labels)))] = float(value)
    return found


def of_target(found, metric, target):
    return sum(value for (name, labels), value in found.items()
               if name == metric and ("target", target) in labels)


def is_stuck(port, client):
    """Does the server's socket hold bytes for the client that it does not read?"""
    peer = client.getsockname()[1]
    for line in pathlib.Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        local, remote, _, queues = line.split()[1:5]
        if int(local.split(":")[1], 16) == port and int(remote.split(":")[1], 16) == peer:
            return int(queues.split(":")[0], 16) > 0
    return False


class Export(RiposteTest):
    def prober(self, others=0, **keys):
        """A prober of an echo and of a port where nothing listens; its address, and the names of the two. `others`:
        so many more targets where nothing listens. `keys` replace those of [probe]."""
        daemon = self.daemon(config=CONFIG)
        refuser = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(refuser.close)
        refuser.bind(("127.0.0.1", 0))
        port = refuser.getsockname()[1]
        refuser.connect(("127.0.0.9", 9))  # so that the port stays ours, and is closed to the prober
        good, bad = f"127.0.0.1:{daemon.port('echo', 'udp')}", f"127.0.0.1:{port}"
        folder = tempfile.TemporaryDirectory(prefix="riposte-probe-")
        self.addCleanup(folder.cleanup)
        with open(os.path.join(folder.name, "targets.json"), "w", encoding="utf-8") as file:
            json.dump([{"targets": [good], "labels": {"site": "fra"}},
                       {"targets": [bad] + [f"127.1.{each // 250}.{each % 250 + 1}:{port}" for each in range(others)],
                        "labels": {"site": "ams"}}], file)
        config = os.path.join(folder.name, "probe.toml")
        text = PROBE.replace("targets.json", os.path.join(folder.name, "targets.json"))
        for key, value in keys.items():
            text = re.sub(rf"^{key} = .*$", f'{key} = "{value}"', text, flags=re.M)
        with open(config, "w", encoding="utf-8") as file:
            file.write(text)
        prober = Running("probe", "-c", config, "--listen", "tcp://127.0.0.1:0")
        self.addCleanup(prober.__exit__)
        address = re.search(r"served at tcp://(\S+)", prober.error_line())[1]
        return prober, address, good, bad

    def test_each_scrape_is_whole_and_counters_never_fall(self):
        prober, address, good, bad = self.prober()
        before = {}

        def answered_and_refused():
            nonlocal before
            found = samples(fetch(f"http://{address}/metrics"))
            for target in (good, bad):
                self.assertEqual(
                    of_target(found, "riposte_probe_sent_total", target),
                    of_target(found, "riposte_probe_results_total", target) +
                    of_target(found, "riposte_probe_waiting", target))
            for (name, labels), value in found.items():
                if name.endswith(("_total", "_count", "_bucket", "_sum")):
                    self.assertGreaterEqual(value, before.get((name, labels), 0), (name, labels))
            before = found
            return of_target(found, "riposte_probe_rtt_seconds_count", good) > 20 and any(
                value > 20 for (name, labels), value in found.items()
                if name == "riposte_probe_results_total" and ("result", "refused") in labels)
        await_true(answered_and_refused, "20 answers and 20 refusals")
        rows = {dict(labels)["result"] for name, labels in before
                if name == "riposte_probe_results_total" and ("target", good) in labels}
        self.assertEqual(len(rows), 9)
        group = {dict(labels)["target_site"] for name, labels in before if name == "riposte_probe_group_targets"}
        self.assertEqual(group, {"fra", "ams"})

        document = json.loads(fetch(f"http://{address}/targets"))
        self.assertEqual([each["target"] for each in document["targets"]], sorted([good, bad]))
        page = fetch(f"http://{address}/")
        self.assertLess(page.index(bad), page.index(good), "the worst first")
        Page().feed(page)
        open_metrics = fetch(f"http://{address}/metrics", Accept="application/openmetrics-text")
        self.assertTrue(open_metrics.endswith("# EOF\n"))
        self.assertIn("riposte_probe_results_created{", open_metrics)

        prober.signal(signal.SIGINT)
        self.assertEqual(prober.finish().returncode, 1)  # one target never answered

    def test_slow_and_endless_clients_do_not_keep_it_from_probing(self):
        prober, address, good, _ = self.prober(others=400, interval="1s", timeout="10s")
        host, port = address.split(":")
        crowd = []
        for number in range(80):
            client = socket.socket()
            self.addCleanup(client.close)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(WAIT)
            client.connect((host, int(port)))
            if number % 2:
                client.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")  # and never reads
            else:
                client.sendall(b"GET /met")
            crowd.append(client)
        stuck = False

        def goes_on():
            nonlocal stuck
            stuck = stuck or any(is_stuck(int(port), client) for client in crowd)
            found = samples(fetch(f"http://{address}/metrics"))
            self.assertEqual(sum(value for (name, labels), value in found.items()
                                 if name == "riposte_probe_results_total" and ("target", good) in labels
                                 and ("result", "answered") not in labels), 0)
            self.assertEqual(found["riposte_probe_skipped_total", ()], 0)
            return stuck and of_target(found, "riposte_probe_sent_total", good) > 3
        await_true(goes_on, "a document fills a socket, and it probes on")
        self.assertIsNone(prober.poll())

    def test_prometheus_sees_no_loss_where_there_is_none(self):
        need("prometheus")
        _, address, good, bad = self.prober()
        prometheus = Prometheus("riposte-probe", [address],
                                [EXAMPLES / "prometheus" / "riposte-probe.rules.yml"])
        self.addCleanup(prometheus.close)
        lost = 'result=~"lost|refused|unreachable|closed|too_big"'
        loss = (f"sum by (target) (increase(riposte_probe_results_total{{{lost}}}[1m])) / "
                'sum by (target) (increase(riposte_probe_results_total{result!="local"}[1m]))')
        await_true(lambda: len(prometheus.values(loss)) == 2, "two scrapes", 2 * WAIT)
        self.assertEqual(prometheus.values(loss), {(("target", good),): 0.0, (("target", bad),): 1.0})
        unbalanced = ("riposte_probe_sent_total != "
                      "sum without (result) (riposte_probe_results_total) + riposte_probe_waiting")
        self.assertEqual(prometheus.values(f"count_over_time(({unbalanced})[1m:1s])"), {})
        self.assertEqual(
            prometheus.values("sum by (target_site) (riposte_probe_group_targets)"),
            {(("target_site", "fra"),): 1.0, (("target_site", "ams"),): 1.0})
        self.assertEqual(prometheus.values("count by () (riposte_probe_rtt_seconds_bucket)"), {(): 52.0})

    def test_an_address_that_cannot_be_served_at_is_refused_with_what_to_do(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
            with Running("probe", "--targets", "/dev/null", "--listen", address) as prober:
                done = prober.finish()
        self.assertEqual(done.returncode, 2)
        self.assertIn(f"--listen: {address}: another process listens there", done.stderr)


class Page(html.parser.HTMLParser):
    """Fails for a tag that is not closed in its order, for a script, and for anything from elsewhere."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        assert tag != "script" and not {"src", "href"} & {name for name, _ in attrs}, (tag, attrs)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def feed(self, data):
        super().feed(data)
        assert not self.open, self.open


if __name__ == "__main__":
    unittest.main()
