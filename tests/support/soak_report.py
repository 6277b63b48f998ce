"""What a test measured, for the table of soak.py: a JSON object a line in RIPOSTE_SOAK_REPORT."""

import json
import os

REPORT = os.environ.get("RIPOSTE_SOAK_REPORT")


def report(record):
    """Nothing is written where nobody asked for it."""
    if REPORT:
        with open(REPORT, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
