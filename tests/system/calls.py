"""Which functions of the kernel may call which others, by its machine code."""
# SPDX-License-Identifier: BSD-2-Clause
import bisect
import re
import subprocess
from collections import defaultdict, deque
from pathlib import Path

# Columns of readelf and lines of objdump.
SYMBOL = re.compile(r" *\d+: (\w+) +(\w+) (\w+) +(\w+) +\w+ +(\w+) (\S+)")
TEXT = "1"  # the section's number
SECTION = re.compile(r"\s*\[ *\d+\] (?:\.rodata|\.data)\s+PROGBITS\s+(\w+) (\w+) (\w+)")
INSTRUCTION = re.compile(r"\s*([0-9a-f]+):\s+(\S+)\s*(.*)")
TARGET = re.compile(r"([0-9a-f]{16}) <")
# Addresses among operands: whole, as what is added to an index, and relative to RIP.
ADDRESS = re.compile(r"0x(ffffffff[0-9a-f]{8})|-0x([0-9a-f]{8})\b|# ([0-9a-f]{16})")
MEMBER = re.compile(r"\[\w+(?:\+0x([0-9a-f]+))?\]")  # what a pointer to a table leads to


def tool(*argv):
    """The lines that a tool prints."""
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()


def plain(name):
    """A function's name without what the compiler has put behind it."""
    return name.partition(".")[0]


class Calls:
    """
    Edges between functions, by address: direct calls and jumps, and addresses that a function takes
    or that stand in an object whose address it takes. Calls of what a register or memory names are
    in INDIRECT, by function.
    """

    def __init__(self, kernel):
        self.names, self.files, self.objects = {}, {}, []
        self.edges, self.indirect = defaultdict(set), defaultdict(list)
        self.read_symbols(kernel)
        self.read_data(kernel)
        for line in tool("objdump", "-d", "--no-show-raw-insn", "-M", "intel", kernel):
            if match := INSTRUCTION.match(line):
                self.add(int(match[1], 16), match[2], match[3])

    def read_symbols(self, kernel):
        """Functions, with the names of files for those that are local; objects with their sizes."""
        file = ""
        for match in filter(None, map(SYMBOL.match, tool("readelf", "-sW", kernel))):
            address, size, kind, bind, section, name = match.groups()
            address = int(address, 16)
            if kind == "FILE":
                file = name
            elif kind == "OBJECT":
                self.objects.append((address, int(size, 0), name))
            elif kind == "FUNC" or section == TEXT:
                self.names.setdefault(address, name)
                self.files.setdefault(address, file if bind == "LOCAL" else "")
        self.objects.sort()
        self.starts = sorted(self.names)

    def read_data(self, kernel):
        """Which functions' addresses stand in initialized data, by where."""
        self.pointers = {}
        whole = Path(kernel).read_bytes()
        for line in tool("readelf", "-SW", kernel):
            if match := SECTION.match(line):
                address, offset, size = (int(text, 16) for text in match.groups())
                for at in range(0, size - 7, 8):
                    value = int.from_bytes(whole[offset + at:offset + at + 8], "little")
                    if value in self.names:
                        self.pointers[address + at] = value

    def function_at(self, address):
        """Where the function begins that has an address."""
        return self.starts[bisect.bisect_right(self.starts, address) - 1]

    def in_object(self, address):
        """The functions whose addresses stand in the object that has an address."""
        at = bisect.bisect_right(self.objects, (address, 1 << 64)) - 1
        start, size, _ = self.objects[at] if at >= 0 else (0, 0, "")
        if address >= start + size:
            return set()
        return {value for where, value in self.pointers.items() if start <= where < start + size}

    def in_table(self, name, operand):
        """The functions that a call by OPERAND may find in objects of a name: at its offset."""
        offset = MEMBER.search(operand)
        offset = int(offset[1] or "0", 16) if offset else None
        found = set()
        for start, size, other in self.objects:
            if other == name:
                places = range(start, start + size) if offset is None else [start + offset]
                found |= {self.pointers[at] for at in places if at in self.pointers}
        return found

    def add(self, address, operation, operands):
        """Takes an instruction."""
        here = self.function_at(address)
        leaves = operation == "call" or operation.startswith("j")
        if leaves and (target := TARGET.match(operands)):
            self.edges[here] |= {self.function_at(int(target[1], 16))} - {here}
            return
        for whole, below, relative in ADDRESS.findall(operands):
            value = (1 << 64) - int(below, 16) if below else int(whole or relative, 16)
            self.edges[here] |= {value} & self.names.keys() | self.in_object(value)
        if operation == "call" or (operation == "jmp" and "*8" not in operands):
            self.indirect[here].append(operands)

    def named(self, name):
        """Where the functions of that name begin; FILE:NAME is that of one file."""
        file, _, name = name.rpartition(":")
        return {address for address, other in self.names.items()
                if plain(other) == name and file in ("", self.files[address])}

    def reach(self, roots, targets, cuts=()):
        """
        What functions named ROOTS may come to: for each by address the one it was first reached
        from. TARGETS: what those call indirectly that do so, as names of functions or of tables of
        them. Nobody goes on into those in CUTS.
        """
        reached, todo = {}, deque((address, None) for name in roots for address in self.named(name))
        while todo:
            address, origin = todo.popleft()
            name = plain(self.names[address])
            if address in reached or name in cuts:
                continue
            reached[address] = origin
            found = set(self.edges[address])
            for operand in self.indirect[address]:
                assert name in targets, f"{name} calls what {operand} names: which functions?"
                called = {at for target in targets[name]
                          for at in self.named(target) | self.in_table(target, operand)}
                assert called, f"{name} calls what {operand} names: none of {targets[name]}"
                found |= called
            todo += [(next_one, address) for next_one in found]
        return reached

    def path(self, reached, address):
        """The names from a root to a function that was reached."""
        names = []
        while address is not None:
            names.insert(0, self.names[address])
            address = reached[address]
        return names
