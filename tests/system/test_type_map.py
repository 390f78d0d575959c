"""A guest's second-level tables, dumped while it waits, against the oracle and its own MTRRs."""
# SPDX-License-Identifier: BSD-2-Clause
import random
import re
import struct
from dataclasses import dataclass, field

import pytest

from machine import Machine, bochs_machine
from walker import UC, WB, WC, WP, WT, walk_ept, walk_npt

MAP = re.compile(r"# map (\w+) root ([0-9a-f]+)")
LEAVES = re.compile(r"# leaves (\w+) (\w+) (\w+) (\d) (\d) (\d)")
MTRR = re.compile(r"# (default|variable|fixed) ([0-9a-f ]+)")
LEVEL_SIZE = {1: 1 << 12, 2: 1 << 21, 3: 1 << 30}
PAGE, MEGABYTE = 1 << 12, 1 << 20
# In which state the guest waits; the views of the other states are made before. 3G on QEMU lie in
# two pieces, the larger of which begins at a multiple of a gigabyte.
RUNS = [("svm", "typed", "3G"), ("svm", "disabled", "64M"), ("svm", "cd", "64M"),
        ("vmx", "typed", "64M"), ("vmx", "cd", "64M"), ("svm-bochs", "disabled", "64M")]
RANGES_END = 64 * MEGABYTE  # the guest sets no range above
CHANGED = 12  # entries in which bits are changed, one at a time


@dataclass
class Dump:
    """What a machine held when it was stopped; numbers beside the guest's own are the log's."""
    bed: str
    state: str
    mtrrs: dict   # kind of register: values, or pairs of them
    # name: (root, {GPA: (HPA, size, type, IPAT)}), by the oracle
    maps: dict = field(repr=False)
    memory: list  # (GPA, end, HPA)
    root: int     # of the view that the guest began with
    pat: int      # the host's
    pages: dict = field(default_factory=dict, repr=False)  # address: bytes, of all tables

    def walk(self, root, read_page=None):
        """The Leafs under ROOT."""
        read_page = read_page or self.pages.__getitem__
        if self.bed == "vmx":
            return walk_ept(read_page, root)
        return walk_npt(read_page, root, self.pat)

    def leaves(self, root, read_page=None):
        """The leaves under ROOT as the oracle's map has them, and what they allow."""
        found = list(self.walk(root, read_page))
        table = {leaf.gpa: (leaf.hpa, leaf.size, leaf.type, leaf.ipat) for leaf in found}
        assert len(table) == len(found)
        return table, {leaf.rights for leaf in found}


def hexadecimal(texts):
    """The numbers of a match."""
    return tuple(int(text, 16) for text in texts)


def oracle_maps(said):
    """The maps that the guest has printed: start, end, HPA, level, type, IPAT."""
    maps = {}
    for line in said:
        if match := MAP.fullmatch(line):
            leaves = {}
            maps[match[1]] = int(match[2], 16), leaves
        elif match := LEAVES.fullmatch(line):
            start, end, hpa, level, kind, ipat = hexadecimal(match.groups())
            size = LEVEL_SIZE[level]
            assert start % size == 0 and end % size == 0, f"a leaf of more than one type: {line}"
            for at in range(start, end, size):
                leaves[at] = hpa + at - start, size, kind, bool(ipat)
    return maps


def printed_mtrrs(said):
    """The registers that the guest has printed."""
    mtrrs = {"default": [], "variable": [], "fixed": []}
    for match in filter(None, map(MTRR.fullmatch, said)):
        mtrrs[match[1]].append(hexadecimal(match[2].split()))
    return mtrrs


def read_dump(bed, state, machine):
    """Reads all tables of a stopped machine."""
    (pat,) = machine.logged(r"host PAT 0x(\w+)")
    (root,) = machine.logged(r"vm typemap: policy exact, .*, root 0x(\w+)")
    memory = machine.logged(r"vm typemap: memory GPA 0x(\w+)-0x(\w+) at HPA 0x(\w+)")
    dump = Dump(bed, state, printed_mtrrs(machine.said), oracle_maps(machine.said),
                [hexadecimal(texts) for texts in memory], int(root, 16), int(pat, 16))

    def read_page(address):
        if address not in dump.pages:
            dump.pages[address] = machine.page(address)
        return dump.pages[address]

    for top, _ in dump.maps.values():
        dump.leaves(top, read_page)
    return dump


@pytest.fixture(scope="module", name="dump", params=enumerate(RUNS, 1),
                ids=["-".join(run) for run in RUNS])
def run_guest(request, system, tmp_path_factory):
    """The Dump of a run; each run has changed the tables in other ways before."""
    seed, (bed, state, memory) = request.param
    arguments = ("--mem", memory, "--set", "policy=exact", "--set", "control=yes", "--cmdline",
                 f"changes=100 seed={seed} state={state} wait=yes", system.guest("typemap"))
    if bed == "svm":
        started = Machine(system, tmp_path_factory.mktemp("map"), *arguments, last="waiting")
    else:
        started = bochs_machine(bed, *arguments, last="waiting")
    with started as machine:
        return read_dump(bed, state, machine)


def differences(dump, changed=None):
    """What only the tables or only the oracle's maps have; CHANGED: pages as they became."""
    pages = {**dump.pages, **(changed or {})}
    for root, oracle in dump.maps.values():
        leaves, rights = dump.leaves(root, pages.__getitem__)
        yield from leaves.items() ^ oracle.items()
        yield from rights - {"rwx"}


def test_every_leaf_is_as_the_oracle_says(dump):
    assert list(dump.maps)[-1] == dump.state and len(dump.maps) == 3
    assert not list(differences(dump))


def test_the_views_are_as_many_as_they_should_be(dump):
    roots = {name: root for name, (root, _) in dump.maps.items()}
    assert roots["typed"] == dump.root != roots["disabled"]
    assert (roots["cd"] == roots["typed"]) == (dump.bed != "vmx")
    assert roots["cd"] != roots["disabled"]


def test_the_memory_and_nothing_else_is_mapped(dump):
    for root, _ in dump.maps.values():
        leaves = dump.walk(root)
        for at, end, hpa in dump.memory:
            while at < end:
                leaf = next(leaves)
                assert (leaf.gpa, leaf.hpa) == (at, hpa)
                at, hpa = at + leaf.size, hpa + leaf.size
            assert at == end
        assert not list(leaves)


# --- the types, by the manuals alone ---

def fixed_ranges(values):
    """(start, end, type) of all fixed ranges; SDM, "Fixed Range MTRRs"."""
    at = 0
    for size, (value,) in zip([0x10000] + 2 * [0x4000] + 8 * [0x1000], values, strict=True):
        for byte in value.to_bytes(8, "little"):
            yield at, at + size, byte
            at += size


def of_variable(matching, default):
    """The type where ranges of the types MATCHING overlap; SDM, "MTRR Precedences"."""
    if len(matching) < 2:
        return next(iter(matching), default)
    return WT if matching == {WT, WB} else UC


def page_types(mtrrs):
    """The type of each page where ranges are, if E and FE are 1, and that of all others."""
    ((default,),) = mtrrs["default"]
    pairs = [(base & 7, base & -PAGE, mask & -PAGE) for base, mask in mtrrs["variable"]
             if mask >> 11 & 1]
    types = {}
    for at in range(0, RANGES_END, PAGE):
        matching = {kind for kind, base, mask in pairs if at & mask == base & mask}
        types[at] = of_variable(matching, default & 7)
    for start, stop, kind in fixed_ranges(mtrrs["fixed"]):
        types.update(dict.fromkeys(range(start, stop, PAGE), kind))
    return types, default & 7


def test_types_are_those_of_the_mtrrs(dump):
    types, default = page_types(dump.mtrrs)
    assert set(types.values()) == {UC, WC, WT, WP, WB}
    for name, (root, _) in dump.maps.items():
        ignores_pat = name == "cd" and dump.bed == "vmx"
        uncached = name == "disabled" or ignores_pat
        for leaf in dump.walk(root):
            pages = range(leaf.gpa, leaf.gpa + leaf.size, PAGE)
            want = {UC} if uncached else {types.get(at, default) for at in pages}
            assert want == {leaf.type} and leaf.ipat == ignores_pat, leaf


def test_large_leaves_are_kept(dump):
    _, leaves = dump.maps["typed"]
    small = {gpa // (2 * MEGABYTE) for gpa, (_, size, _, _) in leaves.items() if size == PAGE}
    assert small == {megabytes // 2 for megabytes in (0, 36, 40, 50, 58)}
    _, leaves = dump.maps["disabled"]
    sizes = {size for _, size, _, _ in leaves.values()}
    assert sizes == {LEVEL_SIZE[2]} | ({LEVEL_SIZE[3]} if len(dump.memory) > 1 else set())


# --- this test itself ---

def changes(dump):
    """Pages with one bit changed in one entry: a permission, an address, a type."""
    entries = [(address, index, entry) for address, page in dump.pages.items()
               for index, entry in enumerate(struct.unpack("<512Q", page)) if entry]
    for address, index, entry in random.Random(1).sample(entries, CHANGED):
        for bit in (0, 1, 3, 21):
            page = bytearray(dump.pages[address])
            struct.pack_into("<Q", page, 8 * index, entry ^ 1 << bit)
            yield address, index, bit, bytes(page)


def is_found(dump, address, page):
    """Whether a changed page is refused, leads out of the tables, or makes a difference."""
    try:
        return bool(list(differences(dump, {address: page})))
    except (AssertionError, KeyError):
        return True


def test_a_changed_bit_is_found(dump):
    missed = [(hex(address), index, bit) for address, index, bit, page in changes(dump)
              if not is_found(dump, address, page)]
    assert not missed


def test_a_leaf_too_many_is_found(dump):
    root, _ = dump.maps["typed"]
    page = bytearray(dump.pages[root])
    assert page[8:16] == bytes(8)
    page[8:16] = page[0:8]  # the same memory once more, 512 GiB above
    assert is_found(dump, root, bytes(page))
