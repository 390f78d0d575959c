"""tools/memmap: the maps of VMs' memory in a log, as pictures and tables."""
# SPDX-License-Identifier: BSD-2-Clause
import argparse
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from nosnoop import paths
from nosnoop.prompt import behind_prompt
from nosnoop.status import USAGE, Refusal
from nosnoop.svg import Svg

# Where the guest memmap runs: bed, memory. More than 4 GiB shows the hole, which Bochs cannot have.
RUNS = (("svm", "5G"), ("vmx", "64M"))
PATS = ("WB", "WT", "WP", "WC", "UC-", "UC")
PAT_TYPES = {0: "UC", 1: "WC", 4: "WT", 5: "WP", 6: "WB", 7: "UC-"}
PAGE, MIB = 1 << 12, 1 << 20
MAX_MAPS = 6      # in one picture: the last of a VM
MAX_RANGES = 256  # of a map in the log: MAP_MAX_LINES of vmm/instruments/map.h

# --- the log ---

TYPE = "(UC|WC|WT|WP|WB)"
HEAD = re.compile(r"\[ *\d+ \d+\] memmap ([A-Za-z0-9_.-]{1,31}) (.*)")
BEGIN = re.compile(r"begin policy ([a-z0-9.-]+) noncoherent ([01]) view (\w+) enabled ([01]) "
                   r"cd ([01]) pat 0x([0-9a-f]{16}) root 0x[0-9a-f]+")
RANGE = re.compile(
    rf"0x([0-9a-f]{{1,16}}) 0x([0-9a-f]{{1,16}}) guest {TYPE} ([a-z-]+) host {TYPE} "
    rf"leaf {TYPE} (4K|2M|1G) ipat ([01]) rule ([a-z-]+) pat (guest|UC-|{TYPE[1:-1]}) effective "
    + " ".join(rf"{pat}=(UC|CD|WC\+?|WT|WP|WB)" for pat in PATS))
MORE = re.compile(r"and (\d{1,9}) more from 0x([0-9a-f]{1,16})")
CUT = re.compile(r"cut at 0x([0-9a-f]{1,16})")
END = re.compile(r"end (\d{1,9})")


@dataclass(frozen=True)
class Range:
    """Memory of one kind; effective types by the guest's PAT types."""
    start: int
    end: int
    guest: str
    guest_rule: str
    host: str
    leaf: str
    size: str
    ipat: bool
    rule: str
    pat: str
    effective: tuple


@dataclass
class Map:
    """A VM's memory at one moment."""
    vm: str
    line: int  # where it begins in the log
    policy: str
    noncoherent: bool
    view: str
    enabled: bool
    cd: bool
    pat: int
    ranges: list = field(default_factory=list)
    more: int = 0
    cut: int | None = None

    def state(self):
        """The vCPU's state in a few words."""
        return f"E = {self.enabled:d}, CD = {self.cd:d}"

    def under(self):
        """The policy and the view in a few words."""
        return f"{self.policy}{', non-coherent' * self.noncoherent}, view {self.view}"

    def slots(self):
        """The PAT's slots in a few words."""
        return " ".join(PAT_TYPES[byte] for byte in self.pat.to_bytes(8, "little"))

    def missing(self):
        """What the map leaves out, or nothing."""
        more = f"and {self.more} more ranges" if self.more else ""
        cut = "" if self.cut is None else f"cut at {self.cut:#x}"
        return ", ".join(filter(None, (more, cut)))


class Reader:
    """Takes a log line by line; MAPS has the finished maps in their order."""

    def __init__(self, name):
        self.name = name
        self.number = 0
        self.maps = []
        self.open = {}  # VM: its map that has not ended

    def refuse(self, problem):
        """Raises a Refusal that names the line."""
        raise Refusal(f"{self.name}:{self.number}: {problem}")

    def line(self, text):
        """Takes one line."""
        self.number += 1
        if not (head := HEAD.fullmatch(behind_prompt(text))):
            return
        vm, rest = head.groups()
        for pattern, take in ((RANGE, self.range), (BEGIN, self.begin), (MORE, self.more),
                              (CUT, self.cut), (END, self.end)):
            if match := pattern.fullmatch(rest):
                take(vm, *match.groups())
                return
        self.refuse(f"no line of a memory map: {rest[:80]!r}")

    def map_of(self, vm):
        """The map of VM that has begun."""
        if vm not in self.open:
            self.refuse(f"a map of {vm} that has no beginning; the log is cut off, or wrapped")
        return self.open[vm]

    def begin(self, vm, policy, noncoherent, view, enabled, cd, pat):
        """A map begins."""
        if vm in self.open:
            self.refuse(f"a map of {vm} begins, but the one of line {self.open[vm].line} "
                        "has not ended")
        if not set(bytes.fromhex(pat)) <= PAT_TYPES.keys():
            self.refuse(f"{pat} is no PAT")
        self.open[vm] = Map(vm, self.number, policy, noncoherent == "1", view, enabled == "1",
                            cd == "1", int(pat, 16))

    def range(self, vm, start, end, *rest):
        """A range of the map."""
        ranges = self.map_of(vm).ranges
        low, high = int(start, 16), int(end, 16)
        if low >= high or (low | high) % PAGE:
            self.refuse(f"no range of pages: {low:#x} to {high:#x}")
        if ranges and low < ranges[-1].end:
            self.refuse(f"{low:#x} comes after {ranges[-1].end:#x}")
        if len(ranges) == MAX_RANGES:
            self.refuse(f"more than {MAX_RANGES} ranges")
        kinds, effective = list(rest[:-len(PATS)]), rest[-len(PATS):]
        kinds[5] = kinds[5] == "1"
        ranges.append(Range(low, high, *kinds, effective))

    def more(self, vm, count, _start):
        """There are ranges that the log does not have."""
        self.map_of(vm).more = int(count)

    def cut(self, vm, at):
        """There is memory above that was not looked at."""
        self.map_of(vm).cut = int(at, 16)

    def end(self, vm, count):
        """A map ends."""
        ended = self.map_of(vm)
        del self.open[vm]
        found = len(ended.ranges) + ended.more
        if found != int(count):
            self.refuse(f"the map of {vm} has {found} ranges, not {count}; lines are missing")
        self.maps.append(ended)

    def finish(self):
        """The maps, or Refusal where there is none or one has no end."""
        for vm, unfinished in self.open.items():
            self.number = unfinished.line
            self.refuse(f"the map of {vm} that begins here has no end; the log is cut off")
        if not self.maps:
            raise Refusal(f"{self.name}: no memory map; have the guest call HYPERCALL_LOG_MAP")
        return self.maps


def read(path):
    """The maps in a log, or Refusal."""
    reader = Reader(str(path))
    with open(path, encoding="utf-8", errors="replace") as log:
        for text in log:
            reader.line(text.rstrip("\r\n"))
    return reader.finish()


def by_vm(maps):
    """VM: its maps, at most MAX_MAPS, the last ones."""
    vms = {}
    for found in maps:
        vms.setdefault(found.vm, []).append(found)
    return {vm: found[-MAX_MAPS:] for vm, found in vms.items()}


# --- text ---

def short(size):
    """SIZE bytes, in the largest unit that divides them."""
    for shift, unit in ((30, "G"), (20, "M"), (10, "K")):
        if size % (1 << shift) == 0:
            return f"{size >> shift}{unit}"
    return str(size)


def table(maps):
    """All MAPS of a VM as text."""
    lines = []
    for found in maps:
        lines += [f"vm {found.vm}: {found.state()}; policy {found.under()}; PAT {found.slots()}",
                  f"{'start':>14} {'end':>14} {'size':>8}  guest MTRRs         host leaf"
                  f"         decided by       effective by the guest's PAT type",
                  " " * 78 + " ".join(f"{pat:<3}" for pat in PATS)]
        lines += [line_of(part) for part in found.ranges]
        lines += [f"{'':14} {found.missing()}"] * bool(found.missing())
        lines.append("")
    return "\n".join(lines)


def line_of(part):
    """One line of the table."""
    leaf = f"{part.leaf:<3}{part.size}{' ipat' * part.ipat}"
    rule = part.rule if part.pat == "guest" else f"{part.rule}, PAT {part.pat}"
    effective = " ".join(f"{kind:<3}" for kind in part.effective)
    return (f"{part.start:#14x} {part.end:#14x} {short(part.end - part.start):>8}  "
            f"{part.guest:<3}{part.guest_rule:<16} {part.host:<4} {leaf:<12} "
            f"{rule:<16} {effective}").rstrip()


# --- the picture ---

TOP, LEFT, MARGIN, GAP = 136, 150, 16, 28
TYPE_WIDTH, RULE_WIDTH, LEAF_WIDTH, EFFECTIVE_WIDTH = 34, 58, 56, 32
SHADES = {"4K": "#e4e4e4", "2M": "#c4c4c4", "1G": "#9f9f9f"}
PAPER = "#f4f4f4"
SHORT_RULES = {"undefined-is-uc": "undefined"}


@dataclass(frozen=True)
class Band:
    """One column of a map: what it shows of a range, and how wide it is."""
    name: str
    title: str
    width: int
    value: object  # of a range: its text, or a type
    typed: bool = True

    def draw(self, svg, x, y, height, part, data):
        """The cell of ranges that are one to this band."""
        value = self.value(part)
        if self.typed:
            svg.type_cell(x, y, self.width, height, value, **data)
            return
        fill = SHADES.get(value[:2], PAPER)
        svg.rect(x, y, self.width, height, fill, value=value, **data)
        svg.text(x + self.width / 2, y + height / 2 + 3, value, 9, "middle")


def rule_text(rule):
    """A rule's name that fits its band."""
    return SHORT_RULES.get(rule, rule)


def decided(part):
    """What decided the leaf, and whether the PAT is the guest's."""
    return rule_text(part.rule) if part.pat == "guest" else f"PAT {part.pat}"


BANDS = [
    Band("guest", "guest MTRR", TYPE_WIDTH, lambda part: part.guest),
    Band("guest-rule", "its rule", RULE_WIDTH, lambda part: rule_text(part.guest_rule), False),
    Band("host", "host MTRR", TYPE_WIDTH, lambda part: part.host),
    Band("leaf", "leaf type", TYPE_WIDTH, lambda part: part.leaf),
    Band("size", "leaf size", LEAF_WIDTH, lambda part: part.size + " IPAT" * part.ipat, False),
    Band("rule", "decided by", RULE_WIDTH, decided, False),
] + [Band(f"effective-{pat}", pat, EFFECTIVE_WIDTH, lambda part, i=i: part.effective[i])
     for i, pat in enumerate(PATS)]
PANEL = sum(band.width for band in BANDS)
EFFECTIVE_X = PANEL - len(PATS) * EFFECTIVE_WIDTH


class Axis:
    """Addresses downwards: each piece between two edges is as high as its size's logarithm."""

    def __init__(self, maps):
        parts = [part for found in maps for part in found.ranges]
        self.edges = sorted({part.start for part in parts} | {part.end for part in parts})
        self.y = {}
        y = TOP
        slope = 2 if len(self.edges) < 100 else 0.5
        for low, high in zip(self.edges, self.edges[1:] + [None]):
            self.y[low] = y
            if high is not None:
                y += 15 + slope * ((high - low) // PAGE).bit_length()
        self.bottom = y

    def draw(self, svg, right):
        """The addresses, and a line for each."""
        svg.text(MARGIN, TOP - 26, "guest-physical", 11)
        svg.text(MARGIN, TOP - 12, "address", 11)
        for low, high in zip(self.edges, self.edges[1:]):
            svg.text(MARGIN + 84, (self.y[low] + self.y[high]) / 2 + 3, short(high - low), 9,
                     fill="#666666")
        for edge in self.edges:
            svg.text(MARGIN, self.y[edge] + 4, f"{edge:#x}", 10)
            svg.line(LEFT - 8, self.y[edge], right, self.y[edge], "#bbbbbb")
        for edge in (MIB, 1 << 32):
            if edge in self.y:
                svg.line(LEFT - 22, self.y[edge], right, self.y[edge], "#000000")


def joined(ranges, value):
    """(first range, end) of each run of neighbours with the same VALUE."""
    runs = []
    for part in ranges:
        if runs and runs[-1][1] == part.start and value(runs[-1][0]) == value(part):
            runs[-1] = runs[-1][0], part.end
        else:
            runs.append((part, part.end))
    return runs


def draw_map(svg, axis, x, index, found):
    """One map, with its head, from X to the right."""
    svg.text(x, TOP - 62, found.state(), 13, bold=True)
    svg.text(x, TOP - 47, f"policy {found.under()}; PAT {found.slots()}", 9, fill="#444444")
    svg.text(x + EFFECTIVE_X, TOP - 26, "effective, if the guest's PAT says", 9)
    at = x
    for band in BANDS:
        first, _, second = band.title.partition(" ")
        if second:
            svg.text(at + band.width / 2, TOP - 20, first, 9, "middle")
        svg.text(at + band.width / 2, TOP - 8, second or first, 9, "middle")
        for part, end in joined(found.ranges, band.value):
            top = axis.y[part.start]
            band.draw(svg, at, top, axis.y[end] - top, part,
                      {"map": index, "band": band.name, "start": hex(part.start), "end": hex(end)})
        at += band.width
    for low, high in zip(found.ranges, found.ranges[1:]):
        if low.end != high.start:
            svg.text(x + PANEL / 2, (axis.y[low.end] + axis.y[high.start]) / 2 + 4, "no memory", 10,
                     "middle", "#666666")
    svg.text(x, axis.bottom + 16, found.missing(), 11)


def picture(title, maps):
    """The SVG of a VM's MAPS."""
    svg = Svg(title)
    svg.text(MARGIN, 26, title, 16, bold=True)
    svg.text(MARGIN, 44, "Each range is as high as the logarithm of its size; where nothing is "
             "drawn, there is no memory.", 10, fill="#444444")
    axis = Axis(maps)
    right = LEFT + len(maps) * (PANEL + GAP) - GAP
    axis.draw(svg, right)
    for index, found in enumerate(maps):
        draw_map(svg, axis, LEFT + index * (PANEL + GAP), index, found)
    drawn = {kind for found in maps for part in found.ranges
             for kind in (part.guest, part.host, part.leaf, *part.effective)}
    end = svg.legend(LEFT, axis.bottom + 28, [kind for kind in ("UC", "CD", "WC", "WC+", "WT", "WP",
                                                               "WB") if kind in drawn])
    return svg.document(max(right, 700) + MARGIN, end + MARGIN)


# --- the tool ---

def log_of_run(bed, memory):
    """Runs the guest memmap on a bed; returns the path of its log, or Refusal."""
    argv = [sys.executable, str(paths.ROOT / "tools/run"), "--bed", bed, "--mem", memory,
            "--set", "policy=exact", "--set", "control=yes", str(paths.built("guests/memmap.elf"))]
    done = subprocess.run(argv, cwd=paths.ROOT, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, errors="replace", check=False)
    if done.returncode != 0:
        raise Refusal(f"the guest memmap ended with status {done.returncode} on {bed}:\n"
                      f"{done.stdout}{done.stderr}")
    return paths.ROOT / re.search(r"^log: (.*)$", done.stderr, re.M)[1]


def write(log, place):
    """Writes pictures and tables of all maps in LOG; PLACE: what its machine is called."""
    directory = paths.BUILD / "memmap"
    directory.mkdir(parents=True, exist_ok=True)
    for vm, maps in by_vm(read(log)).items():
        path = directory / f"{vm}-{place}.svg"
        path.write_text(picture(f"Memory types of the VM {vm} ({place})", maps), encoding="utf-8")
        path.with_suffix(".txt").write_text(table(maps), encoding="utf-8")
        print(table(maps))
        print(path, flush=True)


def main(argv):
    """Returns the exit status of tools/memmap."""
    parser = argparse.ArgumentParser(prog="tools/memmap", description="Draws memory maps.")
    parser.add_argument("log", nargs="?", metavar="LOG", type=Path,
                        help="a log with maps; default: that of the guest memmap, on both vendors")
    log = parser.parse_args(argv).log
    try:
        if log:
            write(log, re.sub(r"[^A-Za-z0-9_-]", "_", log.stem))
        else:
            for bed, memory in RUNS:
                write(log_of_run(bed, memory), bed)
    except (Refusal, OSError) as problem:
        print(f"tools/memmap: {problem}", file=sys.stderr)
        return USAGE
    return 0
