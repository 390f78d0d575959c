"""Reads the KTAP lines among what a guest prints."""
# SPDX-License-Identifier: BSD-2-Clause
import re
from dataclasses import dataclass

PLAN = re.compile(r"1\.\.(\d+)\s*(?:#.*)?$")
RESULT = re.compile(r"(not )?ok\s+(\d+)\s*(?:-\s+)?([^#]*?)\s*(?:#\s*(SKIP\b)?\s*(.*))?$")


@dataclass(frozen=True)
class Result:
    """One numbered result."""
    name: str
    verdict: str  # "ok", "not ok" or "skip"
    reason: str   # of a skip


class Ktap:
    """The plan and the results seen so far. Without a plan nothing is judged."""

    def __init__(self):
        self.plan = None
        self.results = []

    @classmethod
    def of(cls, text):
        """Reads all of TEXT."""
        ktap = cls()
        for line in text.splitlines():
            ktap.line(line)
        return ktap

    def line(self, line):
        """Takes one line; what is not KTAP is passed over."""
        line = line.rstrip()
        if match := PLAN.match(line):
            self.plan = (self.plan or 0) + int(match[1])
        elif match := RESULT.match(line):
            skipped = bool(match[4]) and not match[1]
            verdict = "skip" if skipped else "not ok" if match[1] else "ok"
            self.results.append(Result(match[3], verdict, (match[5] or "") if skipped else ""))

    def problem(self):
        """Why this is a failure, or None."""
        if self.plan is None:
            return None
        bad = [result.name for result in self.results if result.verdict == "not ok"]
        if bad:
            return "not ok: " + ", ".join(bad)
        if len(self.results) != self.plan:
            return f"{len(self.results)} results where {self.plan} were planned"
        return None

    def all_skipped(self):
        """Whether there was something to run and none of it could be."""
        return bool(self.results) and all(r.verdict == "skip" for r in self.results)
