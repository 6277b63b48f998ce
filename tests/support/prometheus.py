"""The packaged Prometheus (Debian: prometheus) as a test runs it."""

import json
import os
import signal
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request

from daemon import free_port
from patience import WAIT


def fetch(url, **headers):
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=WAIT) as answer:
        return answer.read().decode()


class Prometheus:
    """A Prometheus of the test's own, which scrapes `targets` each second, as `job`."""

    def __init__(self, job, targets, rules=()):
        self.directory = tempfile.TemporaryDirectory(prefix="riposte-prometheus-")
        self.port = free_port()
        config = os.path.join(self.directory.name, "prometheus.yml")
        with open(config, "w", encoding="utf-8") as file:
            json.dump({"global": {"scrape_interval": "1s"}, "rule_files": [str(path) for path in rules],
                       "scrape_configs": [{"job_name": job,
                                           "static_configs": [{"targets": list(targets)}]}]}, file)
        self.log = open(os.path.join(self.directory.name, "log"), "w+", encoding="utf-8")
        self.process = subprocess.Popen(
            ["prometheus", "--config.file", config,
             "--storage.tsdb.path", os.path.join(self.directory.name, "data"),
             "--web.listen-address", f"127.0.0.1:{self.port}"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def values(self, query):
        """{labels: value} of an instant query; the labels are sorted pairs."""
        url = f"http://127.0.0.1:{self.port}/api/v1/query?" + urllib.parse.urlencode({"query": query})
        if self.process.poll() is not None:
            self.log.seek(0)
            raise AssertionError("prometheus has ended:\n" + self.log.read()[-2000:])
        try:
            answer = json.loads(fetch(url))
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return {}
        return {tuple(sorted(item["metric"].items())): float(item["value"][1])
                for item in answer["data"]["result"]}

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(WAIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        self.directory.cleanup()
