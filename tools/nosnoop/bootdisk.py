"""A disk from which Bochs starts a multiboot 1 kernel with modules, as QEMU does by itself."""
# SPDX-License-Identifier: BSD-2-Clause
import os
import struct
import subprocess
from pathlib import Path

from nosnoop import fat, gdb, paths
from nosnoop.status import Refusal

PAGE = 4096
MAP = 0x8000          # where sector.asm puts the memory map
# Bits of the information's flags (Multiboot Specification 0.6.96, "Boot information format").
HAS_CMDLINE, HAS_MODULES, HAS_MAP = 1 << 2, 1 << 3, 1 << 6
INFORMATION_SIZE = 116


def round_up(value, unit):
    """The next multiple of UNIT."""
    return -(-value // unit) * unit


def kernel_image(path):
    """What stands in memory of a kernel, by its header's address fields; its address and entry."""
    data = Path(path).read_bytes()
    at = gdb.header_offset(path, data)
    header, load, load_end, bss_end, entry = struct.unpack_from("<5I", data, at + 12)
    start = at - (header - load)
    image = data[start:start + load_end - load]
    return image.ljust(bss_end - load, b"\0"), load, entry


class Memory:
    """Bytes from an address on, and what is put behind them."""

    def __init__(self, data, address):
        self.data = bytearray(data)
        self.address = address

    def add(self, data, unit=4):
        """Puts DATA at the next multiple of UNIT, a power of two; returns its address."""
        end = round_up(self.address + len(self.data), unit)
        self.data = self.data.ljust(end - self.address, b"\0") + data
        return end

    def add_string(self, text):
        """Puts a C string; returns its address."""
        return self.add(os.fsencode(text) + b"\0", 1)


def add_information(memory, start):
    """Puts the modules and the information into MEMORY; returns the information's address."""
    modules = []
    for string in start.modules:
        data = Path(string.split(" ")[0]).read_bytes()
        first = memory.add(data, PAGE)
        modules.append((first, first + len(data), string))
    modules = [(*pair, memory.add_string(string)) for *pair, string in modules]
    cmdline = memory.add_string(f"{start.kernel} {start.cmdline}".rstrip())
    table = memory.add(b"".join(struct.pack("<4I", *module, 0) for module in modules))
    flags = HAS_CMDLINE | HAS_MODULES | HAS_MAP
    fields = struct.pack("<7I16x2I", flags, 0, 0, 0, cmdline, len(modules), table, 0, MAP)
    return memory.add(fields.ljust(INFORMATION_SIZE, b"\0"))


def sector(image, **numbers):
    """The first sector, which knows these NUMBERS, by a file beside IMAGE."""
    argv = ["nasm", "-f", "bin", "-o", f"{image}.sector", paths.ROOT / "tools/nosnoop/sector.asm"]
    argv += [f"-D{name}={value:#x}" for name, value in numbers.items()]
    try:
        subprocess.run(argv, check=True)
    except FileNotFoundError:
        raise Refusal("nasm is missing; run tools/deps") from None
    return Path(f"{image}.sector").read_bytes()


def make(image, start):
    """Makes the disk IMAGE of what START says."""
    data, address, entry = kernel_image(start.kernel)
    memory = Memory(data, address)
    information = add_information(memory, start)
    sectors = round_up(len(memory.data), fat.SECTOR) // fat.SECTOR
    with open(image, "wb") as out:
        out.write(sector(image, LOAD=address, SECTORS=sectors, INFORMATION=information,
                         ENTRY=entry))
        out.write(memory.data)
        out.truncate(round_up((1 + sectors) * fat.SECTOR, fat.CYLINDER))
