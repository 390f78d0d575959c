"""Tests that run on the host: the cmocka programs, and pytest; each test function is a row."""
# SPDX-License-Identifier: BSD-2-Clause
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from nosnoop import paths
from nosnoop.columns import Cell, tail

UNIT_TIMEOUT = 120    # seconds
PYTEST_TIMEOUT = 240  # seconds, of one file; its single tests have their own


def unit_tests():
    """The built unit tests."""
    return sorted(path for path in (paths.BUILD / "unit").glob("test_*")
                  if os.access(path, os.X_OK) and not path.suffix)


def run_unit(program):
    """Runs one cmocka program."""
    before = time.monotonic()
    try:
        done = subprocess.run([program], cwd=paths.ROOT, stdin=subprocess.DEVNULL, text=True,
                              errors="replace", capture_output=True, timeout=UNIT_TIMEOUT)
        output, code = done.stdout + done.stderr, done.returncode
    except subprocess.TimeoutExpired:
        output, code = "time ran out", None
    cell = Cell("PASS", time.monotonic() - before)
    if code != 0:
        cell.fail(f"ended with status {code}")
        cell.details += tail("output", output)
    return cell


def pytest_files():
    """The files of Python tests."""
    return sorted(paths.ROOT.glob("tests/tools/test_*.py")) + \
        sorted(paths.ROOT.glob("tests/system/test_*.py"))


def run_pytest(path, word):
    """Runs a file's tests whose name contains WORD; returns name: cell."""
    with tempfile.TemporaryDirectory(prefix="nosnoop-") as private:
        report = Path(private, "report.xml")
        argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
                "-p", "nosnoop.pytest_limit", f"--junitxml={report}", str(path)]
        environment = dict(os.environ, PYTHONPATH=str(paths.ROOT / "tools"))
        if word:
            environment["NOSNOOP_FILTER"] = word
        before = time.monotonic()
        try:
            done = subprocess.run(argv, cwd=paths.ROOT, env=environment, text=True,
                                  stdin=subprocess.DEVNULL, capture_output=True,
                                  timeout=PYTEST_TIMEOUT)
            output = done.stdout + done.stderr
        except subprocess.TimeoutExpired:
            output = "time ran out"
        if report.is_file():
            return cells_of(report)
        cell = Cell("FAIL", time.monotonic() - before, tail("output", output))
        return {str(path.relative_to(paths.ROOT)): cell}


def cells_of(report):
    """The cells of a JUnit report: the cases of one function are one cell."""
    cells = {}
    for case in ElementTree.parse(report).iter("testcase"):
        module = case.get("classname").rpartition(".")[2] or "pytest"
        function, bracket, parameters = case.get("name").partition("[")
        cell = cells.setdefault(f"{module}::{function}", Cell("SKIP"))
        cell.seconds += float(case.get("time"))
        add_case(cell, case, bracket + parameters)
    return cells


def add_case(cell, case, parameters):
    """Adds one case's result to its function's cell."""
    skipped = case.find("skipped")
    if skipped is not None:
        cell.details.append(skipped.get("message", ""))
    elif cell.verdict == "SKIP":
        cell.verdict = "PASS"
    for child in (*case.iter("failure"), *case.iter("error")):
        cell.fail(f"{parameters} {child.get('message', '')}".split("\n")[0].strip())
        cell.details += tail("output", child.text or "")
