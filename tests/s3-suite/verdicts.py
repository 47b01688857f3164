"""A pytest plugin: writes one line of JSON for each case that has ended, so that a run that is cut short is not lost."""

import json
import os
import re


def pytest_runtest_logreport(report):
    # Of several workers, the one that they report to writes.
    if "PYTEST_XDIST_WORKER" in os.environ:
        return
    worst = report.failed or report.skipped
    if report.when != "call" and not worst:
        return
    # A test that passed and could not be cleaned up after has not passed.
    file, _, case = report.nodeid.partition("::")
    line = {
        "test": f"{os.path.basename(file).removesuffix('.py')}::{case.partition('[')[0]}",
        "case": case,
        "outcome": report.outcome,
        "line": place(report) if worst else 0,
        "why": reason(report) if worst else "",
    }
    with open(os.environ["S3_SUITE_VERDICTS"], "a") as verdicts:
        verdicts.write(json.dumps(line) + "\n")


def place(report):
    """The line of the test, or 0."""
    traceback = getattr(report.longrepr, "reprtraceback", None)
    entries = traceback.reprentries if traceback else []
    return next((entry.reprfileloc.lineno for entry in entries[:1] if entry.reprfileloc), 0)


def reason(report):
    """What went wrong, in a line."""
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is None:
        text = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
    else:
        text = crash.message
    text = " ".join(text.split())
    answer = re.fullmatch(r".*An error occurred \((\w+)\) when calling the (\w+) operation: (.*)", text)
    if answer:
        code, operation, message = answer.groups()
        text = f"{operation} answers {code}: {message}"
    return text[:200]
