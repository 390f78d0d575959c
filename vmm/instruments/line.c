/* One line of text as it is edited, byte by byte, and those that were entered before it. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/instruments/line.h"

#include <stdbool.h>

#include "lib/string.h"

#define CTRL(letter) ((letter)&0x1f)

enum { ESCAPE = 0x1b, DELETE = 0x7f };

static enum line_event set_text(struct line *line, const char *text)
{
    line->length = line->cursor = (unsigned)strlen(text);
    memmove(line->text, text, line->length + 1);
    return LINE_CHANGED;
}

static enum line_event move_to(struct line *line, unsigned cursor)
{
    if (cursor > line->length) /* also one left of the first */
        return LINE_SAME;
    line->cursor = cursor;
    return LINE_CHANGED;
}

static enum line_event insert(struct line *line, char c)
{
    if (line->length + 1 == LINE_SIZE)
        return LINE_SAME;
    char *at = &line->text[line->cursor++];
    memmove(at + 1, at, ++line->length + 1 - line->cursor);
    *at = c;
    return line->cursor == line->length ? LINE_APPENDED : LINE_CHANGED;
}

/* The character at the cursor. */
static enum line_event erase(struct line *line)
{
    if (line->cursor == line->length)
        return LINE_SAME;
    char *at = &line->text[line->cursor];
    memmove(at, at + 1, line->length-- - line->cursor);
    return LINE_CHANGED;
}

static enum line_event erase_left(struct line *line)
{
    if (line->cursor == 0)
        return LINE_SAME;
    line->cursor--;
    return erase(line);
}

static const char *old_line(const struct line *line, unsigned back)
{
    return line->history[(line->entered - back) % LINE_HISTORY];
}

/* BACK lines before the newest; 0: the one that has not been entered yet. */
static enum line_event recall(struct line *line, unsigned back)
{
    unsigned have = line->entered < LINE_HISTORY ? line->entered : LINE_HISTORY;
    if (back > have)
        return LINE_SAME;
    if (line->back == 0)
        memmove(line->fresh, line->text, LINE_SIZE);
    line->back = back;
    return set_text(line, back == 0 ? line->fresh : old_line(line, back));
}

static enum line_event clear(struct line *line, enum line_event event)
{
    set_text(line, "");
    line->back = 0;
    return event;
}

/* A line that repeats the one before it, or is empty, takes no place in the history. */
static enum line_event enter(struct line *line)
{
    bool repeats = line->entered != 0 && strcmp(old_line(line, 1), line->text) == 0;
    memmove(line->fresh, line->text, LINE_SIZE);
    if (line->length != 0 && !repeats)
        memmove(line->history[line->entered++ % LINE_HISTORY], line->text, LINE_SIZE);
    return clear(line, LINE_ENTERED);
}

static enum line_event plain_key(struct line *line, unsigned char byte)
{
    switch (byte) {
    case '\r':
    case '\n':
        return enter(line);
    case '\b':
    case DELETE:
        return erase_left(line);
    case CTRL('A'):
        return move_to(line, 0);
    case CTRL('E'):
        return move_to(line, line->length);
    case CTRL('U'):
        return clear(line, LINE_CHANGED);
    case CTRL('C'):
        return clear(line, LINE_CANCELLED);
    default:
        return byte >= ' ' && byte < DELETE ? insert(line, (char)byte) : LINE_SAME;
    }
}

/* ECMA-48, "Control sequences": the final byte of one, or of ESC O. */
static enum line_event escape_key(struct line *line, unsigned char byte)
{
    switch (byte) {
    case 'A':
        return recall(line, line->back + 1);
    case 'B':
        return line->back == 0 ? LINE_SAME : recall(line, line->back - 1);
    case 'C':
        return move_to(line, line->cursor + 1);
    case 'D':
        return move_to(line, line->cursor - 1);
    case 'F':
        return move_to(line, line->length);
    case 'H':
        return move_to(line, 0);
    case '~':
        return line->parameter == '3' ? erase(line) : LINE_SAME;
    default:
        return LINE_SAME;
    }
}

enum line_event line_key(struct line *line, unsigned char byte)
{
    char escape = line->escape;
    line->escape = '\0';
    if (byte == ESCAPE) {
        line->escape = ESCAPE;
        line->parameter = '\0';
        return LINE_SAME;
    }
    if (escape == '\0' || byte < ' ')
        return plain_key(line, byte);
    if (escape == ESCAPE && (byte == '[' || byte == 'O')) {
        line->escape = (char)byte;
        return LINE_SAME;
    }
    if (escape == '[' && byte < '@') { /* parameters and intermediate bytes */
        line->escape = '[';
        line->parameter = (char)byte;
        return LINE_SAME;
    }
    return escape == ESCAPE ? LINE_SAME : escape_key(line, byte);
}

const char *line_entered(const struct line *line)
{
    return line->fresh;
}
