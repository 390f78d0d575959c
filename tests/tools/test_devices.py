"""Tests of devices that tools/run gives a machine and a VM."""
# SPDX-License-Identifier: BSD-2-Clause
import pytest

from nosnoop import beds, columns, devices, doors, fat, options, rows
from nosnoop.columns import Column
from nosnoop.run import payload_of
from nosnoop.status import Refusal


def load_of(tmp_path, *arguments):
    """The options and the payload of tools/run with ARGUMENTS for a guest."""
    guest = tmp_path / "g"
    guest.write_bytes(b"")
    chosen = options.parse([*arguments, str(guest)])
    return chosen, payload_of(chosen)


def qemu(tmp_path, *arguments):
    """QEMU's command line for a guest."""
    chosen, load = load_of(tmp_path, "--bed", "svm", *arguments)
    chosen.door = doors.DOORS["mb1"]
    private = tmp_path / "private"
    private.mkdir()
    bed = beds.BEDS["svm"]
    if chosen.control:
        return bed.control(load, chosen, ["/dev/fd/9"], str(private))
    argv = bed.base(load, chosen, ["/dev/fd/8", "/dev/fd/9"])
    return argv + devices.IOMMUS[load.iommu] + devices.arguments(load.devices, str(private))


def test_a_device_of_qemu(tmp_path):
    argv = qemu(tmp_path, "--device", "edu dma=non-coherent bar0=wc")
    assert "edu,dma_mask=0xffffffffff,addr=05.0" in argv
    assert argv[argv.index("-M") + 1] == "q35"
    iommu = next(text for text in argv if text.startswith("intel-iommu"))
    assert "snoop-control=on" in iommu
    assert argv.index(iommu) < argv.index("edu,dma_mask=0xffffffffff,addr=05.0")
    _, load = load_of(tmp_path, "--device", "edu dma=non-coherent bar0=wc")
    assert "device = 00:05.0 reset=none dma=non-coherent bar0=wc\n" in load.config
    assert "iommu" not in load.config


def test_control_runs_have_devices_but_no_iommu(tmp_path):
    argv = qemu(tmp_path, "--control", "--device", "edu")
    assert "edu,dma_mask=0xffffffffff,addr=05.0" in argv
    assert not any("intel-iommu" in text for text in argv)


@pytest.mark.parametrize("name, expected", [("snoop", "snoop-control=on"),
                                            ("no-snoop", "snoop-control=off"), ("none", None),
                                            ("amd", "amd-iommu,intremap=on")])
def test_iommus(tmp_path, name, expected):
    argv = qemu(tmp_path, "--device", "edu", "--iommu", name)
    found = [text for text in argv if "-iommu," in text]
    assert (expected in found[0]) if expected else not found


def test_without_devices_there_is_no_iommu_but_where_it_is_asked_for(tmp_path):
    assert load_of(tmp_path)[1].iommu == "none"
    assert load_of(tmp_path, "--iommu", "snoop")[1].iommu == "snoop"


@pytest.mark.parametrize("arguments", [
    ["--bed", "vmx", "--device", "e1000"],
    ["--bed", "svm", "--device", "ide"],
    ["--bed", "svm", "--device", "edu", "--iommu", "none"],
])
def test_without_an_iommu_a_vm_needs_leave(tmp_path, arguments):
    assert "iommu = unsafe-identity\n" in load_of(tmp_path, *arguments)[1].config
    said = load_of(tmp_path, *arguments, "--host", "iommu=on")[1].config
    assert "iommu = on\n" in said and "unsafe-identity" not in said


@pytest.mark.parametrize("arguments, expected", [
    (["--device", "teapot"], "no such device: teapot"),
    (["--device", ""], "no such device"),
    (["--bed", "vmx", "--device", "edu"], "Bochs has no edu"),
    (["--bed", "vmx", "--iommu", "snoop"], "no IOMMU"),
    (["--bed", "svm", "--device", "ide", "--iommu", "snoop"], "no IOMMU"),
])
def test_refusals(tmp_path, arguments, expected):
    with pytest.raises(Refusal, match=expected):
        load_of(tmp_path, *arguments)


def test_an_ide_controller_is_on_another_machine_of_qemus(tmp_path):
    argv = qemu(tmp_path, "--device", "ide")
    assert argv[argv.index("-M") + 1] == "pc"
    disk = (tmp_path / "private" / "ide.img").read_bytes()
    assert len(disk) % fat.CYLINDER == 0 and disk.startswith(b"nosnoop test disk\n")
    place = 5 * 512 + 8
    word = int.from_bytes(disk[place:place + 4], "little")
    assert word == (place // 4 * 0x9e3779b1) % 2**32


def test_kvm_with_an_iommu(tmp_path):
    _, load = load_of(tmp_path, "--bed", "svm", "--device", "edu")
    assert beds.BEDS["kvm"].machine(load) == "q35,kernel-irqchip=split"
    assert beds.BEDS["svm"].machine(load) == "q35"
    _, load = load_of(tmp_path, "--bed", "svm", "--device", "ide")
    assert beds.BEDS["kvm"].machine(load) == "pc"


def test_devices_of_bochs(tmp_path):
    _, load = load_of(tmp_path, "--bed", "vmx", "--device", "e1000", "--device", "ide")
    text = beds.BEDS["vmx"].configuration(load, doors.Start(cdrom="x.iso"), ["a", "b"],
                                          str(tmp_path))
    assert "slot2=e1000\n" in text
    assert f"ata0-slave: type=disk, path={tmp_path}/ide.img, mode=flat, cylinders=2," in text
    assert "device = 00:03.0 reset=none\ndevice = 00:01.1 reset=none\n" in load.config


def test_a_display_of_bochs_is_given_away_only_dangerously(tmp_path):
    _, load = load_of(tmp_path, "--bed", "vmx", "--device", "bochs-display")
    assert "dangerous = yes\n" in load.config


def test_rows():
    row = rows.parse_row('a end=0 device="edu dma=coherent" device=e1000 iommu=no-snoop', "a")
    svm, vmx, control = (columns.command(column, row) for column in (
        Column("svm", "svm"), Column("vmx", "vmx"), Column("control", "svm", control=True)))
    for argv in (svm, vmx, control):
        assert [argv[i + 1] for i, word in enumerate(argv) if word == "--device"] == row.devices
    assert svm[svm.index("--iommu") + 1] == "no-snoop"
    assert "--iommu" not in vmx + control


def test_rows_are_skipped_where_a_device_is_missing():
    row = rows.parse_row("a end=0 device=edu", "a")
    assert Column("svm", "svm").skipped(row) is None
    assert Column("vmx", "vmx").skipped(row) == "emulator: Bochs has no edu"


@pytest.mark.parametrize("device, iommu, skipped", [
    ("edu", "amd", False), ("edu-port", "snoop", False), ("edu-port", "amd", True),
    ("edu-bridge", "amd", True)])
def test_rows_are_skipped_where_an_iommu_does_not_see_a_device(device, iommu, skipped):
    row = rows.parse_row(f"a end=0 device={device} iommu={iommu}", "a")
    reason = Column("svm", "svm").skipped(row)
    assert reason.startswith("emulator: QEMU's amd-iommu") if skipped else reason is None


@pytest.mark.parametrize("iommu", ["amd", "snoop"])
def test_rows_with_these_iommus_are_qemu_s(iommu):
    row = rows.parse_row(f"a end=0 device=e1000 iommu={iommu}", "a")
    assert Column("vmx", "vmx").skipped(row) == "emulator: Bochs has no IOMMU"
    assert Column("control", "vmx", control=True).skipped(row) is None
