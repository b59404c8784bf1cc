/* print: text, formatted: %s %c %d %u %x %p. */
#include <guest.h>

/* Where formatted text goes: into memory, as far as there is room, and how much there was. */
struct sink {
    char *to;
    size_t room;
    int length;
};

static void put(struct sink *sink, char one)
{
    if (sink->room > 1) {
        *sink->to++ = one;
        sink->room--;
    }
    sink->length++;
}

static void put_padded(struct sink *sink, const char *text, size_t length, int width, bool left, char pad)
{
    int blanks = width - (int)length;
    for (; !left && blanks > 0; blanks--)
        put(sink, pad);
    for (size_t at = 0; at < length; at++)
        put(sink, text[at]);
    for (; blanks > 0; blanks--)
        put(sink, ' ');
}

/* Divide in place and return the rest; a 32-bit machine has no instruction for this. */
static unsigned divide(uint64_t *value, unsigned by)
{
    uint64_t quotient = 0, rest = 0;
    if (*value <= UINT32_MAX) {
        rest = (uint32_t)*value % by;
        *value = (uint32_t)*value / by;
        return (unsigned)rest;
    }
    for (int bit = 63; bit >= 0; bit--) {
        rest = rest << 1 | (*value >> bit & 1);
        if (rest >= by) {
            rest -= by;
            quotient |= (uint64_t)1 << bit;
        }
    }
    *value = quotient;
    return (unsigned)rest;
}

static void put_number(struct sink *sink, uint64_t value, unsigned base, bool negative, int width, bool left, char pad)
{
    char digits[24];
    size_t at = sizeof digits;
    do
        digits[--at] = "0123456789abcdef"[divide(&value, base)];
    while (value);
    if (negative && pad == '0') {
        put(sink, '-');
        width--;
    } else if (negative) {
        digits[--at] = '-';
    }
    put_padded(sink, digits + at, sizeof digits - at, width, left, pad);
}

static uint64_t argument(va_list *args, int longs, bool is_signed)
{
    if (longs >= 2)
        return va_arg(*args, unsigned long long);
    if (longs == 1)
        return is_signed ? (uint64_t)va_arg(*args, long) : va_arg(*args, unsigned long);
    return is_signed ? (uint64_t)va_arg(*args, int) : va_arg(*args, unsigned);
}

int vsnprintf(char *to, size_t size, const char *format, va_list given)
{
    struct sink sink = {to, size, 0};
    va_list args;
    va_copy(args, given);
    for (; *format; format++) {
        if (*format != '%') {
            put(&sink, *format);
            continue;
        }
        bool left = false;
        char pad = ' ';
        int width = 0, longs = 0;
        for (format++; *format == '-' || *format == '0'; format++)
            if (*format == '-')
                left = true;
            else
                pad = '0';
        for (; *format >= '0' && *format <= '9'; format++)
            width = width * 10 + (*format - '0');
        for (; *format == 'l' || *format == 'z'; format++)
            longs++;
        switch (*format) {
        case 's': {
            const char *text = va_arg(args, const char *);
            text = text ? text : "(null)";
            put_padded(&sink, text, strlen(text), width, left, ' ');
            break;
        }
        case 'c':
            put(&sink, (char)va_arg(args, int));
            break;
        case 'd':
        case 'i': {
            int64_t value = (int64_t)argument(&args, longs, true);
            put_number(&sink, value < 0 ? -(uint64_t)value : (uint64_t)value, 10, value < 0, width, left, pad);
            break;
        }
        case 'u':
            put_number(&sink, argument(&args, longs, false), 10, false, width, left, pad);
            break;
        case 'p':
            put(&sink, '0');
            put(&sink, 'x');
            put_number(&sink, (uintptr_t)va_arg(args, void *), 16, false, width, left, pad);
            break;
        case 'x':
            put_number(&sink, argument(&args, longs, false), 16, false, width, left, pad);
            break;
        case '%':
            put(&sink, '%');
            break;
        default: /* what it does not know it shows */
            put(&sink, '%');
            format -= *format == 0;
            break;
        }
    }
    if (size)
        *sink.to = 0;
    va_end(args);
    return sink.length;
}

int snprintf(char *to, size_t size, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = vsnprintf(to, size, format, args);
    va_end(args);
    return length;
}

int printf(const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    print(text);
    return length;
}

void panic(const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    irq_save();
    print("panic: ");
    print(text);
    print("\n");
    shutdown(SHUTDOWN_crash);
}
