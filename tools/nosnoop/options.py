"""The command line of tools/run."""
# SPDX-License-Identifier: BSD-2-Clause
import argparse

from nosnoop import beds, devices, doors
from nosnoop.payload import MEMORY, memory_bytes
from nosnoop.status import Refusal

VM_OPTIONS = ("guest", "mem", "cpus", "cmdline", "module", "set", "host")


class Parser(argparse.ArgumentParser):
    """An argument parser that refuses instead of exiting with a status of its own."""

    def error(self, message):
        raise Refusal(f"{message}\n{self.format_usage().strip()}")


def seconds(text):
    """A positive number of seconds."""
    value = float(text)
    if not 0 < value < 1e9:
        raise ValueError
    return value


def memory(text):
    """A size with K, M or G, as text."""
    if not memory_bytes(text):
        raise ValueError
    return text


def count(text):
    """A number of CPUs."""
    value = int(text)
    if not 1 <= value <= 255:
        raise ValueError
    return value


def parser():
    """The parser of all but the emulator's arguments."""
    make = Parser(prog="tools/run", allow_abbrev=False, epilog="-- emulator arguments",
                  description="Runs a guest under the hypervisor; the exit status is the verdict.")
    add = make.add_argument
    add("--bed", choices=list(beds.BEDS), help="default: kvm where it works, else svm")
    add("--door", choices=list(doors.DOORS), help="default: mb1")
    add("--mem", type=memory, default=MEMORY, help="the VM's memory (%(default)s)")
    add("--cpus", type=count, default=1, help="the VM's CPUs (%(default)s)")
    add("--machine-cpus", type=count, default=1, metavar="N",
        help="CPUs that the machine has at least (%(default)s)")
    add("--cmdline", default="", metavar="STR", help="the guest's command line")
    add("--module", action="append", default=[], metavar="FILE[=STR]")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="a key of [vm]")
    add("--host", action="append", default=[], metavar="KEY=VALUE", help="a key of [host]")
    add("--device", action="append", default=[], metavar="NAME",
        help="a device of the machine, which the VM gets, with the words behind its BDF in the "
             f"config; with --config it only is there: {', '.join(devices.DEVICES)}")
    add("--iommu", choices=list(devices.IOMMUS),
        help="the machine's IOMMU: whether it can force snooping (with --device: snoop, where the "
             "bed has one)")
    add("--timeout", type=seconds, metavar="SECONDS",
        help="wall time (60, none with --gdb or --monitor)")
    add("--icount", action="store_true",
        help="time counts instructions, as always under Bochs (there it makes a second 50 million "
             "of them, not 10)")
    add("--control", action="store_true", help="GUEST on the bare emulator, no hypervisor")
    add("--gdb", action="store_true", help="stop at the kernel's entry for gdb")
    add("--monitor", action="store_true",
        help="connect this terminal with the log's port: Ctrl-] opens the monitor, Ctrl-\\ ends "
             "the run; have the guest's output elsewhere, by > FILE or --set serial=log")
    add("--log", metavar="FILE", help="the hypervisor's log")
    add("--config", metavar="FILE", help="a nosnoop.cfg instead of GUEST and the VM options")
    add("--image", metavar="FILE", help="an ISO or a disk as tools/image makes them")
    add("guest", nargs="?", metavar="GUEST", help="a multiboot 1 kernel")
    return make


def parse(argv):
    """The options of ARGV, checked, or Refusal."""
    split = argv.index("--") if "--" in argv else len(argv)
    make = parser()
    options = make.parse_args(argv[:split])
    options.emulator = argv[split + 1:]
    check(make, options)
    if options.timeout is None:
        options.timeout = 1e9 if options.gdb or options.monitor else 60
    return options


def check(make, options):
    """Refuses options that do not go together."""
    if [options.guest, options.config, options.image].count(None) != 2:
        make.error("give one of GUEST, --config FILE and --image FILE")
    if options.guest is None:
        given = [name for name in VM_OPTIONS if getattr(options, name) != make.get_default(name)]
        if given or options.control:
            make.error("--config and --image take the place of GUEST and the VM options")
    if options.control and options.monitor:
        make.error("--control has no monitor")
    if options.control and (options.gdb or options.door is not None):
        make.error("--control has no kernel to stop at and no door")
    if options.image is not None and options.door in (None, "mb1"):
        make.error("say by which door the image starts: --door grub, grub-uefi or uefi")
