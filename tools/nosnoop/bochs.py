"""Bochs, as beds: its configuration, its debugger, and what it says on standard output."""
# SPDX-License-Identifier: BSD-2-Clause
import os
import re
from dataclasses import dataclass, replace

from nosnoop import bootdisk, devices, doors, fat, paths
from nosnoop.emulator import is_terminal
from nosnoop.status import Refusal

RESET_VECTOR = 0xFFFFFFF0  # linear, of every x86 CPU
RESET, ENTRY = 1, 2        # the numbers of the breakpoints, in the order in which they are set
BREAKPOINT = re.compile(r"\(\d+\) Breakpoint (\d+), ")
BROKEN = re.compile(r"\(\d+\)\.\[\d+\] ")  # a triple fault that does not end the machine
LAST_WORDS = re.compile(r"(\[\w* *\] .*)")  # other messages begin with the time
# Instructions in a second of the machine's time, which is the TSC's rate too: few, for a byte on a
# serial port takes 87 us, and all wait for it; and where instructions are to be counted.
IPS, IPS_COUNTED = 10_000_000, 50_000_000

MACHINE = """\
config_interface: textconfig
display_library: term
plugin_ctrl: speaker=0
memory: guest={memory}, host={memory}
romimage: file={bios}{bios_options}
vgaromimage: file={vga_bios}
pci: enabled=1, chipset=i440fx
cpu: model={model}, count=1:{cpus}:1, ips={ips}, reset_on_triple_fault=0, ignore_bad_msrs=1
clock: sync=none, time0=utc
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: {medium}
boot: {boot}
log: {log}
panic: action=fatal{panics}
error: action=report
info: action=ignore
debug: action=ignore
mouse: enabled=0
"""


@dataclass(frozen=True)
class BochsBed:
    """Bochs with one CPU model. It counts instructions, and loads a kernel from a disk alone."""
    name: str
    model: str
    # Whether a guest's triple fault is a panic of Bochs's before it is an exit.
    shutdown_panics: bool = False
    door = "mb1"
    emulator = devices.BOCHS
    exit_device = False
    environment = {"TERM": "dumb"}

    def configuration(self, payload, start, serial, private, ips=IPS):
        """The configuration's text; SERIAL: where COM1 and COM2 write to (of a control run one)."""
        survives = self.shutdown_panics and len(serial) > 1
        panics = [f", cpu{number}=report" for number in range(payload.cpus) if survives]
        lines = [MACHINE.format(
            memory=payload.memory >> 20, cpus=payload.cpus, model=self.model,
            ips=ips, panics="".join(panics),
            log=os.path.join(private, "bochs.log"),
            bios=paths.package_file("OVMF" if start.uefi else "BOCHS_BIOS"),
            bios_options="" if start.uefi else ", options=fastboot",
            vga_bios=paths.package_file("BOCHS_VGA_BIOS"), medium=medium(start),
            boot="disk" if start.disk else "cdrom")]
        lines += [f"com{number}: enabled=1, mode={'term' if is_terminal(path) else 'file'}, "
                  f"dev={path}\n" for number, path in enumerate(serial, 1)]
        lines += [line + "\n" for line in devices.arguments(payload.devices, private)]
        return "".join(lines)

    def command(self, payload, start, options, serial, private, stop):
        """The command line; STOP: the address at which the debugger stops the machine, or None."""
        if start.kernel:
            disk = os.path.join(private, "boot.img")
            bootdisk.make(disk, start)
            start = replace(start, disk=disk)
        stops = [RESET_VECTOR] if stop is None else [RESET_VECTOR, stop]
        files = {"machine": self.configuration(payload, start, serial, private,
                                               IPS_COUNTED if options.icount else IPS),
                 "debugger": "".join(f"lb {address:#x}\n" for address in stops) + "c\n"}
        for name, text in files.items():
            with open(os.path.join(private, name), "w", encoding="utf-8") as out:
                out.write(text)
        return [paths.package_file("BOCHS"), "-q", "-unlock", "-f", f"{private}/machine",
                "-rc", f"{private}/debugger", *options.emulator]

    @staticmethod
    def waiting():
        """Arguments for a machine that waits most of the time: its seconds are short anyway."""
        return []

    @staticmethod
    def paced(ips):
        """Arguments for a machine that runs IPS instructions a second of its time."""
        return [f"cpu: ips={ips}"]

    def check(self, options):
        """Refuses what Bochs cannot do."""
        if options.gdb:
            raise Refusal(f"bed {self.name} has no port for gdb; use --bed svm")

    def hypervisor(self, payload, options, serial, private):
        """The command line of a run; PRIVATE: a directory of its own."""
        stop = options.door.entry(paths.built("nosnoop.elf")) if options.door.uefi else None
        return self.command(payload, doors.start(payload, options, private), options, serial,
                            private, stop)

    def control(self, payload, options, serial, private):
        """The command line of GUEST on the bare emulator."""
        return self.command(payload, doors.control_grub(payload, options, private), options,
                            serial, private, None)

    @staticmethod
    def control_value(_code, _complaints, said):
        """The guest's value: what it SAID, or None."""
        return said

    @staticmethod
    def stop_at_entry(_emulator, _private, _options, _entered, _say):
        """The debugger's file says where to stop; message() tells of it."""

    @staticmethod
    def message(line, emulator, entered):
        """
        Takes a line of standard output; returns what the user must see of it. At the kernel's entry
        it calls ENTERED and lets the machine run on; where the machine is reset it ends it. After a
        guest's triple fault it lets the machine run on.
        """
        if match := BREAKPOINT.match(line):
            if int(match[1]) == RESET:
                emulator.tell("q\n")
                return "the machine was reset"
            entered()
            emulator.tell(f"d {ENTRY}\nc\n")
            return None
        if BROKEN.match(line):
            emulator.tell("c\n")
            return None
        match = LAST_WORDS.match(line)
        return match[1] if match else None

    @staticmethod
    def refusal():
        """Why this machine cannot run the bed: never."""
        return None


def medium(start):
    """The first ATA device's parameters."""
    if start.cdrom:
        return f"type=cdrom, path={start.cdrom}, status=inserted"
    count = os.path.getsize(start.disk) // fat.CYLINDER
    return (f"type=disk, path={start.disk}, mode=flat, cylinders={count}, heads={fat.HEADS}, "
            f"spt={fat.SECTORS}")
