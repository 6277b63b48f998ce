"""Measurements of a test for the table of soak.py: one JSON object per line in RIPOSTE_SOAK_REPORT."""

import json
import os

REPORT = os.environ.get("RIPOSTE_SOAK_REPORT")


def report(record):
    """Writes nothing unless RIPOSTE_SOAK_REPORT is set."""
    if REPORT:
        with open(REPORT, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
