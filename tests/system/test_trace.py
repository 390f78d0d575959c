"""The trace against what the emulator shows: each kind of record is confirmed from outside."""
# SPDX-License-Identifier: BSD-2-Clause
import re
from dataclasses import replace

import pytest

from machine import Machine, bochs_machine
from nosnoop import trace
from observer import LINE_SIZE, Entry, watch_svm, watch_vmx
from walker import walk_ept, walk_npt

PAGE = 4096
PAT_AFTER_RESET = 0x0007040600070406
RING = re.compile(r"records are kept at 0x(\w+)")
ROOT = r"policy exact, .*, root 0x(\w+)"
CONTROL = ["--set", "policy=exact", "--set", "control=yes"]
# Steps of the guest: how many are made before memory types change, and in all.
BEFORE, SPLIT, JOINED, ALL = 2, 4, 5, 10
LEVELS = {1: PAGE, 2: PAGE << 9, 3: PAGE << 18}


def open_machine(system, bed, place, cmdline, *more):
    """A machine in which the guest waits; MORE: options of tools/run."""
    args = [*CONTROL, *more, "--cmdline", cmdline, system.guest("trace")]
    if bed == "svm":
        return Machine(system, place, *args, last="waiting")
    return bochs_machine(bed, *args, last="waiting")


# --- leaves, splits and joins: two dumps of the tables, and the ring as it lies in memory ---

def dump(system, bed, place, until):
    """The leaves after so many steps {GPA: (size, type)}, and the trace in the ring's memory."""
    place.mkdir()
    with open_machine(system, bed, place, f"wait=end until={until}") as machine:
        (root,), (pat,) = machine.logged(ROOT), machine.logged(r"host PAT 0x(\w+)")
        leaves = (walk_npt(machine.page, int(root, 16), int(pat, 16)) if bed == "svm"
                  else walk_ept(machine.page, int(root, 16)))
        found = {leaf.gpa: (leaf.size, leaf.type) for leaf in leaves}
        ring = int(machine.logged(RING.pattern)[-1], 16)
        data = machine.page(ring)
        size = 96 + 2048 * 32
        data += b"".join(machine.page(ring + at) for at in range(PAGE, size, PAGE))
    (traced,), warnings = trace.read(data)
    assert not warnings
    return found, traced.in_order()


def change(leaves, record):
    """What a record says of LEAVES, done to them; it must fit them."""
    size, old, new = LEVELS.get(record.what), record.info & 0xFF, record.info >> 8
    if record.is_kind("split"):
        assert leaves.pop(record.a) == (record.b, old) and record.b == size
        leaves |= {at: (size >> 9, new) for at in range(record.a, record.a + size, size >> 9)}
    elif record.is_kind("join"):
        for at in range(record.a, record.a + size, size >> 9):
            assert leaves.pop(at) == (size >> 9, old)
        leaves[record.a] = size, new
    elif record.is_kind("leaf"):
        for at in range(record.a, record.a + record.b, size):
            assert leaves[at] == (size, old)
            leaves[at] = size, new


@pytest.mark.parametrize("bed, steps", [("svm", [SPLIT, JOINED, ALL]), ("vmx", [SPLIT, ALL])])
def test_leaves_change_as_the_tables_do(system, bed, tmp_path, steps):
    before, _ = dump(system, bed, tmp_path / "before", BEFORE)
    for until in steps:
        leaves = dict(before)
        after, records = dump(system, bed, tmp_path / str(until), until)
        for record in records:
            change(leaves, record)
        assert leaves == after
        assert (after == before) == (until in (JOINED, ALL))
    kinds = [record.name for record in records]
    assert [kinds.count(name) for name in ("leaf", "split", "join")] == [5, 2, 2]


# --- the rest: every entry and exit as the emulator's debugger sees them ---

# What must be done before entries, in order: after which exit, and how many invalidations, WBINVD
# and CLFLUSH that is. Nothing is before all others. (SDM, "MTRR Considerations in MP Systems",
# "Programming the PAT"; APM, "Caching Operations", "TLB Control".)
ON_EACH_SPLIT_OR_JOIN = {"svm": 1, "vmx": 2}  # with its leaves: TLB_CONTROL once, INVEPT for each
OF_ANOTHER_VIEW = {"svm": [("WRMSR", 1, 0, 0)], "vmx": []}  # VMX tags by the root
OF_PAT = {"svm": [("WRMSR", 1, 0, 0)], "vmx": []}           # VMX has no exit


def needed(bed):
    """All of that."""
    two = ON_EACH_SPLIT_OR_JOIN[bed]
    return [("WRMSR", 1, 1, 0),                   # 2 MiB become UC
            ("WRMSR", two, 0, 0),                 # all but 8 KiB of them WB
            ("WRMSR", two, 0, 0),                 # and these
            ("WRMSR", two, 0, PAGE // LINE_SIZE),  # a page becomes WC
            *OF_ANOTHER_VIEW[bed] * 2,            # E = 0, and 1 again
            *OF_PAT[bed] * 2,                     # another one, and the old one again
            ("CR", two, 0, 0),                    # CD = 0: the page has become WB meanwhile
            ("hypercall", 1, 1, 0),               # somebody's rules
            ("hypercall", 1, 1, 0)]               # and its own again


def by_entry(traced, root, hw):
    """
    The Entries that a trace tells of, and the Records of their exits; HW: CR0.CD acts in the CPU
    though it is not the guest's.
    """
    entry, pat, uncached, found = Entry(), PAT_AFTER_RESET, False, []
    for record in traced.in_order():
        if record.is_kind("exit"):
            found.append((replace(entry, root=root, pat=pat, uncached=uncached), record))
            entry = Entry()
        elif record.is_kind("CR0"):
            uncached = hw and bool(record.a >> 30 & 1)
        elif record.is_kind("inject"):
            entry.injected = record.what, record.b
        elif record.is_kind("view"):
            root = record.a
        elif record.is_kind("PAT"):
            pat = record.b
        elif record.is_kind("invalidate"):
            entry.invalidations += 1
        elif record.is_kind("flush") and record.what:
            entry.clflush += record.b // LINE_SIZE
        elif record.is_kind("flush"):
            entry.wbinvd += 1
    return found


def svm_kind(code):
    """The kind that an exit code and its EXITINFO1 stand for (APM, "SVM Intercept Exit Codes")."""
    code, info = code
    return {0x72: "CPUID", 0x7C: "WRMSR" if info else "RDMSR", 0x81: "hypercall",
            0x10: "CR"}[code]


def vmx_kind(reason):
    """The same of a basic exit reason (SDM, "VMX Basic Exit Reasons")."""
    return {10: "CPUID", 31: "RDMSR", 32: "WRMSR", 18: "hypercall", 28: "CR"}[reason]


def written(said):
    """The MSRs and values that the guest has written, in order."""
    return [(int(msr, 16), int(value, 16))
            for msr, value in re.findall(r"^# wrmsr (\w+) (\w+)$", "\n".join(said), re.M)]


@pytest.fixture(scope="module", params=["svm", "vmx", "vmx cd=hw"])
def watched(request, system, tmp_path_factory):
    """A bed, what was Seen, the Entries of the trace with their exits, its records, the guest."""
    (bed, *keys), place = request.param.split(), tmp_path_factory.mktemp("trace")
    more = [word for key in keys for word in ("--set", key)]
    with open_machine(system, bed, place, "wait=begin", *more) as machine:
        (root,) = machine.logged(ROOT)
        if bed == "svm":
            seen = watch_svm(machine)
            machine.said += [line.rstrip() for line in machine.process.stdout]
            log = machine.log.read_text()
        else:
            seen = watch_vmx(machine)
            machine.wait(lambda: any("exits CPUID" in line for line in machine.log))
            log = "\n".join(machine.log)
    (traced,), warnings = trace.read(log.encode())
    assert not warnings
    return bed, seen, by_entry(traced, int(root, 16), bool(keys)), traced.in_order(), machine.said


def test_exits(watched):
    bed, seen, told, _, _ = watched
    kind = svm_kind if bed == "svm" else vmx_kind
    assert [(f"exit {kind(entry.exit[0])}", entry.exit[1]) for entry in seen.entries] == [
        (record.name, record.a) for _, record in told]


@pytest.mark.parametrize("what, least", [("injected", 3), ("root", 2), ("invalidations", 5),
                                         ("wbinvd", 1), ("clflush", 64), ("pat", 0),
                                         ("uncached", 0)])
def test_what_happens_before_an_entry(watched, what, least):
    bed, seen, told, _, _ = watched
    one, other = ([getattr(entry, what) for entry in entries]
                  for entries in (seen.entries, [entry for entry, _ in told]))
    if what == "pat" and bed == "vmx":
        assert set(one) == {None}  # it is the CPU's, and its writes do not exit
        return
    if what == "invalidations" and bed == "svm":
        other = [min(count, 1) for count in other]  # by the next entry, once
    assert one == other
    if what == "injected":
        assert [event for event in one if event] == [(13, 3), (13, 3), (6, 3)]
    elif what in ("root", "pat"):
        assert len(set(one)) >= least
    else:
        assert sum(one) >= least


def test_what_must_happen_and_no_more(watched):
    bed, seen, _, _, _ = watched
    kind = svm_kind if bed == "svm" else vmx_kind
    found = [(kind(before.exit[0]), entry.invalidations, entry.wbinvd, entry.clflush)
             for before, entry in zip(seen.entries, seen.entries[1:]) if not entry.uncached]
    assert [entry for entry in found if any(entry[1:])] == needed(bed)


def test_caches_while_cd_acts_by_the_host(watched, request):
    _, seen, _, _, _ = watched
    hw = "cd=hw" in request.node.name
    uncached = [entry for entry in seen.entries if entry.uncached]
    assert len(uncached) == (7 if hw else 0)  # the write of CR0 is followed by so many exits
    assert all((entry.invalidations, entry.wbinvd, entry.clflush) == (0, 1, 0)
               for entry in uncached)
    assert seen.cd_at_wbinvd.count(True) == len(uncached)  # it is set before (SDM, "Preventing
    assert not any(seen.cd_after_exit)                     # Caching"), and not for C code


def test_registers_are_those_that_the_guest_wrote(watched):
    bed, _, _, records, said = watched
    writes = written(said)
    mtrrs = [(msr, value) for msr, value in writes if msr != 0x277]
    assert mtrrs and [(r.a, r.b) for r in records if r.is_kind("MTRR")] == mtrrs
    pats = [(msr, value) for msr, value in writes if msr == 0x277]
    assert len(pats) == 2
    assert [(r.a, r.b) for r in records if r.is_kind("PAT")] == (pats if bed == "svm" else [])
    cr0 = [r.a >> 30 & 1 for r in records if r.is_kind("CR0")]
    assert cr0 == ([0] if bed == "svm" else [1, 0])  # on the first CD = 1 does not exit
