"""tools/soak: the guest `hostile` for long, with a new seed, on both vendors at the same time."""
# SPDX-License-Identifier: BSD-2-Clause
import os
import random
import re
import subprocess
import sys
import threading
import time

from nosnoop import paths
from nosnoop.status import USAGE

BEDS = ("svm", "vmx")
OPERATIONS = 10**8  # in all: each bed takes runs as fast as it ends them
RUN = 10**6         # operations of one run; each has a seed of its own
RUN_TIMEOUT = 1800  # wall seconds
MINUTE = 60


def number(name, default):
    """An environment variable's positive number; no or an empty one: DEFAULT."""
    text = os.environ.get(name) or str(default)
    if not text.isdecimal() or int(text) == 0:
        raise ValueError(f"{name}={text} is no positive number")
    return int(text)


def seeds(seed, operations):
    """The runs that make OPERATIONS from SEED: (seed, operations) each."""
    runs = []
    for index, done in enumerate(range(0, operations, RUN)):
        runs.append((seed + index, min(RUN, operations - done)))
    return runs


class Runs:
    """The runs that are still to be made, handed out one by one, until one has failed."""

    def __init__(self, runs):
        self.left = list(reversed(runs))
        self.lock = threading.Lock()

    def __iter__(self):
        return self

    def __next__(self):
        with self.lock:
            if not self.left:
                raise StopIteration
            return self.left.pop()

    def end(self):
        """Hands out no more."""
        with self.lock:
            self.left.clear()


class Bed:
    """What one bed makes of the runs, one after the other."""

    def __init__(self, name, runs, directory):
        self.name = name
        self.runs = runs
        self.directory = directory
        self.done = 0
        self.failure = None

    def command(self, seed, operations):
        """One run's command line."""
        return [sys.executable, str(paths.ROOT / "tools/run"), "--bed", self.name,
                "--timeout", str(RUN_TIMEOUT), "--log", str(self.log(seed)),
                "--cmdline", f"seed={seed} ops={operations}",
                str(paths.built("guests/hostile.elf"))]

    def log(self, seed):
        """Where a run's log goes."""
        return self.directory / f"{self.name}-{seed}.log"

    def follow(self):
        """Takes runs until there are no more."""
        for seed, operations in self.runs:
            done = subprocess.run(self.command(seed, operations), stdin=subprocess.DEVNULL,
                                  capture_output=True, check=False)
            self.failure = problem(done.returncode, self.log(seed))
            if self.failure:
                self.failure = f"{self.name}: seed {seed}: {self.failure}"
                self.log(seed).with_suffix(".guest").write_bytes(done.stdout + done.stderr)
                self.runs.end()
                return
            self.log(seed).unlink()
            self.done += operations


def problem(status, log):
    """What is wrong with a run that ended with STATUS and wrote LOG, or None."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    if match := re.search(r"(?:panic|stopped):.*", text):
        return f"status {status}, {match[0]}; see {log}"
    return f"status {status}; see {log}" if status != 0 else None


def progress(beds, operations, started):
    """One line: how far they are."""
    done = sum(bed.done for bed in beds)
    return (f"{int(time.monotonic() - started) // MINUTE} min: {done} of {operations}, "
            f"{shares(beds)}")


def shares(beds):
    """What each bed did."""
    return ", ".join(f"{bed.done} on {bed.name}" for bed in beds)


def problems(beds, operations):
    """What is wrong with the runs of BEDS, one line each."""
    failures = [bed.failure for bed in beds if bed.failure]
    done = sum(bed.done for bed in beds)
    if not failures and done != operations:
        failures.append(f"only {done} of {operations} operations were made")
    return failures


def run(seed, operations):
    """Runs all beds, and returns them."""
    directory = paths.BUILD / "soak" / str(seed)
    directory.mkdir(parents=True, exist_ok=True)
    runs = Runs(seeds(seed, operations))
    beds = [Bed(name, runs, directory) for name in BEDS]
    threads = [threading.Thread(target=bed.follow, daemon=True) for bed in beds]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(MINUTE)
            print(progress(beds, operations, started), flush=True)
    return beds


def main():
    """Returns the exit status of tools/soak: 1 where a run failed."""
    try:
        operations = number("SOAK_OPS", OPERATIONS)
        seed = number("SOAK_SEED", random.randrange(1, 10**9))
    except ValueError as wrong:
        print(f"tools/soak: {wrong}", file=sys.stderr)
        return USAGE
    print(f"soak: SOAK_SEED={seed} SOAK_OPS={operations}, on {' and '.join(BEDS)}", flush=True)
    beds = run(seed, operations)
    failures = problems(beds, operations)
    for failure in failures:
        print(failure)
    if failures:
        print(f"FAIL: SOAK_SEED={seed} repeats it")
        return 1
    print(f"PASS: {operations} hostile operations, {shares(beds)}")
    return 0
