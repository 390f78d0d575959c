/* One line of text as it is edited, byte by byte, and those that were entered before it. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

enum { LINE_SIZE = 70, LINE_HISTORY = 8 }; /* with the NUL; lines */

enum line_event {
    LINE_SAME,      /* nothing to be seen has changed */
    LINE_APPENDED,  /* a character has come behind all others */
    LINE_CHANGED,   /* text or cursor are others */
    LINE_CANCELLED, /* Ctrl-C: the line is empty again */
    LINE_ENTERED,   /* line_entered() has it, and the line is empty again */
};

/* All bytes 0: an empty line, and no history. */
struct line {
    char text[LINE_SIZE]; /* ended by a NUL; printable ASCII only */
    unsigned length, cursor;
    char history[LINE_HISTORY][LINE_SIZE]; /* a ring, by the number of the line */
    unsigned entered;                      /* lines ever put into it */
    unsigned back;                         /* lines that TEXT is behind the newest; 0: a new one */
    char fresh[LINE_SIZE];                 /* the new one, while TEXT is another */
    char escape;                           /* the last byte of the escape sequence so far, or 0 */
    char parameter;                        /* of that sequence */
};

/*
 * Takes any byte. Keys: backspace, delete, Ctrl-A, E, U and C, home, end, the arrows (left and
 * right in the line, up and down in the history), enter. All else that is not printable is dropped.
 */
enum line_event line_key(struct line *line, unsigned char byte);

/* The line that was entered last. */
const char *line_entered(const struct line *line);
