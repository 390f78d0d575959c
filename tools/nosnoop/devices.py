"""Devices that a machine gets, for a VM or a control run: what each emulator needs for them."""
# SPDX-License-Identifier: BSD-2-Clause
import os
from dataclasses import dataclass

from nosnoop import fat
from nosnoop.status import Refusal

QEMU, BOCHS = "QEMU", "Bochs"
DISK_CYLINDERS = 2
# The first words of a test disk's sector 0; a guest writes to no other disk.
DISK_MARK = b"nosnoop test disk\n"
# The machine's IOMMU, as QEMU's arguments: Intel's that can force snooping, with fewer address bits
# than the CPU too, or that cannot; and AMD's, which can.
IOMMUS = {"none": [],
          "snoop": ["-device", "intel-iommu,intremap=on,aw-bits=48,snoop-control=on"],
          "narrow": ["-device", "intel-iommu,intremap=on,aw-bits=39,snoop-control=on"],
          "no-snoop": ["-device", "intel-iommu,intremap=on,aw-bits=48,snoop-control=off"],
          "amd": ["-device", "amd-iommu,intremap=on"]}
# What a machine with no IOMMU does not stand in for, as it does where DMA need not snoop.
REAL = ("snoop", "narrow", "amd")
CHIPSET = "q35"


@dataclass(frozen=True)
class Device:
    """
    A device of one emulator; {disk} in its arguments is a disk of its own, {private} the run's
    directory.
    """
    bdf: str
    arguments: tuple        # of QEMU's command line, or lines of Bochs's configuration
    chipset: str = CHIPSET  # QEMU's machine
    host: tuple = ()        # keys and values of [host] that a VM needs to get it
    words: str = ""         # what the config always says of it


@dataclass(frozen=True)
class Fitted:
    """A device in a machine, and what the config says of it."""
    name: str
    device: Device
    words: str


NO_RESET = "reset=none"  # of a function that nothing can reset alone
GEOMETRY = f"cylinders={DISK_CYLINDERS}, heads={fat.HEADS}, spt={fat.SECTORS}"
DEVICES = {
    "edu": {QEMU: Device("00:05.0", ("-device", "edu,dma_mask=0xffffffffff,addr=05.0"),
                         words=NO_RESET)},
    "edu-2": {QEMU: Device("00:08.0", ("-device", "edu,dma_mask=0xffffffffff,addr=08.0"),
                           words=NO_RESET)},  # beside the first, on its line
    "edu-3": {QEMU: Device("00:0b.0", ("-device", "edu,dma_mask=0xffffffffff,addr=0b.0"),
                           words=NO_RESET)},  # on another line
    "edu-13": {QEMU: Device("00:0d.0", (  # its INTx and that of the first share all lines
        "-device", "edu,dma_mask=0xffffffffff,addr=0d.0"), words=NO_RESET)},
    "edu-port": {QEMU: Device("01:00.0", (  # a bus of its own, which can be reset
        "-device", "pcie-root-port,id=port0,chassis=1,slot=1,addr=06.0",
        "-device", "edu,dma_mask=0xffffffffff,bus=port0"))},
    "edu-bridge": {QEMU: Device("01:01.0", (  # on a conventional bus
        "-device", "pcie-pci-bridge,id=bridge0,addr=06.0",
        "-device", "edu,dma_mask=0xffffffffff,bus=bridge0,addr=01.0"))},
    "nvme": {QEMU: Device("00:05.0", (
        "-drive", "if=none,id=nvme0,format=raw,file={disk}",
        "-device", "nvme,serial=nosnoop,drive=nvme0,addr=05.0"))},
    "nvme-2": {QEMU: Device("00:0a.0", (  # on that, too
        "-drive", "if=none,id=nvme2,format=raw,file={disk}",
        "-device", "nvme,serial=nosnoop-2,drive=nvme2,addr=0a.0"))},
    "ahci": {QEMU: Device("00:05.0", (
        "-drive", "if=none,id=sata0,format=raw,file={disk}",
        "-device", "ich9-ahci,id=ahci0,addr=05.0", "-device", "ide-hd,drive=sata0,bus=ahci0.0"),
                          words=NO_RESET)},
    "bochs-display": {QEMU: Device("00:05.0", ("-device", "bochs-display,addr=05.0"),
                                   words=NO_RESET),
                      BOCHS: Device("00:02.0", (
                          "pci: enabled=1, chipset=i440fx, slot1=cirrus", "vga: extension=cirrus"),
                                    host=(("dangerous", "yes"),), words=NO_RESET)},
    "ivshmem": {QEMU: Device("00:05.0", (
        "-object", "memory-backend-ram,id=shared,size=4M,share=on",
        "-device", "ivshmem-plain,memdev=shared,addr=05.0"), words=NO_RESET)},
    "e1000": {QEMU: Device("00:05.0", (
        "-netdev", "user,id=net0,net=192.168.10.0/24,host=192.168.10.1,restrict=on",
        "-device", "e1000,netdev=net0,mac=52:54:00:12:34:56,addr=05.0"), words=NO_RESET),
              BOCHS: Device("00:03.0", (
                  "pci: enabled=1, chipset=i440fx, slot2=e1000",
                  "e1000: enabled=1, mac=52:54:00:12:34:56, ethmod=vnet, ethdev={private}"),
                            words=NO_RESET)},
    "wire-e1000": {QEMU: Device("00:05.0", (  # these two on one wire
        "-netdev", "hubport,id=end1,hubid=1", "-device", "e1000,netdev=end1,addr=05.0"),
                                words=NO_RESET)},
    "wire-e1000e": {QEMU: Device("00:06.0", (
        "-netdev", "hubport,id=end2,hubid=1", "-device", "e1000e,netdev=end2,addr=06.0"),
                                 words=NO_RESET)},
    "e1000e-port": {QEMU: Device("01:00.0", (  # a bus of its own, which can be reset
        "-netdev", "hubport,id=end3,hubid=2",
        "-device", "pcie-root-port,id=port9,chassis=9,slot=9,addr=09.0",
        "-device", "e1000e,netdev=end3,bus=port9"))},
    "virtio-disk": {QEMU: Device("00:07.0", (
        "-drive", "if=none,id=virtio0,format=raw,file={disk}",
        "-device", "virtio-blk-pci,drive=virtio0,addr=07.0,disable-legacy=on,iommu_platform=on"),
                                 words=NO_RESET)},
    "virtio-disk-port": {QEMU: Device("01:00.0", (  # here it has a function-level reset
        "-drive", "if=none,id=virtio1,format=raw,file={disk}",
        "-device", "pcie-root-port,id=port7,chassis=7,slot=7,addr=07.0",
        "-device", "virtio-blk-pci,drive=virtio1,bus=port7,iommu_platform=on"))},
    "virtio-random": {QEMU: Device("00:06.0", (
        "-device", "virtio-rng-pci,addr=06.0,disable-legacy=on,iommu_platform=on"),
                                   words=NO_RESET)},
    "xhci": {QEMU: Device("00:05.0", (
        "-device", "qemu-xhci,id=usb0,addr=05.0", "-device", "usb-kbd,bus=usb0.0"),
                          words=NO_RESET)},
    "ide": {QEMU: Device("00:01.1", ("-drive", "if=ide,index=1,format=raw,file={disk}"), "pc",
                         words=NO_RESET),
            BOCHS: Device("00:01.1", (
                "ata0-slave: type=disk, path={disk}, mode=flat, " + GEOMETRY,),
                            words=NO_RESET)},
    "ide-card": {QEMU: Device("00:05.0", (  # the same function, where there are IOMMUs
        "-drive", "if=none,id=ide5disk,format=raw,file={disk}",
        "-device", "piix3-ide,id=ide5,addr=05.0", "-device", "ide-hd,drive=ide5disk,bus=ide5.0"),
                              words=NO_RESET)},
}


def refusal(text, emulator):
    """Why EMULATOR cannot have the device of `NAME [WORDS]`, or None."""
    name = text.split()[0] if text.split() else ""
    if name not in DEVICES:
        return f"no such device: {name}; there are {', '.join(DEVICES)}"
    return None if emulator in DEVICES[name] else f"emulator: {emulator} has no {name}"


def unseen(name, texts, emulator):
    """Why EMULATOR has no IOMMU called NAME that does what the devices need, or None."""
    if name in REAL and emulator != QEMU:
        return f"emulator: {emulator} has no IOMMU"
    if name != "amd":
        return None
    behind = [one.name for one in fit(texts, emulator) if not one.device.bdf.startswith("00:")]
    return (f"emulator: QEMU's amd-iommu takes {behind[0]}, behind a bridge, for 00:00.0"
            if behind else None)


def disk_bytes():
    """A test disk: the mark, and in all other sectors words that tell their places."""
    words = (place * 0x9E3779B1 & 0xFFFFFFFF
             for place in range(DISK_CYLINDERS * fat.CYLINDER // 4))
    data = b"".join(word.to_bytes(4, "little") for word in words)
    return DISK_MARK.ljust(fat.SECTOR, b"\0") + data[fat.SECTOR:]


def fit(texts, emulator):
    """The devices of `NAME [WORDS]` each, or Refusal."""
    fitted = []
    for text in texts:
        if reason := refusal(text, emulator):
            raise Refusal(reason)
        name, *words = text.split()
        fitted.append(Fitted(name, DEVICES[name][emulator], " ".join(words)))
    return fitted


def iommu(name, fitted, emulator):
    """The machine's IOMMU: NAME, or what is usual there without one; or Refusal."""
    possible = emulator == QEMU and chipset(fitted) == CHIPSET
    if not possible and name not in (None, "none"):
        raise Refusal(f"--iommu {name}: this machine has no IOMMU")
    return name or ("snoop" if fitted and possible else "none")


def chipset(fitted):
    """QEMU's machine: the one that a device asks for, else the usual one."""
    return next((one.device.chipset for one in fitted if one.device.chipset != CHIPSET), CHIPSET)


def arguments(fitted, private):
    """The devices' arguments, with their disks in PRIVATE."""
    filled = []
    for one in fitted:
        disk = os.path.join(private, f"{one.name}.img")
        if any("{disk}" in argument for argument in one.device.arguments):
            with open(disk, "wb") as out:
                out.write(disk_bytes())
        filled += [argument.format(disk=disk, private=private) for argument in one.device.arguments]
    return filled


def host_keys(fitted, iommu_name):
    """The keys of [host] without which no VM gets the devices."""
    keys = [pair for one in fitted for pair in one.device.host]
    if fitted and iommu_name == "none":
        keys.append(("iommu", "unsafe-identity"))
    return keys


def config_keys(fitted):
    """The keys of a VM that has the devices."""
    return [("device", " ".join(f"{one.device.bdf} {one.device.words} {one.words}".split()))
            for one in fitted]
