"""
tools/soak: on both vendors at the same time, a storm of IPIs among several CPUs for some minutes,
and then the guest `hostile` for long, each run with a new seed.
"""
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

HOSTILE_CPUS = (1, 2, 1, 4)  # of a run, by its seed

MINUTES = 10       # of the storm
STORM_IPIS = 8000  # of one run
STORM_CPUS = {"svm": 4, "vmx": 2}
OTHER_POLICY = 1   # "wb", by its number in vmm/abi.h
COUNTS = ("IPIs", "timers", "MTRR writes", "policies")


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
                "--cpus", str(HOSTILE_CPUS[seed % len(HOSTILE_CPUS)]),
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
            self.count(done.stdout.decode(errors="replace"), operations)

    def count(self, output, operations):
        """A run has been made that gave OUTPUT."""
        del output
        self.done += operations


class Storm(Bed):
    """What one bed makes of the runs of the storm: `done` is how many."""

    def __init__(self, name, runs, directory):
        super().__init__(name, runs, directory)
        self.counts = dict.fromkeys(COUNTS, 0)

    def command(self, seed, operations):
        """One run's command line."""
        return [sys.executable, str(paths.ROOT / "tools/run"), "--bed", self.name,
                "--timeout", str(RUN_TIMEOUT), "--log", str(self.log(seed)),
                "--cpus", str(STORM_CPUS[self.name]), "--set", "policy=exact",
                "--set", "control=yes",
                "--cmdline", f"ipis={STORM_IPIS} policy={OTHER_POLICY}",
                str(paths.built("guests/ipistorm.elf"))]

    def count(self, output, operations):
        """Adds up what the guest has counted."""
        super().count(output, operations)
        for name in COUNTS:
            self.counts[name] += sum(map(int, re.findall(rf"\b{name} (\d+)", output)))

    def line(self):
        """What came of it."""
        counts = ", ".join(f"{number} {name}" for name, number in self.counts.items())
        return f"{self.name}, {STORM_CPUS[self.name]} CPUs, {self.done} runs: {counts}"


def until(end):
    """Runs, numbered from 1, one operation each, that begin before END on the monotonic clock."""
    number = 0
    while time.monotonic() < end:
        number += 1
        yield number, 1


class Timed(Runs):
    """Runs without end, until the time is over or one has failed."""

    def __init__(self, end):
        super().__init__([])
        self.numbers = until(end)

    def __next__(self):
        with self.lock:
            return next(self.numbers)

    def end(self):
        """Hands out no more."""
        with self.lock:
            self.numbers = iter(())


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


def follow_all(beds, report):
    """Has all BEDS follow their runs at the same time; prints what REPORT gives each minute."""
    threads = [threading.Thread(target=bed.follow, daemon=True) for bed in beds]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(MINUTE)
            print(report(), flush=True)


def directory_of(seed):
    """Where the logs of all runs are."""
    directory = paths.BUILD / "soak" / str(seed)
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def storm(seed, minutes):
    """Runs the storm on all beds, and returns what is wrong with it."""
    directory = directory_of(seed) / "storm"
    directory.mkdir(exist_ok=True)
    runs = Timed(time.monotonic() + minutes * MINUTE)
    beds = [Storm(name, runs, directory) for name in BEDS]
    follow_all(beds, lambda: "storm: " + "; ".join(bed.line() for bed in beds))
    return ([bed.failure for bed in beds if bed.failure] or
            [f"{bed.name}: no run of the storm" for bed in beds if bed.done == 0])


def run(seed, operations):
    """Runs all beds, and returns them."""
    runs = Runs(seeds(seed, operations))
    beds = [Bed(name, runs, directory_of(seed)) for name in BEDS]
    started = time.monotonic()
    follow_all(beds, lambda: progress(beds, operations, started))
    return beds


def failed(failures):
    """Prints FAILURES, a line each; whether there are any."""
    for failure in failures:
        print(f"FAIL: {failure}")
    return bool(failures)


def main():
    """Returns the exit status of tools/soak: 1 where a run failed."""
    try:
        operations = number("SOAK_OPS", OPERATIONS)
        seed = number("SOAK_SEED", random.randrange(1, 10**9))
        minutes = number("SOAK_MINUTES", MINUTES)
    except ValueError as wrong:
        print(f"tools/soak: {wrong}", file=sys.stderr)
        return USAGE
    print(f"soak: SOAK_SEED={seed} SOAK_OPS={operations} SOAK_MINUTES={minutes}, on "
          f"{' and '.join(BEDS)}", flush=True)
    if failed(storm(seed, minutes)):
        return 1
    beds = run(seed, operations)
    if failed(problems(beds, operations)):
        print(f"FAIL: SOAK_SEED={seed} repeats it")
        return 1
    print(f"PASS: {operations} hostile operations, {shares(beds)}")
    return 0
