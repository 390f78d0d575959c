"""The live tables of the host, while a guest runs: W^X, and no guest memory in them."""
# SPDX-License-Identifier: BSD-2-Clause
import pytest

from machine import Machine
from walker import walk

IMAGE_VA = 0xFFFFFFFF80000000
AREA_VA = 0xFFFFFFFFC0000000
STACK_PAGES = 4 + 3 * 2


@pytest.fixture(scope="module")
def live(system, tmp_path_factory):
    """The host's mappings, and the guest's memory as ranges of host-physical addresses."""
    with Machine(system, tmp_path_factory.mktemp("live"), system.guest("spin")) as machine:
        (cr3,) = machine.logged(r"host CR3 (0x[0-9a-f]+)")
        mappings = list(walk(machine.page, int(cr3, 16)))
        memory = machine.logged(r"vm spin: memory GPA 0x(\w+)-0x(\w+) at HPA 0x(\w+)")
    ranges = []
    for start, end, hpa in memory:
        size = int(end, 16) - int(start, 16)
        ranges.append((int(hpa, 16), int(hpa, 16) + size))
    return mappings, ranges


def test_the_walk_found_the_hypervisor(live):
    mappings, ranges = live
    code = [m for m in mappings if m.va <= IMAGE_VA < m.va + m.size]
    assert len(code) == 1 and code[0].execute
    assert any(m.write for m in mappings)
    assert sum(end - start for start, end in ranges) == 64 << 20


def test_no_page_is_both_writable_and_executable(live):
    mappings, _ = live
    assert [m for m in mappings if m.write and m.execute] == []


def test_the_area_of_a_cpu_is_mapped_once(live):
    """Stacks and the like are nowhere but in the area, which is no part of the pool."""
    mappings, _ = live
    area = [m for m in mappings if m.va >= AREA_VA]
    assert len(area) == 1 + STACK_PAGES + 1
    for own in area:
        assert [m.va for m in mappings if m.overlaps(own.pa, own.pa + own.size)] == [own.va]


def test_no_page_is_for_user_mode(live):
    mappings, _ = live
    assert [m for m in mappings if m.user] == []


def test_no_guest_memory_is_mapped(live):
    mappings, ranges = live
    assert [m for m in mappings for r in ranges if m.overlaps(*r)] == []
