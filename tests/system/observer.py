"""Watches the hypervisor from outside, by the emulator's debugger: entries, exits, flushes."""
# SPDX-License-Identifier: BSD-2-Clause
# APM, "VMCB Layout"; SDM, "Field Encoding in VMCS". Bochs 2.7 keeps a VMCS field at 10h plus four
# times the field's number, 64 for each of the 16 groups that width and kind make.
import re
import struct
import subprocess
from dataclasses import dataclass, field

from nosnoop import paths
from nosnoop.gdb import Stub

WATCHED = ("vmrun", "vmsave", "vmlaunch", "vmresume", "invept", "invvpid", "wbinvd", "clflush")
FUNCTION = re.compile(r"^[0-9a-f]+ <(\w+)>:$")
INSTRUCTION = re.compile(r"^([0-9a-f]+):\t(?:[0-9a-f]{2} )+\s*(\w+)")
AT_START = ("vmx_cpu_start", "forget_all", "cpu_set_modes", "guest_load")  # not at run time
LINE_SIZE = 64  # bytes that a CLFLUSH flushes, by these beds' CPUID
PAGE = 4096


@dataclass
class Entry:
    """What was seen from one exit to the next."""
    root: int = 0
    pat: int | None = None  # None: not seen
    injected: tuple | None = None  # vector, type
    invalidations: int = 0  # of translations; of those that an entry makes 1 at most
    wbinvd: int = 0
    clflush: int = 0
    exit: tuple = ()        # code, RIP
    uncached: bool = False  # CR0.CD while the guest runs; only VMX has it for the guest alone


@dataclass
class Seen:
    """All of it, while the trace was on."""
    entries: list = field(default_factory=list)
    current: Entry = field(default_factory=Entry)
    cd_at_wbinvd: list = field(default_factory=list)   # CR0.CD at each; not on SVM
    cd_after_exit: list = field(default_factory=list)  # the same where C code is about to begin

    def at(self, what):
        """An instruction was about to be executed."""
        if what in ("invept", "invvpid"):
            self.current.invalidations += 1
        else:
            setattr(self.current, what, getattr(self.current, what) + 1)

    def exit(self, code, rip):
        """The guest has exited."""
        self.current.exit = code, rip
        self.entries.append(self.current)
        self.current = Entry()


def kernel_places():
    """Addresses in the kernel: of the instructions that are watched, and of some functions."""
    kernel = paths.built("nosnoop.elf")
    code = subprocess.run(["objdump", "-d", kernel], capture_output=True, text=True, check=True)
    found, function = {}, None
    for line in code.stdout.splitlines():
        if match := FUNCTION.match(line):
            function = match[1]
        elif (match := INSTRUCTION.match(line)) and match[2] in WATCHED \
                and function not in AT_START:
            found[int(match[1], 16)] = match[2]
    return found, symbols(kernel)


def symbols(file):
    """Symbols of a file, by name."""
    listed = subprocess.run(["nm", file], capture_output=True, text=True, check=True)
    return {line.split()[2]: int(line.split()[0], 16) for line in listed.stdout.splitlines()
            if len(line.split()) == 3}


def go_flag(machine):
    """The host-physical address of the guest's `trace_go`."""
    at = symbols(paths.built("guests/trace.elf"))["trace_go"]
    for start, end, hpa in machine.logged(r"memory GPA 0x(\w+)-0x(\w+) at HPA 0x(\w+)"):
        if int(start, 16) <= at < int(end, 16):
            return int(hpa, 16) + at - int(start, 16)
    raise AssertionError("the flag lies in no memory")


class Gdb:
    """QEMU by its port for debuggers, of a machine that is stopped."""

    def __init__(self, machine):
        path = machine.place / "gdb"
        machine.monitor.command("human-monitor-command", **{
            "command-line": f"gdbserver unix:{path},server=on,wait=off"})
        self.stub = Stub(str(path))
        assert self.stub.command("Qqemu.PhyMemMode:1") == "OK"

    def read(self, address, size):
        """Physical bytes."""
        return bytes.fromhex(self.stub.command(f"m{address:x},{size:x}"))

    def write_word(self, address, value):
        """A physical word of 4 bytes."""
        assert self.stub.command(f"M{address:x},4:{struct.pack('<I', value).hex()}") == "OK"

    def set(self, address):
        """A breakpoint."""
        assert self.stub.command(f"Z1,{address:x},1") == "OK"

    def clear(self, address):
        """None."""
        assert self.stub.command(f"z1,{address:x},1") == "OK"

    def registers(self):
        """RAX and RIP."""
        values = struct.unpack_from("<17Q", bytes.fromhex(self.stub.command("g")))
        return values[0], values[16]

    def go(self):
        """Runs to a breakpoint; returns RAX and RIP."""
        self.stub.command("c")
        return self.registers()

    def step(self, address):
        """Executes the instruction at ADDRESS, which has a breakpoint."""
        self.clear(address)
        self.stub.command("s")
        self.set(address)

    def close(self):
        """The machine runs on."""
        self.stub.resume()


def read_vmcb(gdb, seen, vmcb):
    """Takes what an entry is about to find in the VMCB."""
    page = gdb.read(vmcb, 0x700)
    (event,) = struct.unpack_from("<Q", page, 0xA8)
    (seen.current.root,) = struct.unpack_from("<Q", page, 0xB0)
    (seen.current.pat,) = struct.unpack_from("<Q", page, 0x668)
    seen.current.invalidations = int(page[0x5C] != 0)
    seen.current.injected = (event & 0xFF, event >> 8 & 7) if event >> 31 & 1 else None


def follow_svm(gdb, seen, places, vmrun, back, end):
    """Takes what happens from one breakpoint to the next, until END."""
    vmcb, rip = gdb.go()
    gdb.set(end)
    while rip != end:
        if rip == vmrun:
            read_vmcb(gdb, seen, vmcb)
            gdb.clear(vmrun)  # it is set again at the exit
        elif rip == back:
            page = gdb.read(vmcb, 0x700)
            seen.exit(struct.unpack_from("<2Q", page, 0x70), *struct.unpack_from("<Q", page, 0x578))
            gdb.set(vmrun)
            gdb.step(back)
        else:
            seen.at(places[rip])
            gdb.step(rip)
        rax, rip = gdb.go()
        vmcb = rax if rip == vmrun else vmcb


def watch_svm(machine):
    """Seen on QEMU, of a guest that waits for its flag."""
    places, functions = kernel_places()
    gdb, seen, ends = Gdb(machine), Seen(), functions["trace_set"]
    gdb.write_word(go_flag(machine), 1)
    gdb.set(ends)
    gdb.go()
    gdb.clear(ends)
    vmrun = next(at for at, name in places.items() if name == "vmrun")
    back = min(at for at, name in places.items() if name == "vmsave" and at > vmrun)
    watched = [at for at, name in places.items() if name in ("vmrun", "wbinvd", "clflush")]
    for at in [*watched, back]:
        gdb.set(at)
    follow_svm(gdb, seen, places, vmrun, back, ends)
    for at in [*watched, back, ends]:
        gdb.clear(at)
    gdb.close()
    return seen


class Bochs:
    """Bochs by its debugger, of a machine that is stopped."""

    STOP = re.compile(rb"Breakpoint \d+, (?:in )?0x([0-9a-f]+)")
    WORD = re.compile(rb"\t0x([0-9a-f]+)")
    CR0_CD = re.compile(rb"CR0=0x[0-9a-f]+: PG (CD|cd) ")  # what is set has large letters

    def __init__(self, machine):
        self.machine = machine

    def command(self, text):
        """What the debugger answers."""
        self.machine.debugger = b""
        self.machine.emulator.tell(text + "\n")
        self.machine.wait(self.machine.is_asked)
        return self.machine.debugger

    def read(self, address, words):
        """Physical words of 4 bytes."""
        return [int(word, 16) for word in
                self.WORD.findall(self.command(f"xp /{words}wx {address:#x}"))]

    def cd(self):
        """The CPU's CR0.CD."""
        return self.CR0_CD.search(self.command("creg"))[1] == b"CD"

    def read_long(self, address):
        """A physical word of 8 bytes."""
        low, high = self.read(address, 2)
        return high << 32 | low

    def go(self):
        """Runs to a breakpoint, and returns where that is."""
        answer = self.command("c")
        found = self.STOP.search(answer)
        assert found, answer
        return int(found[1], 16)


def vmcs_field(encoding):
    """Where Bochs keeps a field in the VMCS's page."""
    width, kind, number = encoding >> 13 & 3, encoding >> 10 & 3, encoding & 0x3FF
    return 0x10 + 4 * (64 * (width << 2 | kind) + number)


EPTP, ENTRY_EVENT, EXIT_REASON, GUEST_RIP = map(vmcs_field, (0x201A, 0x4016, 0x4402, 0x681E))


def find_vmcs(bochs, machine):
    """Its physical address: the page of the host's pool that has the revision, and the root."""
    (pool,), (revision,) = machine.logged(r"pool at 0x(\w+)"), machine.logged(r"revision (\w+)")
    (root,) = machine.logged(r"policy exact, .*, root 0x(\w+)")
    for at in range(int(pool, 16), int(pool, 16) + (2 << 20), PAGE):
        if (bochs.read(at, 1)[0] == int(revision, 16)
                and bochs.read_long(at + EPTP) & -PAGE == int(root, 16)):
            return at
    raise AssertionError("there is no VMCS")


def watch_vmx(machine):
    """The same on Bochs."""
    places, functions = kernel_places()
    bochs, seen = Bochs(machine), Seen()
    vmcs = find_vmcs(bochs, machine)
    bochs.command(f"setpmem {go_flag(machine):#x} 4 1")
    bochs.command("d 1")  # at the reset vector: there are 16 at most
    bochs.command(f"lb {functions['trace_set']:#x}")
    assert bochs.go() == functions["trace_set"]
    for at, name in places.items():
        if name not in ("vmrun", "vmsave"):
            bochs.command(f"lb {at:#x}")
    bochs.command(f"lb {functions['vmx_exit_point']:#x}")
    while (at := bochs.go()) != functions["trace_set"]:
        if at == functions["vmx_exit_point"]:
            seen.cd_after_exit.append(bochs.cd())
            seen.exit(bochs.read(vmcs + EXIT_REASON, 1)[0], bochs.read_long(vmcs + GUEST_RIP))
        elif places[at] in ("vmlaunch", "vmresume"):
            seen.current.root = bochs.read_long(vmcs + EPTP) & -PAGE
            seen.current.uncached = bochs.cd()
            event = bochs.read(vmcs + ENTRY_EVENT, 1)[0]
            seen.current.injected = (event & 0xFF, event >> 8 & 7) if event >> 31 else None
        else:
            seen.at(places[at])
            if places[at] == "wbinvd":
                seen.cd_at_wbinvd.append(bochs.cd())
    for number in range(2, 5 + len(places)):
        bochs.command(f"d {number}")
    bochs.machine.emulator.tell("c\n")
    return seen
