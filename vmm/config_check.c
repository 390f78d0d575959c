/* What nosnoop.cfg may say and this build cannot do yet: a row for each, which its feature removes.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"
#include "vmm/config.h"
#include "vmm/host/cpu.h"

/* A field whose value may be at most MOST. */
struct limit {
    size_t offset, size; /* bytes; SIZE is at most 4 */
    uint32_t most;
    const char *what, *cure;
};

#define FIELD(type, field) offsetof(type, field), sizeof(((type *)NULL)->field)
#define HOST(field)        FIELD(struct host_config, field)

/* clang-format off */
static const struct limit host_limits[] = {
    {HOST(cpus),   MAX_CPUS,     "more than 64 CPUs", "write cpus = all"},
    {HOST(on_end), ON_END_RESET, "on_end = poweroff", "write on_end = halt or reset"},
};

/* clang-format on */

static int check(const struct limit *limits, size_t count, const void *base, uint32_t line,
                 const char *section)
{
    int result = 0;
    for (const struct limit *limit = limits; limit < limits + count; limit++) {
        uint32_t value = 0;
        assert(limit->size <= sizeof(value));
        memcpy(&value, (const char *)base + limit->offset, limit->size);
        if (value > limit->most) {
            log_line("nosnoop.cfg:%u: %s: %s is not supported yet; %s", line, section, limit->what,
                     limit->cure);
            result = -EINVAL;
        }
    }
    return result;
}

int config_check_supported(const struct config *config)
{
    const struct host_config *host = &config->host;
    return check(host_limits, ARRAY_SIZE(host_limits), host, host->line, "host");
}
