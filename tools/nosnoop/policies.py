"""tools/policies: one guest's memory under everybody's rules, beside bare metal."""
# SPDX-License-Identifier: BSD-2-Clause
import csv
import io
import re
import subprocess
import sys
from dataclasses import dataclass, field

from nosnoop import memtypes, paths
from nosnoop.status import USAGE, Refusal
from nosnoop.svg import Svg

BEDS = {"vmx": "Intel, EPT", "svm": "AMD, NPT"}
STATES = ((True, False), (False, False), (True, True))  # MTRRdefType.E and CR0.CD
CLASS = {"CD": "UC", "WC+": "WC"}  # types that differ from these in more snooping alone
RANK = {"UC": 0, "WC": 1, "WT": 2, "WP": 2, "WB": 3}  # how much is cached

# Relations of a type to bare metal's: the mark in pictures and tables.
SAME, CLASSMATE, MORE, LESS, OTHER = "same", "same class", "caches more", "caches less", "other"
MARKS = {SAME: "", CLASSMATE: "·", MORE: "↑", LESS: "↓", OTHER: "≠"}
DIFFERENT = (MORE, LESS, OTHER)
MEANING = {SAME: "as on bare metal", CLASSMATE: "the same but for snooping",
           MORE: "caches more than bare metal", LESS: "caches less than bare metal",
           OTHER: "caches in another way"}


def relation(kind, bare):
    """How an effective type relates to bare metal's."""
    if kind == bare:
        return SAME
    one, other = CLASS.get(kind, kind), CLASS.get(bare, bare)
    if one == other:
        return CLASSMATE
    if RANK[one] == RANK[other]:
        return OTHER
    return MORE if RANK[one] > RANK[other] else LESS


def state_name(state):
    """A state in a few words."""
    return f"E = {state[0]:d}, CD = {state[1]:d}"


# --- what the guest has said ---

@dataclass(frozen=True)
class Place:
    """An address, and the guest's PAT type there."""
    at: int
    pat: str


@dataclass
class Scenario:
    """A run on one bed."""
    bed: str
    vendor: str = ""
    mtrrs: memtypes.Mtrrs = field(default_factory=memtypes.Mtrrs)
    places: list = field(default_factory=list)
    types: dict = field(default_factory=dict)  # (policy, non-coherent): {state: types of places}
    refused: list = field(default_factory=list)

    def mtrr(self, place):
        """The type of a place by the guest's MTRRs while they are enabled."""
        return self.mtrrs.type_of(place.at)

    def bare(self, state):
        """The types of all places on bare metal."""
        enabled, cd = state
        if cd:
            return [memtypes.CACHE_DISABLED[self.vendor]] * len(self.places)
        table = memtypes.native_table(self.vendor)
        return [table[self.mtrrs.type_of(place.at, enabled), place.pat] for place in self.places]

    def rows(self):
        """(name, types by state): one for a policy to which a device's coherence is all one."""
        for policy in dict.fromkeys(policy for policy, _ in self.types):
            plain, noncoherent = (self.types[policy, dma] for dma in (False, True))
            yield policy, plain
            if noncoherent != plain:
                yield f"{policy}, non-coherent", noncoherent


WORD = {"cpu": r"(intel|amd)", "default": r"([0-9a-f]{1,16})",
        "variable": r"([0-9a-f]{1,16}) ([0-9a-f]{1,16})", "fixed": r"([0-9a-f]{1,16})",
        "place": r"([0-9a-f]{1,16}) (UC-|UC|WC|WT|WP|WB)", "refused": r"([a-z0-9.-]{1,31})",
        "types": r"([a-z0-9.-]{1,31}) ([01]) ([01]) ([01])((?: (?:UC|CD|WC\+?|WT|WP|WB))+)"}
LINES = {word: re.compile(rf"# {word} {rest}") for word, rest in WORD.items()}
LINE = re.compile(rf"# ({'|'.join(WORD)})\b.*")


class Reader:
    """Takes the guest's lines one by one."""

    def __init__(self, bed):
        self.scenario = Scenario(bed)

    def line(self, text):
        """Takes one line."""
        if not (word := LINE.fullmatch(text)):
            return
        if not (match := LINES[word[1]].fullmatch(text)):
            raise Refusal(f"{self.scenario.bed}: not understood: {text[:80]!r}")
        getattr(self, word[1])(*match.groups())

    def cpu(self, vendor):
        """Whose CPU it is."""
        self.scenario.vendor = vendor

    def default(self, value):
        """MTRRdefType."""
        self.scenario.mtrrs.default = int(value, 16)

    def variable(self, base, mask):
        """A pair."""
        self.scenario.mtrrs.variable.append((int(base, 16), int(mask, 16)))

    def fixed(self, value):
        """A register of fixed ranges."""
        self.scenario.mtrrs.fixed.append(int(value, 16))

    def place(self, at, pat):
        """A place that is asked about."""
        self.scenario.places.append(Place(int(at, 16), pat))

    def refused(self, policy):
        """A policy that has no rules here."""
        self.scenario.refused.append(policy)

    def types(self, policy, noncoherent, enabled, cd, kinds):
        """What a policy makes of the places in one state."""
        states = self.scenario.types.setdefault((policy, noncoherent == "1"), {})
        states[enabled == "1", cd == "1"] = kinds.split()

    def finish(self):
        """The Scenario, or Refusal where a part is missing."""
        found, bed = self.scenario, self.scenario.bed
        if not found.vendor or len(found.mtrrs.fixed) != len(memtypes.FIXED_SIZES):
            raise Refusal(f"{bed}: the guest has not said its CPU and all its MTRRs")
        if not found.places or not found.types:
            raise Refusal(f"{bed}: the guest has not said any place, or any types")
        for policy in {policy for policy, _ in found.types}:
            for dma in (False, True):
                states = found.types.get((policy, dma), {})
                for state in STATES:
                    if len(states.get(state, ())) != len(found.places):
                        raise Refusal(f"{bed}: types are missing of {policy}, non-coherent {dma:d},"
                                      f" {state_name(state)}")
        return found


def read(bed, output):
    """The Scenario in what the guest has printed, or Refusal."""
    reader = Reader(bed)
    for text in output.splitlines():
        reader.line(text.rstrip("\r"))
    return reader.finish()


# --- text and CSV ---

def table(scenario):
    """A scenario as text: one table for each state."""
    lines = []
    cells = [[f"{place.at:#x}" for place in scenario.places],
             [f"MTRR {scenario.mtrr(place)}" for place in scenario.places],
             [f"PAT {place.pat}" for place in scenario.places]]
    for state in STATES:
        bare = scenario.bare(state)
        lines.append(f"{BEDS[scenario.bed]}: {state_name(state)}")
        lines += [line_of("", texts) for texts in cells]
        lines.append(line_of("bare metal", bare))
        for name, types in scenario.rows():
            marked = [kind + MARKS[relation(kind, want)]
                      for kind, want in zip(types[state], bare, strict=True)]
            lines.append(line_of(name, marked))
        lines.append("")
    if scenario.refused:
        lines += [f"{BEDS[scenario.bed]}: no rules by {', '.join(scenario.refused)}", ""]
    return "\n".join(lines)


def line_of(name, texts):
    """One line of a table."""
    return (f"{name:<28}" + "".join(f"{text:<10}" for text in texts)).rstrip()


def marks():
    """What the marks mean, in one line."""
    return "; ".join(f"{MARKS[kind]} {MEANING[kind]}" for kind in MARKS if MARKS[kind])


def comma_separated(scenarios):
    """All answers, one a line."""
    out = io.StringIO()
    lines = csv.writer(out, lineterminator="\n")
    lines.writerow(["bed", "policy", "noncoherent", "enabled", "cd", "address", "mtrr", "pat",
                    "bare_metal", "effective", "relation"])
    for scenario in scenarios:
        for (policy, noncoherent), types in scenario.types.items():
            for state in STATES:
                for place, kind, bare in zip(scenario.places, types[state], scenario.bare(state)):
                    lines.writerow([scenario.bed, policy, int(noncoherent), *map(int, state),
                                    hex(place.at), scenario.mtrr(place), place.pat, bare, kind,
                                    relation(kind, bare)])
    return out.getvalue()


# --- the picture ---

MARGIN, LABEL, CELL, ROW, GAP = 16, 192, 33, 19, 24
HEADER = 118  # above a scenario's first row
TITLE = "One guest's memory under everybody's rules"


def marked_cell(svg, x, y, kind, how, full=False, **data):
    """A type: in full colour if FULL, or, with a frame, where it differs from bare metal."""
    differs = how in DIFFERENT
    svg.type_cell(x, y, CELL, ROW, kind, faded=not (full or differs), mark=MARKS[how], relation=how,
                  **data)
    if differs:
        svg.frame(x + 1.5, y + 1.5, CELL - 3, ROW - 3, "#000000")


class Block:
    """One scenario's part of the picture, from Y down."""

    def __init__(self, svg, scenario, y):
        self.svg = svg
        self.scenario = scenario
        self.y = y + HEADER

    def x(self, index, column=0):
        """Where a column of the state INDEX begins."""
        return LABEL + index * (len(self.scenario.places) * CELL + GAP) + column * CELL

    def heads(self):
        """The states, and of each column the address and the guest's types."""
        top = self.y - HEADER
        self.svg.text(MARGIN, top + 18, BEDS[self.scenario.bed], 14, bold=True)
        for name, up in (("guest-physical address (hex)", 62), ("guest MTRR", 31),
                         ("guest PAT", 13)):
            self.svg.text(MARGIN, self.y - up, name, 10, fill="#444444")
        for index, state in enumerate(STATES):
            self.svg.text(self.x(index), top + 18, state_name(state), 12, bold=True)
            for column, place in enumerate(self.scenario.places):
                x = self.x(index, column)
                self.svg.text(x + CELL / 2 + 4, self.y - 46, f"{place.at:x}", 9, turn=-50)
                kind = self.scenario.mtrr(place) if state[0] else "UC"
                self.svg.small_type(x + 3, self.y - 42, CELL - 6, 15, kind)
                self.svg.small_type(x + 3, self.y - 24, CELL - 6, 15, place.pat)

    def row(self, name, types, bare_row=False):
        """One row, with what differs from bare metal marked."""
        self.svg.text(MARGIN, self.y + 13, name, 11, bold=bare_row)
        for index, state in enumerate(STATES):
            bare = self.scenario.bare(state)
            for column, kind in enumerate(types[state]):
                marked_cell(self.svg, self.x(index, column), self.y, kind,
                            relation(kind, bare[column]), bare_row, bed=self.scenario.bed, row=name,
                            state=state_name(state), column=column, bare=bare[column])
        self.y += ROW

    def draw(self):
        """Draws all; returns where it ends."""
        self.heads()
        self.row("bare metal", {state: self.scenario.bare(state) for state in STATES}, True)
        self.y += 6
        for name, types in self.scenario.rows():
            self.row(name, types)
        if self.scenario.refused:
            self.svg.text(MARGIN, self.y + 16,
                          f"no rules for this CPU's tables: {', '.join(self.scenario.refused)}", 10,
                          fill="#444444")
        return self.y + 24


def picture(scenarios):
    """The SVG of all scenarios, one below the other."""
    svg = Svg(TITLE)
    svg.text(MARGIN, 26, TITLE, 16, bold=True)
    svg.text(MARGIN, 44, "Each cell: the effective type of an access, by the hypervisor's oracle. "
             "What differs from bare metal has a frame and a mark. docs/policies.md says whose "
             "rules these are.", 10, fill="#444444")
    y, right = 54, 0
    for scenario in scenarios:
        block = Block(svg, scenario, y)
        y = block.draw() + 12
        right = max(right, block.x(len(STATES)) - GAP)
    end = svg.legend(LABEL, y + 4, ("UC", "CD", "WC", "WC+", "WT", "WP", "WB"))
    for index, (how, kind) in enumerate(zip(MARKS, ("WB", "CD", "WB", "UC", "WT"), strict=True)):
        marked_cell(svg, LABEL + 420, y + 4 + index * 1.2 * ROW, kind, how)
        svg.text(LABEL + 460, y + 17 + index * 1.2 * ROW, MEANING[how])
    return svg.document(right + 2 * MARGIN, end + MARGIN)


# --- the tool ---

def run_guest(bed):
    """Runs the guest policymap on a bed and returns its Scenario, or Refusal."""
    argv = [sys.executable, str(paths.ROOT / "tools/run"), "--bed", bed, "--set", "policy=exact",
            "--set", "control=yes", str(paths.built("guests/policymap.elf"))]
    done = subprocess.run(argv, cwd=paths.ROOT, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, errors="replace", check=False)
    if done.returncode != 0:
        raise Refusal(f"the guest policymap ended with status {done.returncode} on {bed}:\n"
                      f"{done.stdout}{done.stderr}")
    return read(bed, done.stdout)


def write(scenarios, directory):
    """Writes the picture, the tables and the answers."""
    directory.mkdir(parents=True, exist_ok=True)
    text = "\n".join([f"{TITLE}\n{marks()}\n", *map(table, scenarios)])
    (directory / "policies.svg").write_text(picture(scenarios), encoding="utf-8")
    (directory / "policies.txt").write_text(text, encoding="utf-8")
    (directory / "policies.csv").write_text(comma_separated(scenarios), encoding="utf-8")
    print(text)
    print(directory / "policies.svg", flush=True)


def main():
    """Returns the exit status of tools/policies."""
    try:
        write([run_guest(bed) for bed in BEDS], paths.BUILD / "policies")
    except (Refusal, OSError) as problem:
        print(f"tools/policies: {problem}", file=sys.stderr)
        return USAGE
    return 0
