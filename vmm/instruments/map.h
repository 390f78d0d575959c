/* The memory map of a VM in the log: each range with all that makes its memory type. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "vmm/vm.h"

/*
 * Logs VM's memory as its tables have it now, in ranges of one kind: at most MAP_MAX_LINES
 * of them, and how many more there are. A map that takes more than MAP_MAX_STEPS questions of the
 * oracle is cut off there, and says so. Lines begin with `memmap NAME`:
 *     begin policy P noncoherent N view V enabled E cd CD pat PAT root ROOT
 *     START END guest TYPE RULE host TYPE leaf TYPE SIZE ipat N rule RULE pat guest|TYPE
 *         effective WB=TYPE WT=TYPE WP=TYPE WC=TYPE UC-=TYPE UC=TYPE
 *     and N more from START
 *     cut at ADDRESS
 *     end COUNT
 * The first RULE is that of the guest's MTRRs, the second what decided the leaf. `pat TYPE`: all
 * slots of the PAT in force are of that type. Effective types are those by the guest's PAT type.
 */
void map_log(struct vm *vm);

/* "typed", "disabled", "cd"; what decided a type (enum mtrr_rule, enum type_rule). */
const char *map_view_name(unsigned view);
const char *map_rule_name(unsigned rule);

enum { MAP_MAX_LINES = 256, MAP_MAX_STEPS = 1 << 18 };
