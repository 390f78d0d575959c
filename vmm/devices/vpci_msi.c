/* A passed-through function as its guest sees it: MSI, MSI-X, and how it interrupts. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/devices/vpci.h"

/* "MSI Capability Structure": registers as with 64-bit addresses; bits of Message Control. */
enum { MSI_ADDRESS = 4, MSI_UPPER = 8, MSI_DATA = 12, MSI_MASK = 16 };
#define MSI_ENABLE      1u
#define MSI_COUNT_AT    1 /* Multiple Message Capable, a logarithm */
#define MSI_COUNT       (7u << MSI_COUNT_AT)
#define MSI_USED_AT     4 /* Multiple Message Enable */
#define MSI_USED        (7u << MSI_USED_AT)
#define MSI_64          (1u << 7)
#define MSI_MASKS       (1u << 8)
#define MSI_DATA_BITS   0xffffu
#define MSI_LOG_VECTORS 5u

/* "MSI-X Capability Structure". */
enum { MSIX_TABLE = 4, MSIX_PENDING = 8 };
#define MSIX_SIZE   0x7ffu /* entries less one */
#define MSIX_MASK   (1u << 14)
#define MSIX_ENABLE (1u << 15)
#define MSIX_BAR    7u
#define ENTRY_MASK  1u /* of Vector Control */
enum { ENTRY_SIZE = sizeof(struct vpci_entry), ENTRY_CONTROL = 3 };

/* Of a message's address. */
#define ADDRESS_LOW (~3u)

/* --- messages --------------------------------------------------------------------------------- */

static unsigned msi_count(const struct vpci_msi *msi)
{
    return 1u << ((msi->control & MSI_USED) >> MSI_USED_AT);
}

/* Whether a vector has a message, and is not masked. */
static bool msi_lives(const struct vpci_msi *msi, unsigned i)
{
    return i < msi_count(msi) && (msi->mask >> i & 1) == 0;
}

/* The vector's number takes the place of the data's low bits ("MSI Operation"). */
static struct vpci_message msi_message(const struct vpci_msi *msi, unsigned i)
{
    return (struct vpci_message){msi->address, (msi->data & ~(msi_count(msi) - 1)) | i};
}

static bool same(struct vpci_message a, struct vpci_message b)
{
    return a.address == b.address && a.data == b.data;
}

static struct vpci_message entry_message(const struct vpci_entry *entry)
{
    return (struct vpci_message){entry->word[0] | (uint64_t)entry->word[1] << 32, entry->word[2]};
}

unsigned vpci_table_entries(const struct vpci *v)
{
    return v->table.size / ENTRY_SIZE;
}

static void tell(const struct vpci *v, unsigned i, bool live, struct vpci_message message)
{
    v->setup.ops->message(v->setup.context, i, live ? &message : NULL);
}

/* Of all that are not masked themselves: now they live, or no more. */
static void tell_all(const struct vpci *v, bool live)
{
    if (v->how == VPCI_MSI) {
        for (unsigned i = 0; i < VPCI_MAX_VECTORS; i++)
            if (msi_lives(&v->msi, i))
                tell(v, i, live, msi_message(&v->msi, i));
        return;
    }
    for (unsigned i = 0; i < vpci_table_entries(v); i++) {
        const struct vpci_entry *entry = &v->setup.entries[i];
        if ((entry->word[ENTRY_CONTROL] & ENTRY_MASK) == 0)
            tell(v, i, live, entry_message(entry));
    }
}

/* Both MSI and MSI-X are not to be enabled: here MSI-X is then ("MSI and MSI-X Operation"). */
static enum vpci_interrupts interrupts(const struct vpci *v)
{
    if (v->power != POWER_D0)
        return VPCI_SILENT;
    if ((v->msix_control & MSIX_ENABLE) != 0)
        return VPCI_MSIX;
    if ((v->msi.control & MSI_ENABLE) != 0)
        return VPCI_MSI;
    return v->setup.intx && (v->command & PCI_COMMAND_NO_INTX) == 0 ? VPCI_INTX : VPCI_SILENT;
}

void vpci_tell_interrupts(struct vpci *v)
{
    enum vpci_interrupts how = interrupts(v);
    if (how != v->how) {
        v->how = (uint8_t)how;
        v->open = false;
        v->setup.ops->interrupts(v->setup.context, how);
    }
    bool open = how == VPCI_MSI || (how == VPCI_MSIX && (v->msix_control & MSIX_MASK) == 0);
    if (open != v->open) {
        v->open = open;
        tell_all(v, open);
    }
}

void vpci_clear_msi(struct vpci *v)
{
    v->msi = (struct vpci_msi){0};
    v->msix_control = 0;
    for (unsigned i = 0; i < vpci_table_entries(v); i++)
        v->setup.entries[i] = (struct vpci_entry){{[ENTRY_CONTROL] = ENTRY_MASK}};
}

/* --- MSI -------------------------------------------------------------------------------------- */

unsigned vpci_msi_size(uint32_t header)
{
    uint32_t control = header >> 16;
    return 10u + ((control & MSI_64) != 0 ? 4u : 0) + ((control & MSI_MASKS) != 0 ? 10u : 0);
}

bool vpci_accept_msi(struct vpci *v, uint32_t header)
{
    uint32_t offered = header >> 16 & (MSI_COUNT | MSI_64 | MSI_MASKS), count = MSI_LOG_VECTORS;
    while (count > 0 && 1u << count > v->setup.vectors)
        count--;
    if (count > (offered & MSI_COUNT) >> MSI_COUNT_AT)
        count = (offered & MSI_COUNT) >> MSI_COUNT_AT;
    v->msi_offered = (uint16_t)((offered & ~MSI_COUNT) | count << MSI_COUNT_AT);
    return v->setup.vectors != 0;
}

/* A register as it is with 64-bit addresses. */
static unsigned msi_register(const struct vpci *v, unsigned reg)
{
    return (v->msi_offered & MSI_64) == 0 && reg > MSI_ADDRESS ? reg + 4 : reg;
}

uint32_t vpci_read_msi(const struct vpci *v, unsigned at, unsigned reg)
{
    switch (msi_register(v, reg)) {
    case 0:
        return (uint32_t)(v->msi_offered | v->msi.control) << 16;
    case MSI_ADDRESS:
        return (uint32_t)v->msi.address;
    case MSI_UPPER:
        return (uint32_t)(v->msi.address >> 32);
    case MSI_DATA:
        return v->msi.data;
    case MSI_MASK:
        return v->msi.mask;
    default:
        return vpci_real(v, at + reg, 4); /* pending bits */
    }
}

static void write_msi_control(struct vpci *v, uint32_t mask, uint32_t value)
{
    uint32_t most = (v->msi_offered & MSI_COUNT) >> MSI_COUNT_AT << MSI_USED_AT;
    uint32_t control = vpci_merge(v->msi.control, MSI_ENABLE | MSI_USED, mask, value);
    if ((control & MSI_USED) > most)
        control = (control & MSI_ENABLE) | most;
    v->msi.control = (uint16_t)control;
}

static void set_msi(struct vpci *v, unsigned reg, uint32_t mask, uint32_t value)
{
    unsigned count = 1u << ((v->msi_offered & MSI_COUNT) >> MSI_COUNT_AT);
    uint64_t upper = (uint64_t)mask << 32;
    switch (msi_register(v, reg)) {
    case 0:
        write_msi_control(v, mask >> 16, value >> 16);
        break;
    case MSI_ADDRESS:
        mask &= ADDRESS_LOW;
        v->msi.address = (v->msi.address & ~(uint64_t)mask) | (value & mask);
        break;
    case MSI_UPPER:
        v->msi.address = (v->msi.address & ~upper) | ((uint64_t)value << 32 & upper);
        break;
    case MSI_DATA:
        v->msi.data = vpci_merge(v->msi.data, MSI_DATA_BITS, mask, value);
        break;
    case MSI_MASK:
        v->msi.mask = vpci_merge(v->msi.mask, UINT32_MAX >> (32 - count), mask, value);
        break;
    default:
        break;
    }
}

void vpci_write_msi(struct vpci *v, unsigned reg, uint32_t mask, uint32_t value)
{
    struct vpci_msi was = v->msi;
    bool before = v->how == VPCI_MSI;
    set_msi(v, reg, mask, value);
    vpci_tell_interrupts(v);
    for (unsigned i = 0; i < VPCI_MAX_VECTORS && before && v->how == VPCI_MSI; i++) {
        bool lived = msi_lives(&was, i), lives = msi_lives(&v->msi, i);
        struct vpci_message now = msi_message(&v->msi, i);
        if (lives != lived || (lives && !same(msi_message(&was, i), now)))
            tell(v, i, lives, now);
    }
}

/* --- MSI-X ------------------------------------------------------------------------------------ */

/* SIZE bytes where the register says, if they are in a BAR of memory. */
static bool find_place(const struct vpci *v, uint32_t reg, uint32_t size, struct vpci_place *place)
{
    uint32_t bar = reg & MSIX_BAR, offset = reg & ~MSIX_BAR;
    *place = (struct vpci_place){(uint8_t)bar, offset, size};
    return bar < PCI_BARS && v->setup.real->bar[bar].kind == PCI_BAR_MEMORY &&
           offset + (uint64_t)size <= v->setup.real->bar[bar].size;
}

bool vpci_accept_msix(struct vpci *v, unsigned at, uint32_t header)
{
    uint32_t count = (header >> 16 & MSIX_SIZE) + 1;
    struct vpci_place table, pending;
    if (count > v->setup.entry_count ||
        !find_place(v, vpci_real(v, at + MSIX_TABLE, 4), count * ENTRY_SIZE, &table) ||
        !find_place(v, vpci_real(v, at + MSIX_PENDING, 4), (count + 63) / 64 * 8, &pending))
        return false;
    v->table = table;
    v->pending = pending;
    return true;
}

uint32_t vpci_read_msix(const struct vpci *v, unsigned at, unsigned reg)
{
    uint32_t value = vpci_real(v, at + reg, 4);
    return reg == 0 ? (value & MSIX_SIZE << 16) | (uint32_t)v->msix_control << 16 : value;
}

void vpci_write_msix(struct vpci *v, unsigned reg, uint32_t mask, uint32_t value)
{
    if (reg == 0)
        v->msix_control =
            (uint16_t)vpci_merge(v->msix_control, MSIX_MASK | MSIX_ENABLE, mask >> 16, value >> 16);
}

static bool touches(const struct vpci_place *place, unsigned bar, uint64_t offset, unsigned width)
{
    return place->size != 0 && bar == place->bar &&
           offset < place->offset + (uint64_t)place->size && offset + width > place->offset;
}

bool vpci_read_table(const struct vpci *v, unsigned bar, uint64_t offset, unsigned width,
                     uint64_t *value)
{
    if (!touches(&v->table, bar, offset, width))
        return false;
    *value = 0;
    for (unsigned i = 0; i < width; i++) {
        uint64_t at = offset + i - v->table.offset;
        uint32_t word = at < v->table.size ? v->setup.entries[at / ENTRY_SIZE].word[at / 4 % 4] : 0;
        *value |= (uint64_t)(word >> at % 4 * 8 & 0xff) << 8 * i;
    }
    return true;
}

static void write_entry(struct vpci *v, unsigned i, unsigned word, unsigned words, uint64_t value)
{
    static const uint32_t bits[4] = {ADDRESS_LOW, UINT32_MAX, UINT32_MAX, ENTRY_MASK};
    struct vpci_entry *entry = &v->setup.entries[i];
    struct vpci_message was = entry_message(entry);
    bool lived = (entry->word[ENTRY_CONTROL] & ENTRY_MASK) == 0;
    for (unsigned k = 0; k < words; k++)
        entry->word[word + k] = (uint32_t)(value >> 32 * k) & bits[word + k];
    struct vpci_message now = entry_message(entry);
    bool lives = (entry->word[ENTRY_CONTROL] & ENTRY_MASK) == 0;
    if (v->how == VPCI_MSIX && v->open && (lives != lived || (lives && !same(was, now))))
        tell(v, i, lives, now);
}

bool vpci_write_table(struct vpci *v, unsigned bar, uint64_t offset, unsigned width, uint64_t value)
{
    uint64_t at = offset - v->table.offset;
    if (!touches(&v->table, bar, offset, width))
        return touches(&v->pending, bar, offset, width);
    if (width >= 4 && at % width == 0 && at < v->table.size)
        write_entry(v, (unsigned)(at / ENTRY_SIZE), at / 4 % 4, width / 4, value);
    return true;
}
