"""What came out of the stages of `./dev test`: one line a test in a file of tab-separated values,

    passed|failed|skipped  STAGE  NAME  REASON

    results.py collect STAGE testlog.json FILE    adds what Meson logged: each line of TAP is a test
    results.py tap STAGE PROGRAM STATUS TAP FILE  adds what a program wrote into TAP, and its status
    results.py count STAGE FILE                   "N passed, ..." of one stage
    results.py report FILE                        skips with their reasons, failures, the summary
"""

import json
import re
import sys

TAP_LINE = re.compile(r"^(?P<not>not )?ok\b\s*\d*\s*(?:- )?(?P<name>(?:\\#|[^#])*)"
                      r"(?:# SKIP\S*\s*(?P<reason>.*))?")


def tap_results(program, text):
    """(result, name, reason, the comment lines before it) of each test in a TAP stream."""
    comments = []
    for line in text.splitlines():
        if line.startswith("#"):
            comments.append(line)
            continue
        found = TAP_LINE.match(line)
        if not found:
            continue
        name = f"{program}: {found['name'].strip()}"
        if found["not"]:
            yield "failed", name, "", comments
        elif found["reason"] is not None:
            yield "skipped", name, found["reason"].strip() or "no reason given", []
        else:
            yield "passed", name, "", []
        comments = []


def of_one_program(entry):
    """A program that crashed, hung or lost its plan has failed even if each line it got out is ok."""
    program = entry["name"].rpartition(" / ")[2].split(":")[-1].strip()
    tests = list(tap_results(program, entry.get("stdout") or ""))
    good = entry["result"] in ("OK", "SKIP")
    if not tests:
        what = "no test was run" if good else entry["result"]
        tests = [("failed", program, what, (entry.get("stdout") or "").splitlines()[-20:])]
    elif not good and not any(result == "failed" for result, *_ in tests):
        tests.append(("failed", program, f"{entry['result']}, exit code {entry.get('returncode')}", []))
    if any(result == "failed" for result, *_ in tests) and entry.get("stderr"):
        tests[-1][3].extend("# " + line for line in entry["stderr"].splitlines()[-40:])
    return tests


def collect_tap(stage, program, status, tap_path, path):
    with open(tap_path, encoding="utf-8", errors="replace") as file:
        text = file.read()
    result = "OK" if status == "0" else "FAIL"
    add(stage, [{"name": program, "result": result, "returncode": status, "stdout": text}], path)


def collect(stage, log_path, path):
    try:
        with open(log_path, encoding="utf-8", errors="replace") as file:
            entries = [json.loads(line) for line in file if line.strip()]
    except OSError:
        entries = []
    if not entries:
        entries = [{"name": "meson test", "result": "no test was run at all", "stdout": ""}]
    add(stage, entries, path)


def add(stage, entries, path):
    with open(path, "a", encoding="utf-8") as out:
        for entry in entries:
            for result, name, reason, comments in of_one_program(entry):
                out.write("\t".join((result, stage, name.replace("\t", " "), reason)) + "\n")
                if comments:
                    print("\n".join(comments[-80:]))
                if result == "failed":
                    print(f"not ok - {stage}: {name}{': ' + reason if reason else ''}")


def read(path):
    with open(path, encoding="utf-8") as file:
        return [(line.rstrip("\n").split("\t") + [""])[:4] for line in file if line.strip()]


def summary(rows):
    counts = [sum(row[0] == result for row in rows) for result in ("passed", "failed", "skipped")]
    return "{} passed, {} failed, {} skipped".format(*counts)


def report(path):
    rows = read(path)
    for result, title in (("skipped", "Skipped"), ("failed", "Failed")):
        chosen = [row for row in rows if row[0] == result]
        if chosen:
            print(f"\n==> {title}")
        for _, stage, name, reason in chosen:
            print(f"    {stage}: {name}{': ' + reason if reason else ''}")
    print("\n" + summary(rows))
    passed = any(row[0] == "passed" for row in rows)
    return 0 if passed and not any(row[0] == "failed" for row in rows) else 1


def main(arguments):
    if len(arguments) == 4 and arguments[0] == "collect":
        return collect(*arguments[1:])
    if len(arguments) == 6 and arguments[0] == "tap":
        return collect_tap(*arguments[1:])
    if len(arguments) == 3 and arguments[0] == "count":
        print(summary([row for row in read(arguments[2]) if row[1] == arguments[1]]))
        return 0
    if len(arguments) == 2 and arguments[0] == "report":
        return report(arguments[1])
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
