"""Reads traces: the lines in a log, or a ring as it lies in memory (vmm/instruments/trace.h)."""
# SPDX-License-Identifier: BSD-2-Clause
import re
import struct
from dataclasses import dataclass, field

from nosnoop.status import Refusal

VERSION = 3
MAGIC = b"NTRC"
RECORD = struct.Struct("<QHHIQQ")
RING = struct.Struct("<4sHHIIIIQQ32s")  # what stands before the records
LONG = (1 << 32) - 1  # ticks in the guest: so many or more
HEAD = re.compile(r"\] trace: CPU (\d+) vm (.*) version (\d+) size (\d+) records (\d+) to (\d+) "
                  r"since 0x([0-9a-f]{1,16}) khz (\d+)\s*$", re.A)
LINE = re.compile(r"\] trace (\d+)((?: [0-9a-f]{64})+)\s*$", re.A)
BEGINS = re.compile(r"\] trace \d+ ", re.A)

KINDS = ("none", "exit", "inject", "MTRR", "PAT", "CR0", "view", "leaf", "split", "join",
         "invalidate", "flush", "master")
EXITS = ("none", "CPUID", "RDMSR", "WRMSR", "XSETBV", "HLT", "freeze", "INVD", "WBINVD",
         "hypercall", "undefined", "privileged", "triple fault", "INIT", "interrupt", "window",
         "I/O", "CR", "APIC", "memory", "exception", "failed", "unknown")
VIEWS = ("typed", "disabled", "CD")
SCOPES = ("by root", "of the guest", "at the next entry")
TYPES = {0: "UC", 1: "WC", 4: "WT", 5: "WP", 6: "WB", 7: "UC-"}
EVENTS = {0: "interrupt", 2: "NMI", 3: "exception", 4: "software interrupt", 5: "INT1",
          6: "software exception"}
CR_OPS = ("MOV to", "MOV from", "CLTS", "LMSW")
IPAT = 1 << 7


def name_of(names, number):
    """The name of a number, or itself."""
    if isinstance(names, dict):
        return names.get(number, str(number))
    return names[number] if number < len(names) else str(number)


def type_of(bits):
    """A leaf's memory type."""
    return name_of(TYPES, bits & 7) + (" IPAT" if bits & IPAT else "")


@dataclass(frozen=True)
class Record:
    """One record; NUMBER: how many there were before since the trace was turned on."""
    number: int
    tsc: int
    kind: int
    what: int
    info: int
    a: int
    b: int

    @property
    def name(self):
        """The kind's name; of an exit its own."""
        kind = name_of(KINDS, self.kind)
        return f"exit {name_of(EXITS, self.what)}" if kind == "exit" else kind

    def is_kind(self, name):
        """Whether it is of the kind NAME."""
        return name_of(KINDS, self.kind) == name

    @property
    def entered(self):
        """Of an exit: the TSC when the guest was entered before, or None: too long ago."""
        return None if self.info == LONG else self.tsc - self.info

    def details(self):
        """What the fields mean, in words."""
        describe = DESCRIPTIONS.get(name_of(KINDS, self.kind))
        if describe:
            return describe(self)
        return f"{self.what:#x} {self.info:#x} {self.a:#x} {self.b:#x}"


def exit_part(record):
    """What an exit's own part says."""
    low, high = record.b & 0xFFFFFFFF, record.b >> 32
    name = name_of(EXITS, record.what)
    if name == "CPUID":
        return f"leaf {low:#x} subleaf {high:#x}"
    if name in ("RDMSR", "WRMSR"):
        return f"MSR {high:#x}" + (f" EAX {low:#x}" if name == "WRMSR" else "")
    if name == "hypercall":
        return f"number {low}"
    if name == "I/O":
        return f"{'in' if low >> 24 & 1 else 'out'} port {low & 0xFFFF:#x} width {low >> 16 & 0xFF}"
    if name == "memory":
        return f"GPA {record.b:#x}"
    if name == "CR":
        return (f"{name_of(CR_OPS, low >> 8 & 0xFF)} CR{low >> 16 & 0xFF}" if low & 0xFF
                else "by its instruction")
    if name == "exception":
        return f"vector {low >> 8 & 0xFF}"
    return f"code {record.b:#x}" if name in ("failed", "unknown") else ""


def exit_details(record):
    """Of an exit."""
    ticks = f"{record.info} ticks" if record.info != LONG else "very long"
    part = exit_part(record)
    return f"RIP {record.a:#x}, {part + ', ' if part else ''}in the guest {ticks}"


def leaf_details(record):
    """Of a change of leaves, a split or a join."""
    old, new = record.info & 0xFF, record.info >> 8 & 0xFF
    types = type_of(new) if record.is_kind("split") or record.is_kind("join") \
        else f"{type_of(old)} to {type_of(new)}"
    return f"GPA {record.a:#x}+{record.b:#x} level {record.what}, {types}"


def flush_details(record):
    """Of a flush of caches."""
    how = "lines" if record.what else "WBINVD"
    return f"{how}, for GPA {record.a:#x}+{record.b:#x}" if record.b else how


DESCRIPTIONS = {
    "exit": exit_details,
    "inject": lambda r: f"{name_of(EVENTS, r.b)} {r.what}, error {r.info:#x}, RIP {r.a:#x}",
    "MTRR": lambda r: f"MSR {r.a:#x} = {r.b:#x}, {'another' if r.what else 'the same'} value",
    "PAT": lambda r: f"{r.b:#x}",
    "CR0": lambda r: f"{r.a:#x}",
    "view": lambda r: f"{name_of(VIEWS, r.what)}, root {r.a:#x}",
    "leaf": leaf_details,
    "split": leaf_details,
    "join": leaf_details,
    "invalidate": lambda r: f"{name_of(SCOPES, r.what)}, operand {r.info}, root {r.a:#x}",
    "flush": flush_details,
    "master": lambda r: (f"{r.a >> 8 & 0xFF:02x}:{r.a >> 3 & 0x1F:02x}.{r.a & 7} "
                         f"{'may do DMA' if r.what else 'does none'}"),
}


@dataclass
class Trace:
    """What a CPU did while the trace was on, as far as the ring has been written."""
    cpu: int
    vm: str
    since: int  # TSC
    khz: int    # of the TSC; 0: not known
    records: dict = field(default_factory=dict)  # by number

    def in_order(self):
        """The Records, rising."""
        return [self.records[number] for number in sorted(self.records)]

    def us(self, tsc):
        """Microseconds since the beginning; where the rate is not known, at 1 GHz."""
        return (tsc - self.since) * 1000 / (self.khz or 1_000_000)

    def take(self, number, data):
        """Takes the 32 bytes of a record."""
        self.records[number] = Record(number, *RECORD.unpack(data))


class Reader:
    """
    Takes a log line by line: of each CPU what belongs to the last time that the trace was turned
    on, from one ring or several. WARNINGS: what is odd, but does not make it useless.
    """

    def __init__(self):
        self.traces = {}  # by CPU
        self.warnings = []
        self.trace = None         # whose lines follow
        self.next = self.end = 0  # numbers of the records that are still to come

    def head(self, match, number):
        """A ring begins."""
        self.finish()
        cpu, version, size, first, end = (int(match[i]) for i in (1, 3, 4, 5, 6))
        if version != VERSION or size != RECORD.size:
            raise Refusal(f"line {number}: the trace has version {version} and records of {size} "
                          f"bytes, this is for version {VERSION}; take the tools of that build")
        if first > end:
            raise Refusal(f"line {number}: records {first} to {end}: that is no range")
        self.trace = self.traces.get(cpu)
        since = int(match[7], 16)
        if self.trace is None or self.trace.since != since:
            self.trace = self.traces[cpu] = Trace(cpu, match[2], since, int(match[8]))
        self.next, self.end = first, end

    def records(self, match, number):
        """Records of the ring that has begun."""
        if self.trace is None or int(match[1]) != self.trace.cpu:
            self.warnings.append(f"line {number}: records before a line that says whose they are")
            return
        for text in match[2].split():
            if self.next == self.end:
                self.warnings.append(f"line {number}: more records than there should be")
                return
            words = (int(text[i:i + 16], 16) for i in range(0, 64, 16))
            self.trace.take(self.next, struct.pack("<4Q", *words))
            self.next += 1

    def line(self, text, number):
        """Takes one line."""
        if match := HEAD.search(text):
            self.head(match, number)
        elif match := LINE.search(text):
            self.records(match, number)
        elif BEGINS.search(text):
            self.warnings.append(f"line {number}: a line of the trace that is cut or changed")

    def finish(self):
        """The ring's lines have ended."""
        if self.next != self.end:
            self.warnings.append(f"CPU {self.trace.cpu}: records {self.next} to {self.end} are "
                                 "missing: the log has been cut")
        self.next = self.end


def read_ring(data):
    """The Trace in the bytes of a ring, or Refusal."""
    if len(data) < RING.size:
        raise Refusal(f"the ring is cut: {len(data)} bytes")
    _, version, size, count, offset, cpu, khz, since, following, vm = RING.unpack_from(data)
    if version != VERSION or size != RECORD.size:
        raise Refusal(f"the ring has version {version} and records of {size} bytes, this is for "
                      f"version {VERSION}; take the tools of that build")
    if count == 0 or offset < RING.size or offset + count * size > len(data):
        raise Refusal(f"the ring is cut or no ring: {count} records at {offset}, in "
                      f"{len(data)} bytes; dump all of it")
    trace = Trace(cpu, vm.split(b"\0")[0].decode("utf-8", "replace"), since, khz)
    for number in range(max(0, following - count), following):
        at = offset + number % count * size
        trace.take(number, data[at:at + size])
    return trace


def read(data):
    """The Traces in the bytes of a file, and warnings; or Refusal."""
    if data.startswith(MAGIC):
        return [read_ring(data)], []
    reader = Reader()
    for number, text in enumerate(data.decode("utf-8", "replace").split("\n"), 1):
        reader.line(text.rstrip("\r"), number)
    reader.finish()
    traces = [trace for trace in reader.traces.values() if trace.records]
    if not traces:
        raise Refusal("there is no trace in it: turn it on in the monitor, or by a hypercall with "
                      "control = yes")
    return traces, reader.warnings
