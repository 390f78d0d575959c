/* Reads the tables of tests/golden/: facts out of the manuals, each row with its status. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/host.h"

enum { GOLDEN_COLUMNS = 20, GOLDEN_LINE = 512 };

struct golden_row {
    char text[GOLDEN_LINE];
    const char *cell[GOLDEN_COLUMNS]; /* empty beyond the last */
};

/* Parts a line at its commas, but for those between quotes. */
static inline void golden_split(struct golden_row *row)
{
    unsigned n = 0;
    bool quoted = false;
    for (unsigned i = 0; i < GOLDEN_COLUMNS; i++)
        row->cell[i] = "";
    row->cell[n++] = row->text;
    for (char *at = row->text; *at != '\0'; at++) {
        quoted ^= *at == '"';
        if (*at == '\n' || *at == '\r')
            *at = '\0';
        else if (*at == ',' && !quoted && n < GOLDEN_COLUMNS) {
            *at = '\0';
            row->cell[n++] = at + 1;
        }
    }
}

/*
 * Calls CHECK for each row of the file whose last columns do not say that it is unsure, and returns
 * how many there were: a test names the number, so that an empty table is no proof.
 */
static inline unsigned golden_file(const char *path, void (*check)(const struct golden_row *row))
{
    struct golden_row row;
    unsigned rows = 0;
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    for (bool head = true; fgets(row.text, sizeof(row.text), file) != NULL; head = false) {
        bool unsure =
            strstr(row.text, "FROM-MEMORY") != NULL || strstr(row.text, "UNCONFIRMED") != NULL;
        if (head || unsure)
            continue;
        golden_split(&row);
        check(&row);
        rows++;
    }
    fclose(file);
    return rows;
}

/* The same for the file NAME of tests/golden/. */
static inline unsigned golden_each(const char *name, void (*check)(const struct golden_row *row))
{
    char path[128];
    snprintf(path, sizeof(path), "tests/golden/%s.csv", name);
    return golden_file(path, check);
}

/* The memory type of that name; the test fails where there is none. */
static inline enum memtype golden_type(const char *name)
{
    static const struct {
        const char *name;
        enum memtype type;
    } types[] = {{"UC", MT_UC}, {"WC", MT_WC}, {"WT", MT_WT},
                 {"WP", MT_WP}, {"WB", MT_WB}, {"UC-", MT_UC_MINUS}};
    for (unsigned i = 0; i < ARRAY_SIZE(types); i++)
        if (strcmp(types[i].name, name) == 0)
            return types[i].type;
    fail_msg("no memory type: %s", name);
    return MT_UC;
}
