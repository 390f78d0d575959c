"""Which devices the log calls coherent, and why: in the machine's table, and of those of VMs."""
# SPDX-License-Identifier: BSD-2-Clause
import re

import pytest

FORCED = "coherent: its IOMMU forces snooping"
NO_BIT = "no IOMMU can force it to snoop, and it has no Enable No Snoop"
HELD = "coherent: its Enable No Snoop is held at 0, which dma=coherent trusts"
BY_BIT = "not coherent: no IOMMU can force it to snoop; dma=coherent would hold its Enable No " \
         "Snoop at 0"
BY_CONFIG = "not coherent: as the config says"
# A conventional function, and one of PCI Express.
EDU, NVME, PORT = "00:05.0", "00:05.0", "01:00.0"


def run(system, iommu, *devices):
    """A guest that has DEVICES runs to its end."""
    given = [word for device in devices for word in ("--device", device)]
    return system.svm(*given, "--iommu", iommu, "--cmdline", "value=0", system.guest("value"))


@pytest.mark.parametrize("iommu, devices, says", [
    ("snoop", ["edu"], {EDU: FORCED}),
    ("snoop", ["nvme dma=coherent"], {NVME: FORCED}),
    ("snoop", ["edu dma=non-coherent"], {EDU: BY_CONFIG}),
    ("no-snoop", ["edu"], {EDU: "not coherent: " + NO_BIT}),
    ("no-snoop", ["nvme"], {NVME: BY_BIT}),
    ("no-snoop", ["nvme dma=coherent"], {NVME: HELD}),
    ("no-snoop", ["nvme dma=non-coherent"], {NVME: BY_CONFIG}),
    ("no-snoop", ["nvme dma=coherent", "edu-port"], {NVME: HELD, PORT: "not coherent: " + NO_BIT}),
    ("snoop", ["nvme dma=coherent", "edu-port dma=non-coherent"], {NVME: HELD, PORT: BY_CONFIG}),
    ("snoop", ["nvme", "edu-port dma=non-coherent"],
     {NVME: "not coherent: snooping is not forced, as it cannot be for all devices of the VM",
      PORT: BY_CONFIG})])
def test_devices_of_a_vm(system, iommu, devices, says):
    outcome = run(system, iommu, *devices)
    assert outcome.status == 0, outcome.messages + outcome.log_text
    assert dict(re.findall(r"vm value: device (\S+) is (.*)", outcome.log_text)) == says


@pytest.mark.parametrize("iommu, devices, why", [
    ("no-snoop", ["edu dma=coherent"], NO_BIT),
    ("snoop", ["nvme dma=non-coherent", "edu-port dma=coherent"],
     "snooping is not forced, as it cannot be for all devices of the VM")])
def test_refused(system, iommu, devices, why):
    outcome = run(system, iommu, *devices)
    assert outcome.status == 122
    assert re.search(r"nosnoop\.cfg:\d+: vm value: device \S+ cannot be made coherent: " +
                     re.escape(why) + "; leave dma=coherent out", outcome.log_text)


@pytest.mark.parametrize("iommu, says", [
    ("snoop", {NVME: FORCED, PORT: FORCED}),
    ("no-snoop", {NVME: BY_BIT, PORT: "not coherent: " + NO_BIT})])
def test_the_table(system, iommu, says):
    """Each function but bridges has its IOMMU in the log, and whether it is coherent."""
    log = run(system, iommu, "nvme", "edu-port").log_text
    table = dict(re.findall(r"pci (\S+): iommu 0, (.*)", log))
    assert {bdf: table[bdf] for bdf in says} == says
    assert set(table) == set(re.findall(r"pci (\S+): .* reset ", log))
