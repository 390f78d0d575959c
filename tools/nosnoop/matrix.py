"""The matrix of devices in VMs' hands, of what a run of tools/test did: device, IOMMU, CPU, DMA."""
# SPDX-License-Identifier: BSD-2-Clause
from dataclasses import dataclass
from itertools import product

from nosnoop import beds, devices
from nosnoop.status import Refusal

VTD, AMDVI, NONE = "VT-d", "AMD-Vi", "none"
UNITS = {"snoop": VTD, "narrow": VTD, "no-snoop": VTD, "amd": AMDVI, "none": NONE}
FORCING = ("snoop", "narrow", "amd")
CPUS = {"svm": "AMD", "svm-bochs": "AMD", "vmx": "Intel", "vmx-snb": "Intel"}  # of beds
NAME_WIDTH, CELL_WIDTH = 17, 7
PASSED, FAILED, NO_BED, NOTHING = "passed", "FAILED", "no bed", "-"
KEY = "coh: its DMA snoops; non: it need not; no bed: none can run that; -: nothing was run there"


@dataclass(frozen=True)
class Place:
    """A column of the matrix."""
    unit: str       # the IOMMU's kind
    cpu: str        # its vendor
    coherent: bool


PLACES = [Place(unit, cpu, coherent)
          for unit, cpu, coherent in product((VTD, AMDVI, NONE), ("AMD", "Intel"), (True, False))
          if unit != NONE or not coherent]


def is_coherent(name, fitted):
    """Whether DMA of a VM's devices snoops: of all, as one that does not decides for all."""
    return all("dma=coherent" in one.words or
               name in FORCING and "dma=non-coherent" not in one.words for one in fitted)


def place_of(row, bed):
    """Where a row's devices are on a bed; None: it has not all of them, or no such IOMMU."""
    emulator = beds.BEDS[bed].emulator
    if bed not in CPUS or row.iommu in devices.REAL and emulator != devices.QEMU:
        return None
    try:
        fitted = devices.fit(row.devices, emulator)
        asked = row.iommu if emulator == devices.QEMU else None
        name = devices.iommu(asked or None, fitted, emulator)
    except Refusal:
        return None
    return Place(UNITS[name], CPUS[bed], is_coherent(name, fitted))


def has_bed(name, place):
    """Whether a bed of that CPU can have the device behind that IOMMU."""
    emulators = {beds.BEDS[bed].emulator for bed, cpu in CPUS.items() if cpu == place.cpu}
    for emulator in emulators & set(devices.DEVICES[name]):
        fitted = devices.fit([name], emulator)
        if place.unit == NONE:
            return True
        if emulator == devices.QEMU and devices.chipset(fitted) == devices.CHIPSET:
            return place.unit != AMDVI or not devices.unseen("amd", [name], emulator)
    return False


def gather(ran):
    """{(device, Place): cells} of RAN: (row, column, cell) each."""
    found = {}
    for row, column, cell in ran:
        place = place_of(row, column.bed) if row.devices and not column.control else None
        for name in {text.split()[0] for text in row.devices} if place else ():
            found.setdefault((name, place), []).append(cell)
    return found


def word(cells, reasons):
    """What the matrix says of cells; REASONS for skips, which have numbers, grow."""
    verdicts = {cell.verdict for cell in cells}
    if verdicts != {"SKIP"}:
        return FAILED if "FAIL" in verdicts else PASSED
    why = "; ".join(sorted({detail for cell in cells for detail in cell.details}))
    if why not in reasons:
        reasons.append(why)
    return f"skip {reasons.index(why) + 1}"


def line(head, words):
    """A line of the table."""
    return f"{head:<{NAME_WIDTH}}{''.join(f'{text:<{CELL_WIDTH}}' for text in words)}".rstrip()


def lines(ran):
    """The table behind an empty line, of RAN as gather() has it; nothing without devices."""
    found = gather(ran)
    names = [name for name in devices.DEVICES if any(name == device for device, _ in found)]
    if not names:
        return []
    table = ["", line("IOMMU", [place.unit for place in PLACES]),
             line("CPU", [place.cpu for place in PLACES]),
             line("device", ["coh" if place.coherent else "non" for place in PLACES])]
    reasons = []
    for name in names:
        table.append(line(name, [
            word(found[name, place], reasons) if (name, place) in found
            else NOTHING if has_bed(name, place) else NO_BED for place in PLACES]))
    return table + [KEY] + [f"skip {i + 1}: {why}" for i, why in enumerate(reasons)]
