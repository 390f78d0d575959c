"""tools/bench: what operations cost in instructions, beside goals and what others cost."""
# SPDX-License-Identifier: BSD-2-Clause
import csv
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from nosnoop import beds, paths
from nosnoop.status import USAGE, Refusal

BEDS = ("svm", "vmx", "svm-bochs")
# Where the way to the first guest is measured by another door than the bed's own.
DOORS = {"vmx": ("--door", "grub"), "svm-bochs": ("--door", "grub")}
PEERS_BED = "svm"  # where the others were measured
NO_BED = "any"     # of what does not depend on it
FIRST_ENTRY = "entry_to_first_guest_instruction"
TEXT = "text_bytes"
MEMORY = "hypervisor_memory_kib"
NO_EXIT = 10  # instructions: more than any operation takes that does not exit
EXACT = "exact "  # begins the names of what is measured under policy = exact
UNTRACED = "untraced/nosnoop.elf"  # a kernel whose trace is compiled to nothing
TRACED = "traced_{} 64"  # an exit in each state of the trace, also in the state BEFORE
BEFORE = "never"
TRACE_GOALS = {"on": 60, "off_again": 0}  # instructions that an exit takes more
# The same of operations while the trace is off, beside a kernel that has none, with policy = exact.
# An exit that makes a record tests a flag for it: 3 at most. More take those that make a second
# one, of another view or a flush.
UNTRACED_GOALS = {"out_unused_port": 0, "cpuid": 0, "hypercall_unknown": 0,
                  "mtrr_variable_pair": 2 * 3, "mtrr_pair_e0": 2 * 3, "mtrr_pair_cd1": 2 * 3,
                  "mtrr_fixed_64k": 3, "mtrr_def_type": 3, "mtrr_e_clear_set": 2 * 6,
                  "wrmsr_pat": 3, "wrmsr_pat_new": 6, "cr0_cd_set_clear": 2 * 4}
TRACE_BEDS = ("svm", "vmx")
# Guests that repeat an operation of their device, and how often in each of two runs.
DMA = {"edu": ("edu_dma", 5, 25), "nvme": ("nvme_read", 10, 110)}
DMA_BED = "svm"  # where there are IOMMUs
IOMMUS = {"VT-d": "no-snoop", "AMD-Vi": "amd"}  # what tools/run calls them
# Exits for each, whose end a message tells: the interrupt, and its EOI in an xAPIC.
DMA_GOALS = {"interrupt": 1, "memory": 1, "other": 0}
BY_POLICY = ("mtrr_", "cr0_cd_", "wbinvd ")  # begin the names of what depends on it

# The largest values that are good enough, by bed and name.
ON_EACH = {FIRST_ENTRY: 10_000_000, MEMORY: 4 << 10,
           "first_touch 32": NO_EXIT, "first_touch 64": NO_EXIT}
APIC_MSRS = {"x2apic_eoi 32": 300, "x2apic_eoi 64": 300,
             "tsc_deadline_rearm 32": 500, "tsc_deadline_rearm 64": 500,
             "x2apic_ipi 32": 1200, "x2apic_ipi 64": 1200}
# Devices of a PC: at most so many in all of the exit.
DEVICES = {f"{name} {bits}": 350 for name in ("pic_eoi", "pit_read", "pit_read_back")
           for bits in (32, 64)} | {"ioapic_eoi 64": 350}
# An EOI by the APIC's page, which is decoded: far from what the CPU or x2APIC mode make of it.
EOI_BY_PAGE = "ioapic_eoi_xapic 64"
PAIRS = ("mtrr_pair_e0", "mtrr_pair_cd1")  # two WRMSR each


def exact(limits):
    """Goals under policy = exact, of limits by operation for both forms of code."""
    return {f"{EXACT}{name} {bits}": limit for name, pair in limits.items()
            for bits, limit in zip((32, 64), pair)}


GOALS = {
    "svm": {**ON_EACH, **exact({pair: (1300, 2400) for pair in PAIRS}),
            **exact({"cr0_cd_set_clear": (NO_EXIT, NO_EXIT)}),
            "out_unused_port 32": 250, "cpuid 32": 500, "cpuid 64": 1100,
            "lapic_tpr_write 32": 1400, "lapic_tpr_write 64": 1400, "x2apic_eoi 32": 800,
            "tsc_deadline_rearm 32": 1000, "x2apic_ipi 32": 2000,
            "hlt_wake 32": 2500, "hlt_wake 64": 2500},
    "vmx": {**ON_EACH, **exact({pair: (500, 500) for pair in PAIRS}),
            **exact({"cr0_cd_set_clear": (700, 700)}),
            "out_unused_port 32": 200, "out_unused_port 64": 200,
            "cpuid 32": 200, "cpuid 64": 200,
            "rdmsr_pat 32": NO_EXIT, "rdmsr_pat 64": NO_EXIT,
            "wrmsr_pat 32": NO_EXIT, "wrmsr_pat 64": NO_EXIT, **APIC_MSRS, **DEVICES,
            EOI_BY_PAGE: 960},
    "svm-bochs": {**ON_EACH, **exact({pair: (500, 500) for pair in PAIRS}),
                  **exact({"cr0_cd_set_clear": (NO_EXIT, NO_EXIT)}),
                  "out_unused_port 32": 200, "out_unused_port 64": 200,
                  "cpuid 32": 200, "cpuid 64": 200, **APIC_MSRS, **DEVICES, EOI_BY_PAGE: 860},
    # 96 without instruments, policies, SMP, APICs, the devices of a PC, PCI and both IOMMUs.
    NO_BED: {TEXT: 240 << 10},
}
for _bed in TRACE_BEDS:
    GOALS[_bed] |= {f"trace {when}": goal for when, goal in TRACE_GOALS.items()}
    GOALS[_bed] |= {f"untraced {name}": goal for name, goal in UNTRACED_GOALS.items()}
GOALS[DMA_BED] |= {f"{iommu} {name} {kind} exits": goal for iommu in IOMMUS
                   for name, *_ in DMA.values() for kind, goal in DMA_GOALS.items()}
# KVM (Linux 6.1) and Xen 4.17 with their default mitigations in the same emulator.
PEERS = {
    "cpuid 64": ("2678", "2474"),
    "hypercall_unknown 64": ("2817", "2540"),
    "rdmsr_pat 64": ("2791", "no exit"),
    "wrmsr_pat 64": ("2761", "no exit"),
    "mtrr_variable_pair 64": ("5977", "15754"),
    "mtrr_pair_e0 64": ("5977", "15754"),
    "mtrr_pair_cd1 64": ("5977", "15754"),
    "mtrr_def_type 64": ("2851", "2447"),
    "mtrr_fixed_64k 64": ("2933", "2434"),
    "lapic_tpr_write 64": ("3551", "5111"),
    "in_0x21 64": ("1690", "1106"),
    "cr0_cd_set_clear 64": ("7135", "10016"),
    "wbinvd 64": ("2556", "2333"),
    "first_touch 64": ("7075", ""),
    "hlt_wake 64": ("14037", "15200"),
    FIRST_ENTRY: ("6.8e9 from power-on", "9.5e9 from power-on"),
    MEMORY: ("88000", "13000"),
}


@dataclass(frozen=True)
class Measurement:
    """One line of the table."""
    name: str
    bed: str
    value: int

    def goal(self):
        """The largest value that is good enough, or None."""
        return GOALS[self.bed].get(self.name)

    def missed(self):
        """Whether there is a goal and the value is above it."""
        return self.goal() is not None and self.value > self.goal()

    def fields(self):
        """The line as in the CSV file."""
        peers = PEERS.get(self.name.removeprefix(EXACT)) if self.bed == PEERS_BED else None
        goal = "" if self.goal() is None else self.goal()
        return [self.name, self.bed, self.value, goal, *(peers or ("", ""))]


def of_run(bed, output, log):
    """The Measurements in a guest's OUTPUT and the LOG of its run on a bed."""
    found = [Measurement(name, bed, int(value))
             for name, value in re.findall(r"^# bench (\S+ \d+) (\d+)\r?$", output, re.M)]
    for name, pattern in ((FIRST_ENTRY, r"first entry after (\d+) "),
                          (MEMORY, r"memory: hypervisor (\d+) KiB")):
        if match := re.search(pattern, log):
            found.append(Measurement(name, bed, int(match[1])))
    return found


def text_size(sections):
    """Bytes of the section .text in what size -A printed."""
    return Measurement(TEXT, NO_BED, int(re.search(r"^\.text +(\d+) ", sections, re.M)[1]))


def run_guest(bed, *options, build=paths.BUILD, name="bench", emulator=()):
    """Runs the guest NAME on a bed, by the kernel in BUILD: what it printed and its log, or
    Refusal."""
    guest = paths.built(f"guests/{name}.elf")
    argv = [sys.executable, str(paths.ROOT / "tools/run"), "--bed", bed, *options, str(guest),
            "--", *emulator]
    done = subprocess.run(argv, cwd=paths.ROOT, env=dict(os.environ, BUILD=str(build)),
                          stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise Refusal(f"the guest {name} ended with status {done.returncode}:\n{done.stderr}")
    log = re.search(r"^log: (.*)$", done.stderr, re.M)[1]
    return done.stdout, (paths.ROOT / log).read_text()


def measure_guest(bed, *options, **run):
    """The Measurements of a guest that is run, or Refusal."""
    return of_run(bed, *run_guest(bed, "--icount", *options, **run))


def exits_of(log):
    """Exits by kind, of the one VM of a log."""
    return {kind: int(count) for kind, count in re.findall(r": exits (\S+) (\d+)", log)}


def measure_dma(iommu, device):
    """Exits for each operation of a device by DMA in the steady state, or Refusal."""
    name, few, many = DMA[device]
    before, after = (exits_of(run_guest(DMA_BED, "--iommu", IOMMUS[iommu],
                                        "--device", f"{device} dma=non-coherent",
                                        "--set", "control=yes", "--cmdline", f"n={times}",
                                        name=device, emulator=beds.BEDS[DMA_BED].waiting())[1])
                     for times in (few, many))
    more = {kind: count - before.get(kind, 0) for kind, count in after.items()}
    more["other"] = sum(count for kind, count in more.items() if kind not in DMA_GOALS)
    # To the nearest: the hypervisor's own timer is in it, once a second.
    return [Measurement(f"{iommu} {name} {kind} exits", DMA_BED,
                        round(more.get(kind, 0) / (many - few))) for kind in DMA_GOALS]


def value(name, found):
    """The value of the Measurement NAME."""
    return next(measurement.value for measurement in found if measurement.name == name)


def measure_trace(bed):
    """What the trace adds to an exit, or Refusal."""
    found = measure_guest(bed, "--set", "control=yes", name="tracecost")
    before = value(TRACED.format(BEFORE), found)
    return [Measurement(f"trace {when}", bed, value(TRACED.format(when), found) - before)
            for when in TRACE_GOALS]


def measure_untraced(bed, found):
    """What operations of the Measurements FOUND would take less without a trace, or Refusal."""
    without = measure_guest(bed, "--set", "policy=exact", build=paths.built(UNTRACED).parent)
    return [Measurement(f"untraced {name}", bed,
                        value(f"{name} 64", found) - value(f"{name} 64", without))
            for name in UNTRACED_GOALS]


def measure_bed(bed):
    """The Measurements under each policy, or Refusal."""
    under_exact = measure_guest(bed, "--set", "policy=exact")
    found = measure_guest(bed, *DOORS.get(bed, ()))
    alone = (measure_guest(bed, "--cpus", "2", name="ipicost") +
             measure_guest(bed, "--cpus", "2", name="eoicost"))
    found += [measurement for measurement in alone
              if measurement.name not in (FIRST_ENTRY, MEMORY)]
    if bed in TRACE_BEDS:
        found += measure_trace(bed) + measure_untraced(bed, under_exact)
    return found + [Measurement(EXACT + found.name, bed, found.value)
                    for found in under_exact if found.name.startswith(BY_POLICY)]


def measure():
    """All Measurements, or Refusal."""
    sections = subprocess.run(["size", "-A", str(paths.built("nosnoop.elf"))],
                              capture_output=True, text=True, check=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = [measurement for of_bed in pool.map(measure_bed, BEDS) for measurement in of_bed]
    found += [measurement for iommu in IOMMUS for device in DMA
              for measurement in measure_dma(iommu, device)]
    found.append(text_size(sections.stdout))
    goals = {(bed, name) for bed, names in GOALS.items() for name in names}
    missing = goals - {(measurement.bed, measurement.name) for measurement in found}
    if missing:
        raise Refusal(f"not measured: {', '.join(map(' '.join, sorted(missing)))}")
    return found


def write(found, path):
    """Writes the CSV file."""
    with open(path, "w", encoding="utf-8", newline="") as out:
        table = csv.writer(out, lineterminator="\n")
        table.writerow(["name", "bed", "value", "goal", "kvm", "xen"])
        table.writerows(measurement.fields() for measurement in found)


def show(found):
    """Prints the table."""
    line = "{:<34} {:<9} {:>10} {:>10} {:>20} {:>20}  {}"
    print(line.format("name", "bed", "value", "goal", "kvm", "xen", "").rstrip())
    for measurement in found:
        mark = "MISSED" if measurement.missed() else ""
        print(line.format(*measurement.fields(), mark).rstrip())


def main():
    """Returns the exit status of tools/bench: 1 where a goal is missed."""
    try:
        found = measure()
    except Refusal as problem:
        print(f"tools/bench: {problem}", file=sys.stderr)
        return USAGE
    write(found, paths.BUILD / "bench.csv")
    show(found)
    return 1 if any(measurement.missed() for measurement in found) else 0
