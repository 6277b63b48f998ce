"""The alerts and the dashboard for the probers of a fleet, and the example of ten hosts: compared with the text that
a prober exposes (tests/unit/client/golden, which a unit test holds to the exporter), and read by the packaged
Prometheus (Debian: prometheus) in both formats.
"""

import json
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import client
from daemon import RIPOSTED, WAIT
from examples import (EXAMPLES, ExampleTests, PromtoolTests, check_names, dashboard_queries, expressions_of,
                      labels_of)
from prometheus import fetch

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "unit" / "client" / "golden"
MANUAL = EXAMPLES.parent / "man" / "riposte-probe-metrics.7.scd"


class ProbeExamples(ExampleTests, unittest.TestCase):
    rules = EXAMPLES / "prometheus" / "riposte-probe.rules.yml"
    dashboard = EXAMPLES / "grafana" / "riposte-probe.json"
    rules_count = 23

    def test_promtool_accepts_the_text(self):
        text = (GOLDEN / "probe_metrics.prom").read_text(encoding="utf-8")
        self.assertEqual(self.promtool("check", "metrics", cwd=GOLDEN, stdin=text), "")

    def test_every_query_names_existing_metrics(self):
        text = (GOLDEN / "probe_metrics.prom").read_text(encoding="utf-8")
        text += 'riposte_dropped_total{transport="udp",reason="prefix_rate"} 0\n'  # of the responder
        text += "".join(f'riposte_dropped_total{{transport="udp",reason="{reason}"}} 0\n'
                        for reason in ("crowded", "newcomer_rate", "rate"))
        rules = self.rules.read_text(encoding="utf-8")
        queries = dashboard_queries(self.dashboard) + expressions_of(rules)
        self.assertGreater(len(queries), 40)
        # Left out: datagrams of others need no action; an interval and a version are looked up, and a
        # group's number of targets is in the lists.
        check_names(self, queries, text, rules, left_out={
            "riposte_probe_stray_total", "riposte_probe_interval_seconds",
            "riposte_probe_build_info", "riposte_probe_group_targets",
            "riposte_discovery_failures_total"})

    def test_the_manual_page_explains_each_metric_with_its_labels_and_no_other(self):
        text = (GOLDEN / "probe_metrics.prom").read_text(encoding="utf-8")
        labels = labels_of(text)
        exposed = {}
        for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M):
            of = labels.get(name, {}) or labels.get(name + "_count", {})
            exposed[name] = (kind, {label for label in of if not label.startswith("target_")})
        page = MANUAL.read_text(encoding="utf-8").replace("\\_", "_")
        explained = {name: (kind, {label.strip("_") for label in of.split(",")} - {""}) for name, of, kind in
                     re.findall(r"^\*([a-z_]+)\*(?:\{([a-z_,]+)\})?, ([a-z]+)\n\t\S", page, re.M)}
        self.assertEqual(explained, exposed)
        results = re.search(r"^_result_\n((?:\t.*\n)+)", page, re.M)[1]
        for result in labels["riposte_probe_results_total"]["result"]:
            self.assertIn(f"_{result}_", results)

    def test_every_alert_says_what_to_do(self):
        text = self.rules.read_text(encoding="utf-8")
        for alert in text.split("- alert: ")[1:]:
            self.assertIn("description: >-", alert)


class Fleet(PromtoolTests, unittest.TestCase):
    """packaging/examples/fleet: ten hosts, each with riposted and a prober, and one Prometheus."""

    FILES = EXAMPLES / "fleet"

    def test_one_list_is_for_prometheus_and_the_probers_alike(self):
        groups = json.loads((self.FILES / "targets.d" / "fleet.json").read_text(encoding="utf-8"))
        targets = [target for group in groups for target in group["targets"]]
        self.assertEqual(len(set(targets)), 10)
        self.assertEqual(len(targets), 10)
        for group in groups:
            self.assertEqual(set(group["labels"]), {"site", "rack"})
        with tempfile.TemporaryDirectory() as directory:
            for rules in (EXAMPLES / "prometheus").glob("*.rules.yml"):
                shutil.copy(rules, directory)
            text = (self.FILES / "prometheus.yml").read_text(encoding="utf-8")
            text = text.replace("/etc/riposte/targets.d", str(self.FILES / "targets.d"))
            pathlib.Path(directory, "prometheus.yml").write_text(text, encoding="utf-8")
            said = self.promtool("check", "config", "prometheus.yml", cwd=directory)
        self.assertIn("2 rule files found", said)
        self.assertNotIn("WARN", said)

    def test_riposte_probe_accepts_its_configuration(self):
        text = (self.FILES / "probe.toml").read_text(encoding="utf-8")
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory, "probe.toml")
            path.write_text(text.replace("/etc/riposte/targets.d", str(self.FILES / "targets.d")), encoding="utf-8")
            done = client.run("probe", "-c", path, "--check")
        self.assertEqual(done.returncode, 0, done)
        self.assertIn("10 targets", done.stdout)

    def test_its_unit_serves_where_prometheus_scrapes(self):
        unit = (self.FILES / "riposte-probe.service").read_text(encoding="utf-8")
        command = re.search(r"^ExecStart=riposte (.+)$", unit, re.M)[1].split()
        port = re.fullmatch(r"tcp://\*:(\d+)", command[-1])[1]
        prometheus = (self.FILES / "prometheus.yml").read_text(encoding="utf-8")
        job = prometheus.split("job_name: ")[1]
        self.assertTrue(job.startswith("riposte-probe\n"))
        self.assertIn(f"replacement: '$1:{port}'", job)
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory, "probe.toml")
            text = (self.FILES / "probe.toml").read_text(encoding="utf-8")
            path.write_text(text.replace("/etc/riposte/targets.d", directory), encoding="utf-8")
            command[command.index("/etc/riposte/probe.toml")] = path
            command[-1] = command[-1].replace(port, "0")  # others may run on this machine
            with client.Running(*command) as prober:
                line = prober.error_line()
                while "served at" not in line:
                    line = prober.error_line()
                served = re.search(r"served at tcp://\S+:(\d+)", line)[1]
                found = fetch(f"http://127.0.0.1:{served}/metrics")
        self.assertIn("riposte_discovery_targets{", found)

    def test_systemd_finds_no_fault_in_its_unit(self):
        if shutil.which("systemd-analyze") is None:
            self.skipTest("systemd-analyze is not installed (Debian: systemd)")
        unit = str(self.FILES / "riposte-probe.service")
        done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=15", unit],
                              text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=WAIT, check=False)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertNotIn("Unknown", done.stdout)

    def test_riposted_accepts_its_configuration(self):
        done = subprocess.run([RIPOSTED, "--check", "-c", str(self.FILES / "riposted.toml")], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=WAIT, check=False)
        self.assertEqual(done.returncode, 0, done.stdout)


if __name__ == "__main__":
    unittest.main()
