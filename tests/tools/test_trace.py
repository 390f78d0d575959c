"""Tests of tools/trace on made-up logs and rings, the hostile among them."""
# SPDX-License-Identifier: BSD-2-Clause
import csv
import io
import json
import re
import struct
import subprocess
import sys
import xml.etree.ElementTree

import pytest

from nosnoop import paths, trace, trace_output
from nosnoop.status import USAGE, Refusal

EXIT, INJECT, MTRR, VIEW, LEAF, FLUSH = 1, 2, 3, 6, 7, 11
CPUID, WRMSR = 1, 3
SINCE, KHZ = 1000, 2_000_000  # so that a microsecond has 2000 ticks
# tsc, kind, what, info, a, b
RECORDS = [
    (5000, EXIT, CPUID, 2000, 0x100, 0x80000008),
    (6000, INJECT, 13, 0x10, 0x100, 3),
    (9000, EXIT, WRMSR, 1000, 0x110, 0x20F << 32 | 0x800),
    (9100, MTRR, 1, 0, 0x20F, 0xFFFFE00800),
    (9500, FLUSH, 0, 0, 0x2000000, 0x200000),
    (9700, LEAF, 2, 0x86, 0x2000000, 0x200000),
    (9800, VIEW, 1, 0, 0x227000, 0),
    (20000, EXIT, CPUID, (1 << 32) - 1, 0x120, 0),
]


def head(first=0, end=len(RECORDS), version=3, size=32, cpu=0, since=SINCE):
    """The line that says whose records follow."""
    return (f"[      4711 0] trace: CPU {cpu} vm my vm version {version} size {size} records "
            f"{first} to {end} since {since:#x} khz {KHZ}\n")


def lines(records, cpu=0, each=3):
    """The lines of records."""
    texts = ["".join(f"{word:016x}" for word in struct.unpack("<4Q", trace.RECORD.pack(*record)))
             for record in records]
    return "".join(f"[      4712 0] trace {cpu} {' '.join(texts[i:i + each])}\n"
                   for i in range(0, len(texts), each))


def ring(records, written, count=8, version=3, size=32, offset=96):
    """A ring's memory, in which RECORDS were the last of WRITTEN."""
    data = bytearray(offset + 32 * count)
    trace.RING.pack_into(data, 0, trace.MAGIC, version, size, count, offset, 3, KHZ, SINCE, written,
                         b"my vm")
    for index, record in enumerate(records):
        at = (written - len(records) + index) % count
        trace.RECORD.pack_into(data, offset + 32 * at, *record)
    return bytes(data)


def read(text):
    """The only Trace of a text, and the warnings."""
    (found,), warnings = trace.read(text.encode())
    return found, warnings


def tuples(found):
    """Its records as in RECORDS."""
    return [(r.tsc, r.kind, r.what, r.info, r.a, r.b) for r in found.in_order()]


GOOD = "nosnoop 0.1\n" + head() + lines(RECORDS) + "[ 9 0] exit: vm my vm value 0\n"


# --- the names are those of the headers ---

def enum_of(path, name):
    """The names in an enum of a header."""
    body = re.search(rf"enum {name} {{(.*?)}};", (paths.ROOT / path).read_text(), re.S)[1]
    return re.findall(r"^ *([A-Z]\w+)", re.sub(r"/\*.*?\*/", "", body, flags=re.S), re.M)


def plain(name):
    """A name without what sets it apart from others."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


@pytest.mark.parametrize("names, path, enum, prefix", [
    (trace.KINDS, "vmm/instruments/trace.h", "trace_kind", "TRACE_"),
    (trace.EXITS, "vmm/virt.h", "exit_kind", "EXIT_"),
    (trace.VIEWS, "vmm/typing/policy.h", "view_kind", "VIEW_"),
])
def test_names(names, path, enum, prefix):
    listed = [name.removeprefix(prefix) for name in enum_of(path, enum)]
    assert [plain(name) for name in names] == [plain(name) for name in listed
                                               if name not in ("KINDS", "S") and name != "VIEWS"]


# --- reading ---

def test_a_log():
    found, warnings = read(GOOD)
    assert (found.cpu, found.vm, found.since, found.khz) == (0, "my vm", SINCE, KHZ)
    assert tuples(found) == RECORDS and not warnings


def test_rings_of_one_time_add_up_and_a_new_time_begins_anew():
    first, second = head(0, 3) + lines(RECORDS[:3]), head(2, 8) + lines(RECORDS[2:])
    assert tuples(read(first + second)[0]) == RECORDS
    again = head(0, 1, since=SINCE + 1) + lines(RECORDS[:1])
    assert tuples(read(first + second + again)[0]) == RECORDS[:1]


def test_cpus_are_apart():
    text = GOOD + head(0, 2, cpu=1) + lines(RECORDS[:2], cpu=1)
    found, _ = trace.read(text.encode())
    assert [(one.cpu, len(one.records)) for one in found] == [(0, 8), (1, 2)]


@pytest.mark.parametrize("text, count, warning", [
    (head() + lines(RECORDS[:5]), 5, "records 5 to 8 are missing"),
    (head() + lines(RECORDS)[:-70], 6, "line 4: a line of the trace that is cut"),
    (head().replace("since", "sin") + GOOD, 8, None),
    (lines(RECORDS) + GOOD, 8, "line 1: records before a line that says whose"),
    (head(0, 2) + lines(RECORDS), 2, "line 2: more records than there should be"),
    (head() + lines(RECORDS).replace("trace 0 0", "trace 0 z", 1), 5, "line 2: a line"),
    (head(0, 10**18) + lines(RECORDS), 8, "records 8 to 1000000000000000000 are missing"),
    (GOOD + "[ 1 0] trace 7 " + "0" * 64 + "\n", 8, "records before a line"),
    (GOOD.replace("\n", "\r\n"), 8, None),
])
def test_odd_logs(text, count, warning):
    found, warnings = read(text)
    assert len(found.records) == count
    assert any(warning in said for said in warnings) if warning else not warnings


@pytest.mark.parametrize("data, message", [
    (b"", "no trace"), (b"\xff\x00" * 1000, "no trace"), (head().encode(), "no trace"),
    ((head(version=1) + lines(RECORDS)).encode(), "version 1"),
    ((head(size=64) + lines(RECORDS)).encode(), "records of 64 bytes"),
    ((head(9, 3) + lines(RECORDS)).encode(), "no range"),
    (b"NTRC", "cut: 4 bytes"), (ring(RECORDS, 8)[:-1], "cut or no ring"),
    (ring(RECORDS, 8, version=9), "version 9"), (ring(RECORDS, 8, size=8), "records of 8 bytes"),
    (ring([], 0, count=0), "0 records"),
    (ring(RECORDS, 8)[:12] + b"\0" * 4 + ring(RECORDS, 8)[16:], "cut or no ring"),
    (ring(RECORDS, 8)[:8] + b"\xff" * 4 + ring(RECORDS, 8)[12:], "cut or no ring"),
])
def test_refused(data, message):
    with pytest.raises(Refusal, match=message):
        trace.read(data)


@pytest.mark.parametrize("written, there", [(8, RECORDS), (3, RECORDS[:3]), (0, []),
                                            ((1 << 64) - 3, RECORDS)])
def test_a_ring(written, there):
    (found,), warnings = trace.read(ring(there, written))
    assert (found.cpu, found.vm, tuples(found), warnings) == (3, "my vm", there, [])
    assert not there or found.in_order()[-1].number == written - 1


def test_any_record_can_be_described():
    for kind in range(20):
        for what in range(25):
            for word in (0, 0x0F0E0D0C0B0A0908, (1 << 64) - 1):
                found = trace.Record(0, 0, kind, what, word & 0xFFFFFFFF, word, word)
                assert found.name and found.details()


# --- writing ---

def output(function, *args):
    """What a function writes of the good log."""
    out = io.StringIO()
    function([read(GOOD)[0]], out, *args)
    return out.getvalue()


def test_text_says_what_the_fields_mean():
    text = output(trace_output.as_text)
    for part in ("exit CPUID       RIP 0x100, leaf 0x80000008 subleaf 0x0, in the guest 2000 ticks",
                 "exception 13, error 0x10", "MSR 0x20f = 0xffffe00800, another value",
                 "WBINVD, for GPA 0x2000000+0x200000", "disabled, root 0x227000",
                 "GPA 0x2000000+0x200000 level 2, WB IPAT to UC", "in the guest very long"):
        assert part in text
    assert re.search(r"^ +3 +4\.050 us  MTRR ", text, re.M)


def test_csv():
    table = list(csv.DictReader(io.StringIO(output(trace_output.as_csv))))
    assert [(int(row["tsc"]), int(row["what"]), int(row["info"]), int(row["a"], 16),
             int(row["b"], 16)) for row in table] == [(r[0], *r[2:]) for r in RECORDS]
    assert [row["us"] for row in table[:2]] == ["2.000", "2.500"]


def test_json():
    events = json.loads(output(trace_output.as_json))["traceEvents"]
    slices = [(e["name"], e["ts"], e["dur"]) for e in events if e["ph"] == "X"]
    # The guest runs from 3000 to 5000 and from 8000 to 9000 ticks; when it was entered before
    # 20000, the record cannot say: not before what is recorded at 9800.
    near = pytest.approx
    assert slices == [("guest", 1, 1), ("exit CPUID", 2, 1.5), ("guest", 3.5, 0.5),
                      ("exit WRMSR", 4, near(0.4)), ("exit CPUID", 9.5, 0)]
    assert [e["name"] for e in events if e["ph"] == "i"] == ["inject", "MTRR", "flush", "leaf",
                                                             "view"]
    assert {e["args"]["name"] for e in events if e["ph"] == "M"} == {"VM my vm", "CPU 0"}
    assert {(e["pid"], e["tid"]) for e in events} == {(1, 0)}


def drawn(text):
    """The numbers of the records in a timeline."""
    root = xml.etree.ElementTree.fromstring(text.encode())
    return sorted(int(element.get("data-number")) for element in root.iter()
                  if element.get("data-number"))


def test_svg():
    text = output(trace_output.as_svg)
    assert drawn(text) == list(range(len(RECORDS)))
    assert "exit CPUID (2)" in text and "CPU 0, VM my vm" in text
    assert drawn(output(trace_output.as_svg, 2.4, 4.1)) == [0, 1, 2, 3]


@pytest.mark.parametrize("span", [1e-6, 0.1, 1, 7, 99, 12345, 1e9])
def test_the_axis_has_readable_ticks(span):
    ticks = span / trace_output.Scale(0, span).step()
    assert ticks <= trace_output.TICKS + 1e-9


# --- the tool ---

def tool(*args):
    """Runs it."""
    return subprocess.run([sys.executable, paths.ROOT / "tools/trace", *args], text=True,
                          capture_output=True, check=False)


def test_the_tool(tmp_path):
    log = tmp_path / "log"
    log.write_text(GOOD)
    done = tool(log)
    assert done.returncode == 0 and "exit WRMSR" in done.stdout and not done.stderr
    files = {name: tmp_path / name for name in ("json", "csv", "svg")}
    done = tool(log, *(word for name, path in files.items() for word in (f"--{name}", path)))
    assert (done.returncode, done.stdout) == (0, "")
    assert all(path.stat().st_size > 100 for path in files.values())


def test_the_tool_warns_and_goes_on(tmp_path):
    log = tmp_path / "log"
    log.write_text(head() + lines(RECORDS[:5]))
    done = tool(log)
    assert done.returncode == 0 and "exit WRMSR" in done.stdout
    assert "are missing: the log has been cut" in done.stderr


@pytest.mark.parametrize("text, args, message", [
    ("nothing\n", [], "there is no trace in it: turn it on"), (None, [], "No such file"),
    (head(version=7), [], "version 7"), (GOOD, ["--cpu", "5"], "no trace of CPU 5; there is of 0"),
    (GOOD, ["--svg", "/nowhere/at/all"], "/nowhere/at/all"),
])
def test_the_tool_refuses(tmp_path, text, args, message):
    log = tmp_path / "log"
    if text is not None:
        log.write_text(text)
    done = tool(log, *args)
    assert done.returncode == USAGE and message in done.stderr and "Traceback" not in done.stderr


def test_help():
    done = tool("--help")
    assert done.returncode == 0 and "--svg" in done.stdout


def test_exits_have_the_names_of_the_hypervisor():
    """In the order of its enumeration."""
    header = (paths.ROOT / "vmm/virt.h").read_text()
    body = re.search(r"enum exit_kind \{(.*?)EXIT_KINDS", header, re.S)[1]
    order = re.findall(r"\b(EXIT_\w+),", re.sub(r"/\*.*?\*/", "", body, flags=re.S))
    run = (paths.ROOT / "vmm/vcpu/run.c").read_text()
    names = dict(re.findall(r'\[(EXIT_\w+)\] = "(.*)"', run))
    assert trace.EXITS == tuple(names[kind] for kind in order)
