/* Text from a format string and arguments, into a buffer that it never overruns. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/format.h"

#include <stdbool.h>
#include <stdint.h>

#include "lib/assert.h"
#include "lib/string.h"

struct sink {
    char *out;
    size_t size, used; /* used < size: the NUL has its place */
};

/* What stands between a % and its conversion letter. */
struct spec {
    bool left, zero, is_long;
    size_t width, precision;
};

/* A pointer to this can be handed on; one to a va_list cannot, where that is an array. */
struct arguments {
    va_list list;
};

static void put(struct sink *sink, const char *text, size_t n)
{
    size_t room = sink->size - 1 - sink->used;
    if (n > room)
        n = room;
    memcpy(sink->out + sink->used, text, n);
    sink->used += n;
}

static void pad(struct sink *sink, char c, size_t n)
{
    size_t room = sink->size - 1 - sink->used;
    if (n > room)
        n = room;
    memset(sink->out + sink->used, c, n);
    sink->used += n;
}

/* PREFIX is what zeros are filled in behind: a sign, 0x or nothing. */
static void put_field(struct sink *sink, const struct spec *spec, const char *prefix,
                      const char *text, size_t n)
{
    size_t prefix_size = strlen(prefix);
    size_t fill = spec->width > prefix_size + n ? spec->width - prefix_size - n : 0;
    if (!spec->left && !spec->zero)
        pad(sink, ' ', fill);
    put(sink, prefix, prefix_size);
    if (!spec->left && spec->zero)
        pad(sink, '0', fill);
    put(sink, text, n);
    if (spec->left)
        pad(sink, ' ', fill);
}

static void put_number(struct sink *sink, const struct spec *spec, const char *prefix,
                       uint64_t value, unsigned base, const char *digits)
{
    char text[20]; /* 2^64 - 1 in decimal */
    size_t first = sizeof(text);
    do {
        text[--first] = digits[value % base];
        value /= base;
    } while (value != 0);
    put_field(sink, spec, prefix, text + first, sizeof(text) - first);
}

static void put_signed(struct sink *sink, const struct spec *spec, int64_t value)
{
    uint64_t magnitude = value < 0 ? -(uint64_t)value : (uint64_t)value;
    put_number(sink, spec, value < 0 ? "-" : "", magnitude, 10, "0123456789");
}

static void put_string(struct sink *sink, const struct spec *spec, const char *text)
{
    size_t n = 0;
    if (text == NULL)
        text = "(null)";
    while (n < spec->precision && text[n] != '\0')
        n++;
    put_field(sink, spec, "", text, n);
}

/* A number at *FMT, or the next argument for '*'; *FMT moves behind it. */
static int parse_number(const char **fmt, struct arguments *args)
{
    int n = 0;
    if (**fmt == '*') {
        ++*fmt;
        return va_arg(args->list, int);
    }
    for (; **fmt >= '0' && **fmt <= '9'; ++*fmt)
        n = n * 10 + (**fmt - '0');
    return n;
}

/* Returns where the conversion letter stands. */
static const char *parse_spec(const char *fmt, struct arguments *args, struct spec *spec)
{
    *spec = (struct spec){.precision = SIZE_MAX};
    for (; *fmt == '0' || *fmt == '-'; fmt++) {
        if (*fmt == '0')
            spec->zero = true;
        else
            spec->left = true;
    }
    int width = parse_number(&fmt, args);
    if (width < 0)
        spec->left = true;
    spec->width = (size_t)(width < 0 ? -(long)width : width);
    if (*fmt == '.') {
        fmt++;
        spec->precision = (size_t)parse_number(&fmt, args); /* negative: as if there were none */
    }
    for (; *fmt == 'l' || *fmt == 'z'; fmt++)
        spec->is_long = true;
    return fmt;
}

static uint64_t next_unsigned(struct arguments *args, const struct spec *spec)
{
    return spec->is_long ? va_arg(args->list, unsigned long) : va_arg(args->list, unsigned);
}

static void convert(struct sink *sink, char letter, const struct spec *spec, struct arguments *args)
{
    static_assert(sizeof(long) == sizeof(long long) && sizeof(long) == sizeof(size_t),
                  "l, ll and z are one size");
    char c;
    switch (letter) {
    case 's':
        put_string(sink, spec, va_arg(args->list, const char *));
        break;
    case 'c':
        c = (char)va_arg(args->list, int);
        put_field(sink, spec, "", &c, 1);
        break;
    case 'd':
        put_signed(sink, spec, spec->is_long ? va_arg(args->list, long) : va_arg(args->list, int));
        break;
    case 'u':
        put_number(sink, spec, "", next_unsigned(args, spec), 10, "0123456789");
        break;
    case 'x':
        put_number(sink, spec, "", next_unsigned(args, spec), 16, "0123456789abcdef");
        break;
    case 'X':
        put_number(sink, spec, "", next_unsigned(args, spec), 16, "0123456789ABCDEF");
        break;
    case 'p':
        put_number(sink, spec, "0x", (uintptr_t)va_arg(args->list, void *), 16, "0123456789abcdef");
        break;
    default:
        put(sink, "%", letter == '%' ? 0 : 1);
        put(sink, &letter, 1);
    }
}

size_t format_v(char *out, size_t size, const char *fmt, va_list args)
{
    assert(size >= 1);
    struct sink sink = {.out = out, .size = size};
    struct arguments copy;
    va_copy(copy.list, args);
    while (*fmt != '\0') {
        size_t plain = 0;
        while (fmt[plain] != '\0' && fmt[plain] != '%')
            plain++;
        put(&sink, fmt, plain);
        fmt += plain;
        if (*fmt == '\0')
            break;
        struct spec spec;
        fmt = parse_spec(fmt + 1, &copy, &spec);
        if (*fmt == '\0')
            break;
        convert(&sink, *fmt++, &spec, &copy);
    }
    va_end(copy.list);
    out[sink.used] = '\0';
    return sink.used;
}

size_t format(char *out, size_t size, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    size_t n = format_v(out, size, fmt, args);
    va_end(args);
    return n;
}
