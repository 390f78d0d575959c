/* What a guest has written on its text screen, which no one sees: shown when its VM ends. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/host/host.h"
#include "vmm/host/log.h"
#include "vmm/vm.h"

/* Blanks at the end are left out, and a row that has nothing else; a cell never written is blank.
 */
static void show_row(const struct vm *vm, const uint8_t *cells)
{
    char text[SCREEN_COLUMNS];
    int length = 0;
    for (int i = 0; i < SCREEN_COLUMNS; i++) {
        uint8_t c = cells[2 * i] == 0 ? ' ' : cells[2 * i];
        text[i] = c >= ' ' && c < 0x7f ? (char)c : '.';
        if (c != ' ')
            length = i + 1;
    }
    if (length > 0)
        log_line("vm %s: screen: %.*s", vm->config->name, length, text);
}

void vm_show_screen(const struct vm *vm)
{
    uint8_t cells[2 * SCREEN_COLUMNS];
    hpa_t at;
    static_assert(SCREEN_START % PAGE_SIZE + SCREEN_SIZE <= PAGE_SIZE, "it lies in one page");
    if (!extent_byte(vm->extents, vm->extent_count, gpa(SCREEN_START), &at))
        return;
    for (unsigned row = 0; row < SCREEN_ROWS; row++) {
        host_read(this_cpu(), hpa(at.v + row * sizeof(cells)), cells, sizeof(cells));
        show_row(vm, cells);
    }
}
