"""The beds: emulators, as command lines, and which one is the default."""
# SPDX-License-Identifier: BSD-2-Clause
import os
from dataclasses import dataclass
from pathlib import Path

from nosnoop import devices, doors, gdb, paths
from nosnoop.bochs import BochsBed
from nosnoop.emulator import is_terminal
from nosnoop.status import Refusal

NOISE = "TCG doesn't support requested feature"
EXIT_DEVICE = ["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]


@dataclass(frozen=True)
class QemuBed:
    """QEMU with one accelerator and CPU model."""
    name: str
    accelerator: str
    cpu: str
    door = "mb1"
    emulator = devices.QEMU
    exit_device = True
    environment = {}

    def check(self, options):
        """QEMU can do all."""

    def machine(self, payload):
        """The machine's type. KVM's own I/O APIC does not go with remapped interrupts."""
        split = self.accelerator == "kvm" and payload.iommu != "none"
        return devices.chipset(payload.devices) + ",kernel-irqchip=split" * split

    def base(self, payload, options, serial):
        """What all runs share; SERIAL: where COM1 and COM2 write to."""
        argv = [paths.package_file("QEMU"), "-M", self.machine(payload),
                "-accel", self.accelerator,
                "-cpu", self.cpu, "-m", f"{payload.memory >> 20}M", "-smp", str(payload.cpus),
                "-net", "none", "-display", "none", "-monitor", "none", "-no-reboot",
                "-rtc", "clock=vm"]  # the wall's may be set meanwhile
        for number, path in enumerate(serial):
            kind = "serial" if is_terminal(path) else "file"
            argv += ["-chardev", f"{kind},id=com{number + 1},path={path}",
                     "-serial", f"chardev:com{number + 1}"]
        if options.icount:
            argv += ["-icount", f"shift={options.door.icount_shift},sleep=off"]
        return argv

    def waiting(self):
        """
        Arguments for a machine that waits most of the time: its seconds have 7.8 million
        instructions. Several CPUs take turns then.
        """
        return ["-icount", "shift=7,sleep=off"] if self.accelerator == "tcg" else []

    @staticmethod
    def paced(_ips):
        """Arguments for a machine of some speed: time is real, and there is none."""
        return []

    def hypervisor(self, payload, options, serial, private):
        """The command line of a run; PRIVATE: a directory of its own."""
        argv = self.base(payload, options, serial)
        argv += devices.IOMMUS[payload.iommu] + devices.arguments(payload.devices, private)
        argv += arguments(doors.start(payload, options, private), private)
        if options.gdb or options.door.uefi:
            argv += ["-S", "-gdb", f"unix:{private}/{gdb.SOCKET},server=on,wait=off"]
        return argv + options.emulator

    def control(self, payload, options, serial, private):
        """The command line of GUEST on the bare emulator."""
        argv = self.base(payload, options, serial) + EXIT_DEVICE
        argv += devices.arguments(payload.devices, private)
        return argv + arguments(doors.control(payload, options, private), private) + \
            options.emulator

    @staticmethod
    def control_value(code, complaints, _said):
        """
        The guest's value by the emulator's status CODE, None if there is none. The exit device
        gives (value << 1 | 1), so an emulator that failed looks like a 0, but for its COMPLAINTS.
        """
        if code is None or code < 0 or code & 1 == 0 or code == 1 and complaints:
            return None
        return code >> 1

    @staticmethod
    def stop_at_entry(emulator, private, options, entered, say):
        """Has ENTERED called when the kernel begins; with --gdb the machine stays there."""
        kernel = paths.built("nosnoop.elf")
        address = options.door.entry(kernel)
        path = f"{private}/{gdb.SOCKET}"
        try:
            stub = gdb.Stub(path)
        except Refusal:
            emulator.drain()  # the emulator may have said why
            raise

        def arrived():
            emulator.selector.unregister(stub.socket)
            stub.arrived(address)
            entered()
            if not options.gdb:
                stub.resume()
                return
            stub.close()
            say(f"stopped at the kernel's entry {address:#x}; continue with\n"
                f"gdb {kernel} -ex 'target remote {path}'")

        stub.run_to(address)
        emulator.watch(stub.socket, arrived)

    @staticmethod
    def message(line, _emulator, _entered):
        """Takes a line of standard output or error; returns what the user must see of it."""
        return None if NOISE in line else line

    def refusal(self):
        """Why this machine cannot run the bed, or None."""
        if self.accelerator != "kvm":
            return None
        works, reason = nested_kvm(*machine_facts())
        return None if works else reason


def arguments(start, private):
    """What a machine is started from, as QEMU's arguments."""
    argv = []
    if start.uefi:
        flash = "if=pflash,format=raw,unit={},file={}"
        variables = doors.private_variables(private)
        argv += ["-drive", flash.format(0, paths.package_file("OVMF_CODE")) + ",readonly=on",
                 "-drive", flash.format(1, variables)]
    if start.disk:
        argv += ["-drive", f"if=virtio,format=raw,file={start.disk}"]
    if start.cdrom:
        argv += ["-cdrom", start.cdrom]
    if start.kernel:
        argv += ["-kernel", start.kernel, "-append", start.cmdline]
    if start.modules:
        argv += ["-initrd", module_list(start.modules)]
    return argv


def module_list(strings):
    """The argument of -initrd: modules part at single commas."""
    return ",".join(string.replace(",", ",,") for string in strings)


FALLBACK = "svm"  # the default bed where kvm does not work
BEDS = {bed.name: bed for bed in (
    QemuBed("svm", "tcg", "EPYC"),
    QemuBed("kvm", "kvm", "host"),
    BochsBed("vmx", "corei7_skylake_x"),
    BochsBed("vmx-snb", "corei7_sandy_bridge_2600k"),
    BochsBed("svm-bochs", "ryzen", shutdown_panics=True),
)}


def nested_kvm(opens, flags, nested):
    """
    Whether nested virtualization works, and the reason: of whether /dev/kvm OPENS, the CPU's FLAGS,
    and the value of the module's parameter NESTED, None where there is no such parameter.
    """
    if not opens:
        return False, "/dev/kvm does not open"
    if not {"vmx", "svm"} & set(flags):
        return False, "the CPU shows neither vmx nor svm"
    if nested not in ("1", "Y"):
        return False, "the KVM module's parameter nested is off"
    return True, "nested KVM works"


def default_bed(opens, flags, nested):
    """The default bed's name and, in one line, why."""
    works, reason = nested_kvm(opens, flags, nested)
    return ("kvm" if works else FALLBACK), reason


def machine_facts():
    """The arguments of default_bed() for this machine."""
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
        opens = True
    except OSError:
        opens = False
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    flags = next((line.split()[2:] for line in lines if line.startswith("flags")), [])
    parameters = Path("/sys/module").glob("kvm_*/parameters/nested")
    nested = next((path.read_text().strip() for path in parameters), None)
    return opens, flags, nested


def pick(name, say):
    """The bed of that name, the default one without a name, or Refusal."""
    if name is None:
        name, reason = default_bed(*machine_facts())
        if name == FALLBACK:
            say(f"bed svm, not kvm: {reason}")
    if reason := BEDS[name].refusal():
        raise Refusal(f"bed {name}: {reason}; use --bed svm")
    return BEDS[name]
