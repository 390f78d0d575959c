"""The table of PCI functions in the log, against what the emulators have."""
# SPDX-License-Identifier: BSD-2-Clause
import re
import struct

import pytest

from machine import Machine

ECAM = 0xB0000000  # SeaBIOS
COMMAND = 4
DECODE, BUS_MASTER = 3, 1 << 2
DISPLAY, BRIDGE = 0x03, 0x06
# All kinds of bridges, and of BARs.
DEVICES = """
-device edu,id=edu,bus=pcie.0,addr=2
-device pcie-root-port,id=rp,bus=pcie.0,addr=3,chassis=1 -device nvme,id=a,serial=a,bus=rp
-device ioh3420,id=plain,bus=pcie.0,addr=4,chassis=2 -device x3130-upstream,id=up,bus=plain
-device xio3130-downstream,id=down0,bus=up,chassis=3,slot=3 -device edu,id=edu0,bus=down0
-device xio3130-downstream,id=down1,bus=up,chassis=4,slot=4 -device nvme,id=b,serial=b,bus=down1
-device pcie-pci-bridge,id=pci,bus=pcie.0,addr=5
-device edu,id=edu3,bus=pci,addr=3 -device edu,id=edu4,bus=pci,addr=4
-device pxb-pcie,id=pxb,bus_nr=0x40,bus=pcie.0,addr=6
-device pcie-root-port,id=far,bus=pxb,chassis=5 -device nvme-subsys,id=s
-device nvme,id=c,serial=c,subsys=s,bus=far,sriov_max_vfs=2,sriov_vq_flexible=4,sriov_vi_flexible=2
-object memory-backend-ram,id=m,size=4M,share=on
-device ivshmem-plain,id=shared,memdev=m,bus=pcie.0,addr=7
-device pci-serial,id=serial,bus=pcie.0,addr=8 -device bochs-display,id=display,bus=pcie.0,addr=9
""".split()
# Those that something lets reach each other: behind ports without ACS, or on a conventional bus.
# All others are alone, but for the functions of device 00:1f.
TOGETHER = [{"plain", "up", "down0", "edu0", "down1", "b"}, {"pci", "edu3", "edu4"}]
RESETS = {"edu": "none", "a": "FLR", "edu0": "bus", "b": "FLR", "edu3": "none", "edu4": "none",
          "c": "FLR", "shared": "none", "serial": "none", "display": "none"}
LINE = re.compile(r"pci (\w\w:\w\w\.\w): (\w{4}):(\w{4}) class (\w{6}), group (\d+)(.*)")
BAR = re.compile(r"(bar\d|rom) (io|mem)(64|)(p|) 0x(\w+)(?:\+(\d+)([BKMGT]))?(?: ([\w-]+))?(?=,|$)")
UNITS = {unit: 1 << 10 * i for i, unit in enumerate("BKMGT")}


class Function:
    """A function as the log has it."""

    def __init__(self, vendor, device, class_, group, rest):
        self.ids = (int(vendor, 16), int(device, 16))
        self.class_ = int(class_, 16) >> 8
        self.group = int(group)
        self.bars = {what: ("memory" if kind == "mem" else kind, bool(wide), bool(prefetchable),
                            int(address, 16), int(size or 0) * UNITS[unit or "B"], memory_type)
                     for what, kind, wide, prefetchable, address, size, unit, memory_type
                     in BAR.findall(rest)}
        found = [re.search(pattern, rest)
                 for pattern in (r"reset (\w+)", r"SR-IOV ([\w ]+)", r"buses (\w\w-\w\w)")]
        self.reset, self.sriov, self.buses = [match and match[1] for match in found]


def functions_of(log):
    """{BDF: Function} of a log."""
    return {bdf: Function(*rest) for bdf, *rest in LINE.findall(log)}


def flattened(devices):
    """DEVICES of QMP's query-pci, and what is behind bridges."""
    for device in devices:
        yield device
        yield from flattened(device.get("pci_bridge", {}).get("devices", []))


def bdf_of(device):
    """As the log has it."""
    return f"{device['bus']:02x}:{device['slot']:02x}.{device['function']}"


@pytest.fixture(scope="module", name="live")
def run(system, tmp_path_factory):
    """{BDF: Function} as logged, {BDF: as QEMU has it}, {BDF: its command register}."""
    with Machine(system, tmp_path_factory.mktemp("live"), system.guest("spin"),
                 emulator=DEVICES) as machine:
        buses = machine.monitor.command("query-pci")
        devices = {bdf_of(device): device for bus in buses for device in flattened(bus["devices"])}
        commands = {}
        for bdf, device in devices.items():
            place = device["bus"] << 20 | device["slot"] << 15 | device["function"] << 12
            (commands[bdf],) = struct.unpack_from("<H", machine.page(ECAM + place), COMMAND)
        return functions_of(machine.log.read_text()), devices, commands


def test_the_same_functions(live):
    logged, devices, _ = live
    assert len(devices) > 20
    assert {bdf: (f.ids, f.class_) for bdf, f in logged.items()} == {
        bdf: ((d["id"]["vendor"], d["id"]["device"]), d["class_info"]["class"])
        for bdf, d in devices.items()}


def regions_of(device):
    """The BARs as the log has them. No ROM: QEMU does not say where one is that is off."""
    sized = device["class_info"]["class"] >> 8 != BRIDGE
    return {f"bar{region['bar']}": (region["type"], region.get("mem_type_64", False),
                                    region.get("prefetch", False), region["address"],
                                    region["size"] if sized else 0,
                                    "UC" if region["type"] == "memory" else "")
            for region in device["regions"] if region["bar"] < 6}


def test_the_same_bars(live):
    """Also: they are where they were, and decoding is on, else QEMU has no address for them."""
    logged, devices, _ = live
    for bdf, device in devices.items():
        found = {what: bar for what, bar in logged[bdf].bars.items() if what != "rom"}
        assert found == regions_of(device), bdf
    kinds = {bar[:3] for f in logged.values() for bar in f.bars.values()}
    assert kinds >= {("io", False, False), ("memory", False, False), ("memory", False, True),
                     ("memory", True, False), ("memory", True, True)}


def test_the_same_roms(live):
    logged, devices, _ = live
    sizes = {bdf: region["size"] for bdf, device in devices.items()
             for region in device["regions"] if region["bar"] == 6}
    assert sizes
    assert {bdf: f.bars["rom"][4] for bdf, f in logged.items() if "rom" in f.bars} == sizes


def test_the_same_bridges(live):
    logged, devices, _ = live
    for bdf, device in devices.items():
        bus = device.get("pci_bridge", {}).get("bus")
        expected = bus and f"{bus['secondary']:02x}-{bus['subordinate']:02x}"
        assert logged[bdf].buses == expected, bdf


def test_who_is_with_whom(live):
    logged, devices, _ = live
    sets = {}
    for bdf, function in logged.items():
        name = devices[bdf]["qdev_id"] or bdf
        sets.setdefault(function.group, set()).add(name)
    several = [names for names in sets.values() if len(names) > 1]
    assert sorted(map(sorted, several)) == sorted(
        map(sorted, [*TOGETHER, {"00:1f.0", "00:1f.2", "00:1f.3"}]))


def test_how_it_is_reset(live):
    logged, devices, _ = live
    found = {devices[bdf]["qdev_id"]: f for bdf, f in logged.items()}
    assert {name: found[name].reset for name in RESETS} == RESETS
    assert found["rp"].reset is None
    assert [name for name, f in found.items() if f.sriov] == ["c"]
    assert found["c"].sriov == "off"


def test_no_device_is_bus_master(live):
    """SeaBIOS has left it on for what it can boot from: NVMe and AHCI."""
    logged, _, commands = live
    classes = {bdf: f.class_ >> 8 for bdf, f in logged.items()}
    masters = {bdf for bdf, command in commands.items() if command & BUS_MASTER}
    assert {classes[bdf] for bdf in masters} <= {DISPLAY, BRIDGE}
    assert all(command & DECODE == DECODE for command in commands.values())


def test_a_table_that_leads_elsewhere(system, tmp_path):
    """An MCFG on a machine that has no ECAM: it is found out, and ports do as well."""
    (tmp_path / "mcfg").write_bytes(bytes(8) + struct.pack("<QHBBI", 0xD0000000, 0, 0, 255, 0))
    done = system.svm(system.guest("value"), "--cmdline", "0", "--", "-machine", "pc",
                      "-acpitable", f"sig=MCFG,rev=1,data={tmp_path}/mcfg",
                      "-device", "edu,addr=9")
    assert "pci: ECAM at 0xd0000000 is not what the ports lead to" in done.log_text
    functions = functions_of(done.log_text)
    assert functions["00:00.0"].ids == (0x8086, 0x1237)
    assert functions["00:09.0"].ids == (0x1234, 0x11E8)
    assert functions["00:09.0"].bars["bar0"][4] == 1 << 20


def test_bochs(system, tmp_path):
    """The 440FX by ports: what its chips are (Intel), and the network card."""
    done = system.run("--bed", "vmx", "--timeout", "30", system.guest("value"), "--",
                      "pci: enabled=1, chipset=i440fx, slot1=e1000",
                      "e1000: enabled=1, mac=52:54:00:12:34:56, ethmod=vnet, "
                      f"ethdev={tmp_path}")
    assert "by ECAM" not in done.log_text
    functions = functions_of(done.log_text)
    assert {bdf: f.ids for bdf, f in functions.items()} == {
        "00:00.0": (0x8086, 0x1237), "00:01.0": (0x8086, 0x7000), "00:01.1": (0x8086, 0x7010),
        "00:01.2": (0x8086, 0x7020), "00:01.3": (0x8086, 0x7113), "00:02.0": (0x8086, 0x100E)}
    assert [len({f.group for bdf, f in functions.items() if bdf.startswith(device)})
            for device in ("00:00", "00:01", "00:02")] == [1, 1, 1]
    assert len({f.group for f in functions.values()}) == 3
    card = functions["00:02.0"]
    assert card.bars["bar0"][:3] == ("memory", False, False) and card.bars["bar0"][4] == 128 << 10
    assert card.bars["bar0"][5] == "UC" and card.bars["bar1"][0] == "io"
    assert card.bars["bar1"][4] == 64 and card.reset == "none"
