"""The columns of the test report: beds, doors, and the control run; and one cell's run."""
# SPDX-License-Identifier: BSD-2-Clause
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from nosnoop import beds, devices, paths
from nosnoop.judge import Judge
from nosnoop.ktap import Ktap

LAST_LINES = 15  # of each output, in a failure's details
GRACE = 10       # seconds that tools/run has beyond the time-out of its guest


@dataclass(frozen=True)
class Column:
    """How a column runs a row."""
    name: str
    bed: str
    door: str | None = None        # None: the bed's own
    only: frozenset | None = None  # names of the rows that it runs; None: all
    extra_time: float = 0          # seconds, for firmware and a slow emulator
    control: bool = False

    def runs(self, row):
        """Whether the row has a cell in this column."""
        return self.only is None or row.name in self.only

    def end(self, row):
        """How the row must end here."""
        return row.control if self.control else row.end

    def timeout(self, row):
        """Wall seconds for the guest."""
        return (row.control_timeout if self.control else row.timeout) + self.extra_time

    def options(self):
        """The options of tools/run."""
        door = ["--door", self.door] if self.door else []
        return ["--bed", self.bed, *door] + ["--control"] * self.control

    def skipped(self, row):
        """Why there is nothing to run for the row, or None."""
        if self.end(row) is None:
            return row.control_reason
        bed = beds.BEDS[self.bed]
        return bed.refusal() or next(filter(None, (devices.refusal(text, bed.emulator)
                                                   for text in row.devices)),
                                     None if self.control else
                                     devices.unseen(row.iommu, row.devices, bed.emulator))


def rows_of(text):
    """The names in a text."""
    return frozenset(text.split())


# Where not all rows run, those do that the bed's or the door's own part can break.
SHORT = rows_of("cpuid value.7 memory memory.nowhere msr io shutdown.triple halt vendor "
                "restart.port64 restart.triple restart.cd-hw text modes cr registers state tables "
                "steps steps.uncached exceptions exceptions.uncached storms hostile.short types "
                "typemap mtrrs oracle retype memmap "
                "trace trace.denied policies switch policymap "
                "reports.fixed reports.hidden alias apic apic.x2 devices "
                "cpus.2 ipi.2 startup.2 locks.2 shootdown.2 exits.2 drift.2 "
                "pic.2 ioapic.2 serial platform platform.sci pcibus pcibus.2 mpmtrr.2 "
                "tick32.2 tick64.2 together.2 e1000 ide wc")
# What is the same on vmx-snb as on vmx, whatever their CPUs have.
NOT_OF_THE_CPU = rows_of("text io storms startup.2 ipi.2 locks.2 exits.2 drift.2 pic.2 ioapic.2 "
                         "serial platform platform.sci pcibus pcibus.2 restart.port64 "
                         "restart.triple")
COLUMNS = (
    Column("svm", "svm"),
    Column("vmx", "vmx", extra_time=5),
    Column("control", "svm", control=True),
    Column("vmx-control", "vmx", extra_time=5, control=True, only=rows_of("e1000 ide")),
    Column("svm-bochs", "svm-bochs", extra_time=5, only=SHORT),
    Column("vmx-snb", "vmx-snb", extra_time=5, only=SHORT - NOT_OF_THE_CPU),
    Column("svm-uefi", "svm", "uefi", extra_time=10,
           only=rows_of("value.7 memory msr shutdown.triple halt")),
    Column("svm-grub", "svm", "grub", extra_time=5, only=rows_of("memory")),
    Column("svm-grub-uefi", "svm", "grub-uefi", extra_time=15, only=rows_of("memory")),
    Column("kvm", "kvm", only=rows_of("cpuid")),
)
# What takes longer; no row in these but by --long. The guest cpuid runs by UEFI in
# test_doors and, on vmx, in test_images.
LONG_COLUMNS = (
    Column("vmx-uefi", "vmx", "uefi", extra_time=40, only=frozenset()),
    Column("svm-bochs-uefi", "svm-bochs", "uefi", extra_time=40, only=frozenset()),
)


def chosen(names, long):
    """The columns to run, of those with these NAMES if there are any; LONG: all rows of all."""
    columns = COLUMNS + LONG_COLUMNS if long else COLUMNS
    if names:
        columns = [column for column in COLUMNS + LONG_COLUMNS if column.name in names]
    return [replace(column, only=None) for column in columns] if long else list(columns)


@dataclass
class Cell:
    """The result of one test in one column."""
    verdict: str            # PASS, FAIL or SKIP
    seconds: float = 0
    details: list = field(default_factory=list)  # lines, of a failure or why it was skipped
    ktap: Ktap | None = None
    end: int | None = None

    def fail(self, problem):
        """Makes this a failure."""
        self.verdict = "FAIL"
        self.details.append(problem)


def tail(title, text):
    """The last lines of TEXT under a title."""
    return [f"{title}:"] + ["    " + line for line in text.splitlines()[-LAST_LINES:]]


def not_ok(output):
    """The failed cases in a guest's OUTPUT, each behind what was said of it."""
    said, lines = [], []
    for line in output.splitlines():
        if line.startswith("not ok"):
            lines += said[-LAST_LINES:] + [line]
        said = said + [line] if line.startswith("#") else []
    return ["not ok:"] + ["    " + line for line in lines] if lines else []


def command(column, row):
    """The command line of tools/run for a cell."""
    argv = [sys.executable, str(paths.ROOT / "tools/run"), *column.options(),
            "--timeout", str(column.timeout(row)), "--cmdline", row.cmdline,
            "--cpus", str(row.cpus)]
    if row.memory:
        argv += ["--mem", row.memory]
    for pair in row.sets:
        argv += ["--set", pair]
    for device in row.devices:
        argv += ["--device", device]
    if row.iommu and not column.control and beds.BEDS[column.bed].emulator == devices.QEMU:
        argv += ["--iommu", row.iommu]
    argv.append(str(paths.BUILD / "guests" / f"{row.guest}.elf"))
    bed = beds.BEDS[column.bed]
    pace = bed.waiting() if row.waits else bed.paced(row.ips) if row.ips else []
    return argv + ["--"] * bool(pace) + pace


def run_cell(column, row):
    """Runs one cell and judges it."""
    if reason := column.skipped(row):
        return Cell("SKIP", details=[reason])
    before = time.monotonic()
    try:
        done = subprocess.run(command(column, row), cwd=paths.ROOT, stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=column.timeout(row) + GRACE)
    except subprocess.TimeoutExpired:
        return Cell("FAIL", time.monotonic() - before, ["tools/run itself ran out of time"])
    output = done.stdout.decode("utf-8", "replace")
    messages = done.stderr.decode("utf-8", "replace")
    log = log_of(messages)
    cell = Cell("PASS", time.monotonic() - before, ktap=Ktap.of(output), end=done.returncode)
    for problem in problems(column, row, cell, log):
        cell.fail(problem)
    if cell.verdict == "FAIL":
        cell.details += (not_ok(output) + tail("guest", output) + tail("log", log) +
                         tail("messages", messages))
    elif cell.ktap.all_skipped():
        cell.verdict = "SKIP"
        cell.details = sorted({result.reason for result in cell.ktap.results})
    return cell


def log_of(messages):
    """The text of the log that tools/run named, if it named one."""
    match = re.search(r"^log: (.*)$", messages, re.M)
    if not match:
        return ""
    return (paths.ROOT / Path(match[1])).read_text(encoding="utf-8", errors="replace")


def problems(column, row, cell, log):
    """What is wrong with how a cell ended."""
    expected = column.end(row)
    if cell.end != expected:
        yield f"ended with status {cell.end}, expected {expected}"
    elif expected == 0 and row.plan and cell.ktap.plan is None:
        yield "the guest printed no KTAP plan (plan=no in its row allows that)"
    if row.stopped and not column.control and row.stopped not in stop_reasons(log):
        yield f"the log has no line that says it was stopped for: {row.stopped}"


def stop_reasons(log):
    """The reasons of the log's "stopped:" lines."""
    judge = Judge()
    for line in log.splitlines():
        judge.log_line(line)
    return "\n".join(judge.stopped.values())


def compare(cells):
    """
    Fails those of a row's CELLS (column name: cell) whose KTAP names or verdicts differ from those
    of the first cell that ended in the same way.
    """
    first = {}
    for name, cell in cells.items():
        if cell.ktap is None or cell.verdict == "FAIL":
            continue
        other_name, other = first.setdefault(cell.end, (name, cell))
        if difference := difference_of(other.ktap.results, cell.ktap.results):
            cell.fail(f"not as on {other_name}: {difference}")


def difference_of(one, other):
    """The first difference of two lists of results that matters, or None."""
    names = [[result.name for result in results] for results in (one, other)]
    if names[0] != names[1]:
        odd = [name for name in names[0] + names[1] if names[0].count(name) != names[1].count(name)]
        return f"other cases: {', '.join(odd) or 'in another order'}"
    for a, b in zip(one, other):
        if "skip" not in (a.verdict, b.verdict) and a.verdict != b.verdict:
            return f"{a.name}: {a.verdict} and {b.verdict}"
    return None
