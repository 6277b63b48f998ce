"""The examples of packaging/examples: alerts and recording rules with promtool's tests, and a dashboard. Their
queries may name only what the text of a program exposes.
"""

import json
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

from patience import WAIT

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "packaging" / "examples"


def need(*programs):
    for program in programs:
        if shutil.which(program) is None:
            raise unittest.SkipTest(f"{program} is not installed (Debian: prometheus)")


def dashboard_queries(path):
    dashboard = json.loads(path.read_text(encoding="utf-8"))
    return ([target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])] +
            [each["expr"] for each in dashboard["annotations"]["list"]])


def labels_of(text):
    """{metric: {label: {value, ...}}} of the exposed text."""
    found = {}
    for name, labels in re.findall(r"^([a-z_]+)\{(.*)\} \S+$", text, re.M):
        for label, value in re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels):
            found.setdefault(name, {}).setdefault(label, set()).add(value)
    return found


def matchers_of(query):
    """(metric, label, value) of the selectors of a query, without the labels that Prometheus adds and
    without recorded metrics, which have the labels of their sources."""
    return [(name, label, value)
            for name, matchers in re.findall(r"([a-z0-9_:]+)\{([^}]*)\}", query) if ":" not in name
            for label, value in re.findall(r'(\w+)(?:=~?|!=)"([^"]*)"', matchers)
            if label not in ("job", "instance")]


def expressions_of(rules):
    """The expressions after `expr:` in the forms that the file uses: on its line, or folded below it."""
    found = []
    for match in re.finditer(r"^( *)expr: (>-\n(?:\1 +\S.*\n)+|.*\n)", rules, re.M):
        found.append(" ".join(match[2].removeprefix(">-").split()))
    return found


class PromtoolTests:
    """For a unittest.TestCase that runs promtool."""

    def setUp(self):
        need("promtool")

    def promtool(self, *arguments, cwd, stdin=""):
        done = subprocess.run(["promtool", *arguments], cwd=cwd, text=True, input=stdin,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=WAIT, check=False)
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout


class ExampleTests(PromtoolTests):
    """For a unittest.TestCase that sets `rules` and `dashboard`, paths, and `rules_count`."""

    def rules_tests(self):
        return self.rules.with_suffix(".test.yml")

    def test_rules_are_valid_and_pass_their_tests(self):
        self.assertIn(f"{self.rules_count} rules found",
                      self.promtool("check", "rules", self.rules.name, cwd=self.rules.parent))
        self.assertIn("SUCCESS", self.promtool(
            "test", "rules", self.rules_tests().name, cwd=self.rules.parent))

    def test_every_alert_is_tested_both_ways(self):
        alerts = set(re.findall(r"alert: (\w+)", self.rules.read_text(encoding="utf-8")))
        tests = self.rules_tests().read_text(encoding="utf-8")
        self.assertGreater(len(alerts), 8)
        for alert in alerts:
            self.assertIn(f"alertname: {alert}}}", tests, "silent")
            self.assertRegex(tests, rf'alertname="{alert}"|alertname: {alert}\n *exp_alerts:', "firing")

    def test_each_query_of_the_dashboard_is_valid(self):
        rules = {"groups": [{"name": "dashboard", "rules": [
            {"record": f"query:{number}",
             "expr": query.replace("$__rate_interval", "1m").replace("$job", "a")}
            for number, query in enumerate(dashboard_queries(self.dashboard))]}]}
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory) / "queries.yml"
            path.write_text(json.dumps(rules), encoding="utf-8")
            self.promtool("check", "rules", path.name, cwd=directory)

    def test_panels_have_distinct_ids_places_and_texts(self):
        panels = json.loads(self.dashboard.read_text(encoding="utf-8"))["panels"]
        self.assertEqual(len({panel["id"] for panel in panels}), len(panels))
        places = [(x, y) for place in (panel["gridPos"] for panel in panels)
                  for x in range(place["x"], place["x"] + place["w"])
                  for y in range(place["y"], place["y"] + place["h"])]
        self.assertEqual(len(set(places)), len(places), "panels overlap")
        for panel in panels:
            self.assertLessEqual(panel["gridPos"]["x"] + panel["gridPos"]["w"], 24)
            self.assertTrue(panel["type"] == "row" or panel["description"].endswith((".", "d", "?")))


def check_names(test, queries, text, rules, left_out):
    """Every metric and label of the queries is in the text or recorded by the rules, and every family of the text
    is in a query, but those left out."""
    there = set(re.findall(r"^([a-z_]+)[{ ]", text, re.M)) | {"up", "ALERTS"}
    labels = labels_of(text)
    recorded = set(re.findall(r"record: (\S+)", rules))
    for query in queries:
        names = set(re.findall(r"\b((?:riposte|process)[a-z0-9_:]+)",
                               re.sub(r'"riposte[a-z-]*"', "", query)))
        test.assertTrue(names or re.search(r"\bup\b", query), query)
        test.assertLessEqual(names, there | recorded, query)
        for name, label, value in matchers_of(query):
            test.assertIn(label, labels.get(name, {}), query)
            if not value.startswith("$"):
                test.assertLessEqual(set(value.split("|")), labels[name][label], query)
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in there} - {"ALERTS"}
    shown = " ".join(queries)
    test.assertEqual({name for name in families if not re.search(rf"\b{name}(_bucket)?\b", shown)}, left_out)
