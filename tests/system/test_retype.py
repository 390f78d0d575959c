"""What a guest's memory costs: table pages, exits, and what a change of types touches of them."""
# SPDX-License-Identifier: BSD-2-Clause
import re
import struct

import pytest

from machine import Machine
from walker import PRESENT, paths

MEGABYTE = 1 << 20
SET_BY_THE_CPU = 1 << 5 | 1 << 6  # accessed, dirty
PAGES_TOUCHED = 2  # at most, where one large page changes: its table, and what leads to a new one


def run(system, bed, policy, cmdline, *args):
    """A run of the guest, which must pass."""
    outcome = system.run("--bed", bed, "--timeout", "40", "--set", f"policy={policy}",
                         "--cmdline", cmdline, *args, system.guest("retype"))
    assert outcome.status == 0, outcome.guest.decode() + outcome.log_text
    return outcome


def rewritten(outcome):
    """Bytes of leaves rewritten, and invalidations, by the log."""
    found = re.search(r"types (\d+) bytes of leaves rewritten, (\d+) invalidations$",
                      outcome.log_text, re.M)
    return int(found[1]), int(found[2])


@pytest.mark.parametrize("bed", ["svm", "vmx", "svm-bochs"])
def test_the_same_values_touch_nothing(system, bed):
    assert rewritten(run(system, bed, "exact", "same=20")) == (0, 0)
    size, invalidations = rewritten(run(system, bed, "exact", "change=32"))
    assert size == 2 * MEGABYTE and invalidations in (1, 2)


@pytest.mark.parametrize("policy, pages", [("wb", 4), ("exact", 6)])
def test_memory_is_there_from_the_start(system, policy, pages):
    outcome = run(system, "svm", policy, "touch=yes", "--mem", "8G")
    (touched,) = re.findall(rb"^# touched (\d+) pages", outcome.guest, re.M)
    assert int(touched) > (8192 - 4) * MEGABYTE / 4096
    assert "exits memory" not in outcome.log_text and "exits I/O" in outcome.log_text
    (count,) = re.findall(r"policy \w+, (\d+) table pages", outcome.log_text)
    assert int(count) <= pages  # of exact two more, for A0000 to BFFFF


def tables(system, place, change):
    """All table pages of a guest that has made a change: {address: entries}."""
    place.mkdir()
    pages = {}
    with Machine(system, place, "--mem", "8G", "--set", "policy=exact", "--cmdline",
                 f"change={change} wait=yes", system.guest("retype"), last="waiting") as machine:
        def read_page(address):
            pages[address] = machine.page(address)
            return pages[address]

        (root,) = machine.logged(r"policy exact, .*, root 0x(\w+)")
        assert list(paths(read_page, int(root, 16), PRESENT))
    return {address: [entry & ~SET_BY_THE_CPU for entry in struct.unpack("<512Q", page)]
            for address, page in pages.items()}


@pytest.mark.parametrize("megabytes", [32, 1056, 5120])  # the last two in leaves of 1 GiB
def test_a_range_touches_few_pages(system, tmp_path, megabytes):
    before, after = (tables(system, tmp_path / str(at), at) for at in (0, megabytes))
    touched = [address for address in before.keys() | after.keys()
               if before.get(address) != after.get(address)]
    assert 1 <= len(touched) <= PAGES_TOUCHED
    assert len(after) - len(before) == (megabytes > 1024)
