"""Guests' ACPI tables as iasl takes them apart, and as it makes them of what it wrote."""
# SPDX-License-Identifier: BSD-2-Clause
import re
import shutil
import struct
import subprocess

import pytest

from nosnoop import paths

GPA = 0xF0000
CPUS = 3


@pytest.fixture(scope="module", name="memory")
def tables_of_a_guest(tmp_path_factory):
    """The bytes from GPA on, as they are built for a VM of CPUS vCPUs."""
    if not shutil.which("iasl"):
        pytest.skip("iasl is missing; run tools/deps")
    image = tmp_path_factory.mktemp("tables") / "tables"
    subprocess.run([paths.built("unit/test_platform"), str(CPUS), image], check=True)
    return image.read_bytes()


def number(memory, at, size):
    """A little-endian number at a guest-physical address."""
    return int.from_bytes(memory[at - GPA:][:size], "little")


def table(memory, at):
    """The table at a guest-physical address."""
    return memory[at - GPA:][:number(memory, at + 4, 4)]


def tables(memory):
    """All tables that the RSDP leads to, by their names."""
    rsdp = GPA + memory.index(b"RSD PTR ")
    roots = table(memory, number(memory, rsdp + 16, 4)), table(memory, number(memory, rsdp + 24, 8))
    found = list(roots)
    for (at,) in struct.iter_unpack("<Q", roots[1][36:]):
        found.append(table(memory, at))
        if found[-1][:4] == b"FACP":
            found += [table(memory, number(memory, at + offset, 4)) for offset in (36, 40)]
    return {one[:4].decode(): one for one in found}


def iasl(*argv, cwd):
    """What iasl says; it must have no complaint."""
    done = subprocess.run(["iasl", *argv], cwd=cwd, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=20)
    assert done.returncode == 0, done.stdout
    for complaint in ("Error:", "Warning", "checksum", "Invalid", "Unknown"):
        assert complaint not in done.stdout.replace("0 Warnings", ""), done.stdout
    return done.stdout


def there_and_back(directory, name, data):
    """The source that iasl -d makes of a table, and the table that iasl makes of that."""
    (directory / f"{name}.aml").write_bytes(data)
    iasl("-d", f"{name}.aml", cwd=directory)
    iasl("-we", "-p", f"back-{name}", f"{name}.dsl", cwd=directory)
    back = (directory / f"back-{name}.aml").read_bytes()
    return (directory / f"{name}.dsl").read_text(), back


def without_author(name, data):
    """A table without checksum and creator, which iasl writes anew; the FACS has none."""
    return data if name == "FACS" else data[:9] + data[10:28] + data[36:]


def test_every_table_goes_there_and_back(memory, tmp_path):
    found = tables(memory)
    assert sorted(found) == ["APIC", "DSDT", "FACP", "FACS", "MCFG", "RSDT", "XSDT"]
    for name, data in found.items():
        _, back = there_and_back(tmp_path, name, data)
        assert without_author(name, back) == without_author(name, data), name


@pytest.mark.parametrize("offset", [8, 50])
def test_a_changed_byte_is_found(memory, tmp_path, offset):
    data = bytearray(tables(memory)["APIC"])
    data[offset] ^= 4
    with pytest.raises(AssertionError):
        there_and_back(tmp_path, "APIC", data)


def test_the_namespace_has_the_devices(memory, tmp_path):
    text, _ = there_and_back(tmp_path, "DSDT", tables(memory)["DSDT"])
    for hid in ("PNP0000", "PNP0100", "PNP0800", "PNP0B00", "PNP0501", "PNP0C02", "QEMU0002",
                "PNP0A08"):
        assert f'"{hid}"' in text, hid
    assert text.count('"PNP0501"') == 2
    assert "Name (_S5, Package (0x04)" in text
    assert "Name (COMS, 0x03)" in text


def test_pci_has_the_hole_but_for_what_is_there(memory, tmp_path):
    text, _ = there_and_back(tmp_path, "DSDT", tables(memory)["DSDT"])
    bridge = text[text.index("Device (PCI0)"):text.index("Device (SYSR)")]
    for first, last in (("0x0D00", "0xFFFF"), ("0xC0000000", "0xDFFFFFFF"),
                        ("0xE0100000", "0xFEBFFFFF")):
        range_of = re.search(rf"{first},\s+// Range Minimum\s+{last},\s+// Range Maximum", bridge)
        assert range_of, first
    assert "0xE0000000" in text[text.index("Device (SYSR)"):]


def routes(directory, memory, mode):
    """{(device, INTA as 0): pin} as the DSDT's _PRT says to a system that uses that controller."""
    if not shutil.which("acpiexec"):
        pytest.skip("acpiexec is missing; run tools/deps")
    (directory / "DSDT.aml").write_bytes(tables(memory)["DSDT"])
    done = subprocess.run(["acpiexec", "-b", f"execute \\_PIC {mode};execute \\_SB.PCI0._PRT",
                           "DSDT.aml"], cwd=directory, text=True, capture_output=True, timeout=20,
                          check=True)
    numbers = [int(value, 16) for value in re.findall(r"\[Integer\] = ([0-9A-F]+)", done.stdout)]
    assert len(numbers) == 4 * 128, done.stdout
    found = {}
    for address, intx, source, index in zip(*[iter(numbers)] * 4):
        assert address & 0xFFFF == 0xFFFF and source == 0
        found[address >> 16, intx] = index
    return found


def test_all_pci_interrupts_are_one_irq_of_the_8259s(memory, tmp_path):
    assert routes(tmp_path, memory, 0) == {
        (device, intx): 11 for device in range(32) for intx in range(4)}


def test_mp_table_and_prt_agree(memory, tmp_path):
    """The functions that test_platform has, by the MP table's entries of bus 0, which is PCI's."""
    by_prt = routes(tmp_path, memory, 1)
    assert len(by_prt) == 128
    start = memory.index(b"PCMP") + 44
    entries = re.findall(rb"\x03\x00\x0f\x00\x00([\x00-\x7f])\x05(.)", memory[start:start + 400],
                         re.S)
    by_mp = {(irq >> 2, irq & 3): pin for irq, pin in map(b"".join, entries)}
    assert sorted(by_mp) == [(0, 2), (1, 0), (5, 0), (7, 3), (8, 1), (13, 0), (16, 1), (31, 3)]
    assert by_mp == {at: by_prt[at] for at in by_mp}


def test_the_madt_says_what_is_where(memory, tmp_path):
    text, _ = there_and_back(tmp_path, "APIC", tables(memory)["APIC"])
    assert text.count("[Processor Local APIC]") == CPUS
    assert text.count("[I/O APIC]") == 1
    assert text.count("[Interrupt Source Override]") == 2
    assert text.count("[Local APIC NMI]") == 1
