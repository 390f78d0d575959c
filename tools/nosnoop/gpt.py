"""A GUID partition table with one partition, the EFI system partition."""
# SPDX-License-Identifier: BSD-2-Clause
# UEFI Specification, "GUID Partition Table (GPT) Disk Layout".
import struct
import uuid
import zlib

SECTOR = 512
FIRST = 2048        # the partition's first sector
ENTRIES, ENTRY_SIZE = 128, 128
TABLE_SECTORS = 1 + ENTRIES * ENTRY_SIZE // SECTOR  # a header and its entries
HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
REVISION = 0x10000
TYPE = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")  # EFI system partition
# Made once by chance; the same in all images, so that they are the same bytes.
DISK = uuid.UUID("6f2a0d5e-7c0b-4a43-9f3f-0d7b52a4c1e9")
PARTITION = uuid.UUID("b8c1f3d2-91a6-4e57-8a55-3c2e7d90f614")


def protective_mbr(sectors):
    """The first sector: one partition of type EEh over all SECTORS."""
    entry = struct.pack("<B3sB3sII", 0, b"\x00\x02\x00", 0xEE, b"\xff\xff\xff", 1,
                        min(sectors - 1, 0xFFFFFFFF))
    return bytes(446) + entry + bytes(48) + b"\x55\xaa"


def entries(size):
    """The partition entries: one partition of SIZE sectors."""
    entry = struct.pack("<16s16sQQQ72s", TYPE.bytes_le, PARTITION.bytes_le, FIRST,
                        FIRST + size - 1, 0, "nosnoop".encode("utf-16-le"))
    return entry.ljust(ENTRIES * ENTRY_SIZE, b"\0")


def header(here, other, first_entry, sectors, table):
    """The header at sector HERE, whose copy is at OTHER; FIRST_ENTRY: the sector of TABLE."""
    def packed(checksum):
        return HEADER.pack(b"EFI PART", REVISION, HEADER.size, checksum, 0, here, other,
                           1 + TABLE_SECTORS, sectors - 1 - TABLE_SECTORS, DISK.bytes_le,
                           first_entry, ENTRIES, ENTRY_SIZE, zlib.crc32(table))
    return packed(zlib.crc32(packed(0))).ljust(SECTOR, b"\0")


def write(image, sectors, size):
    """Writes the table of a disk of SECTORS whose partition has SIZE sectors."""
    last = sectors - 1
    assert FIRST + size <= sectors - TABLE_SECTORS
    table = entries(size)
    with open(image, "r+b") as out:
        out.write(protective_mbr(sectors) + header(1, last, 2, sectors, table) + table)
        out.seek((sectors - TABLE_SECTORS) * SECTOR)
        out.write(table + header(last, 1, sectors - TABLE_SECTORS, sectors, table))
