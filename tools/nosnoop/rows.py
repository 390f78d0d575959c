"""Reads the test rows in the leading comments of the guests' sources, or NAME.rows."""
# SPDX-License-Identifier: BSD-2-Clause
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from nosnoop.devices import DEVICES, IOMMUS
from nosnoop.status import Refusal

ROW = re.compile(r"\s*/?\*\s*row:\s*(.*)$")
MORE = re.compile(r" \* {6,}(\S.*)$")  # a row goes on


@dataclass
class Row:
    """One run of a guest and how it must end; times in wall seconds."""
    name: str
    guest: str              # the guest's name
    end: int                # tools/run's exit status
    stopped: str = ""       # contained in the reason of the log's "stopped:" line
    cmdline: str = ""
    memory: str = ""
    cpus: int = 1            # the VM's, or the bare machine's
    sets: list = field(default_factory=list)
    devices: list = field(default_factory=list)  # as tools/run's --device
    iommu: str = ""
    timeout: float = 30
    control: int | None = 0  # the control run's exit status; None: there is none
    control_reason: str = ""
    control_timeout: float = 10
    plan: bool = True        # a run that ends with 0 must print a KTAP plan
    long: bool = False       # takes too long to be run each time
    waits: bool = False      # most of its time: seconds are made short where that can be
    ips: int = 0             # of Bochs: instructions a second of the machine's; 0: the bed's own


def yes_or_no(text):
    """The truth of a word."""
    if text not in ("yes", "no"):
        raise ValueError(f"{text!r} is neither yes nor no")
    return text == "yes"


# Key in a row: the field, and what makes its value of the text.
KEYS = {
    "end": ("end", int), "stopped": ("stopped", str), "cmdline": ("cmdline", str),
    "memory": ("memory", str), "cpus": ("cpus", int), "timeout": ("timeout", float),
    "control": ("control", lambda text: None if text == "skip" else int(text)),
    "plan": ("plan", yes_or_no), "control-reason": ("control_reason", str),
    "control-timeout": ("control_timeout", float), "iommu": ("iommu", str),
    "long": ("long", yes_or_no), "waits": ("waits", yes_or_no), "ips": ("ips", int),
}
# Those that may stand more than once.
LISTS = {"set": "sets", "device": "devices"}


def parse_row(text, guest):
    """The Row of what stands behind "row:", or Refusal."""
    try:
        name, *words = shlex.split(text)
        row = Row(name, guest, None)
        seen = set()
        for word in words:
            key, equals, value = word.partition("=")
            if key in LISTS:
                getattr(row, LISTS[key]).append(value)
                continue
            if not equals or key in seen:
                raise ValueError(f"{word!r} is no key=value, or a key stands twice")
            seen.add(key)
            attribute, make = KEYS[key]
            setattr(row, attribute, make(value))
    except KeyError as key:
        raise Refusal(f"{guest}: row: {text}: unknown key {key}") from None
    except ValueError as problem:
        raise Refusal(f"{guest}: row: {text}: {problem}") from None
    check(row)
    return row


def check(row):
    """Refuses what contradicts itself."""
    if row.name.split(".")[0] != row.guest:
        raise Refusal(f"{row.guest}: row {row.name}: the name must begin with the guest's")
    if row.end is None:
        raise Refusal(f"{row.guest}: row {row.name}: say how it ends: end=STATUS")
    unknown = [text for text in row.devices if text.partition(" ")[0] not in DEVICES]
    if unknown or row.iommu not in ("", *IOMMUS):
        raise Refusal(f"{row.guest}: row {row.name}: no such device or IOMMU: "
                      f"{', '.join(unknown) or row.iommu}")
    if row.waits and (row.cpus > 1 or row.ips):
        raise Refusal(f"{row.guest}: row {row.name}: waits=yes is for one CPU, without ips=")
    if (row.control is None) != bool(row.control_reason):
        raise Refusal(f"{row.guest}: row {row.name}: control=skip goes with control-reason=...")


def of_file(path):
    """The rows in the leading comment of a guest's source."""
    texts = []
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        if match := ROW.match(line):
            texts.append(match[1])
        elif texts and (match := MORE.match(line)):
            texts[-1] += " " + match[1]
        if "*/" in line:
            break
    return [parse_row(text, Path(path).stem) for text in texts]


def of_tree(directory):
    """All rows of a directory's guests, and Refusal where a name stands twice."""
    rows = [row for path in sorted(Path(directory).glob("*")) if path.suffix in (".c", ".rows")
            for row in of_file(path)]
    names = [row.name for row in rows]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise Refusal(f"rows of the same name: {', '.join(sorted(twice))}")
    return rows
