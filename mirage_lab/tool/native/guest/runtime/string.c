/* string: memory and text; the compiler calls some of these itself. */
#include <string.h>

#include <stdint.h>

void *memcpy(void *to, const void *from, size_t size)
{
    unsigned char *at = to;
    const unsigned char *source = from;
    while (size--)
        *at++ = *source++;
    return to;
}

void *memmove(void *to, const void *from, size_t size)
{
    unsigned char *at = to;
    const unsigned char *source = from;
    if (at <= source)
        return memcpy(to, from, size);
    while (size--)
        at[size] = source[size];
    return to;
}

void *memset(void *to, int byte, size_t size)
{
    unsigned char *at = to;
    while (size--)
        *at++ = (unsigned char)byte;
    return to;
}

int memcmp(const void *left, const void *right, size_t size)
{
    const unsigned char *one = left, *other = right;
    for (; size; size--, one++, other++)
        if (*one != *other)
            return *one - *other;
    return 0;
}

size_t strlen(const char *text)
{
    size_t length = 0;
    while (text[length])
        length++;
    return length;
}

int strncmp(const char *left, const char *right, size_t size)
{
    for (; size; size--, left++, right++)
        if (*left != *right || !*left)
            return (unsigned char)*left - (unsigned char)*right;
    return 0;
}

int strcmp(const char *left, const char *right) { return strncmp(left, right, SIZE_MAX); }
