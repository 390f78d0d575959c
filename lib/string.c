/* The memory and string functions that gcc and clang may call even in freestanding code. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/string.h"

#undef memcpy
#undef memset

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
    void *dest = to;
    size_t words = n / 8, bytes = n % 8;
    __asm__ volatile("rep movsq\n\t"
                     "mov %[bytes], %%rcx\n\t"
                     "rep movsb"
                     : "+D"(dest), "+S"(from), "+c"(words)
                     : [bytes] "r"(bytes)
                     : "memory");
    return to;
}

void *memmove(void *to, const void *from, size_t n)
{
    char *d = to;
    const char *s = from;
    if (d <= s || d >= s + n)
        return memcpy(to, from, n);
    while (n-- > 0)
        d[n] = s[n];
    return to;
}

void *memset(void *to, int byte, size_t n)
{
    void *dest = to;
    size_t words = n / 8, bytes = n % 8;
    unsigned long pattern = (unsigned char)byte * 0x0101010101010101ul;
    __asm__ volatile("rep stosq\n\t"
                     "mov %[bytes], %%rcx\n\t"
                     "rep stosb"
                     : "+D"(dest), "+c"(words)
                     : "a"(pattern), [bytes] "r"(bytes)
                     : "memory");
    return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
    const unsigned char *x = a, *y = b;
    for (size_t i = 0; i < n; i++)
        if (x[i] != y[i])
            return x[i] - y[i];
    return 0;
}

size_t strlen(const char *s)
{
    size_t n = 0;
    while (s[n] != '\0')
        n++;
    return n;
}

int strncmp(const char *a, const char *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (a[i] != b[i])
            return (unsigned char)a[i] - (unsigned char)b[i];
        if (a[i] == '\0')
            break;
    }
    return 0;
}

int strcmp(const char *a, const char *b)
{
    return strncmp(a, b, (size_t)-1);
}

char *strchr(const char *s, int c)
{
    for (;; s++) {
        if (*s == (char)c)
            return (char *)(size_t)s;
        if (*s == '\0')
            return NULL;
    }
}
