/* eabi: what the compiler calls on ARMv7 by names of its own (Run-time ABI for the Arm Architecture, sections 4.2 and 4.3). */
#include <string.h>

#include <stdint.h>

uint64_t divide_64(uint64_t value, uint64_t by, uint64_t *rest)
{
    uint64_t quotient = 0, left = 0;
    for (int bit = 63; bit >= 0; bit--) {
        left = left << 1 | (value >> bit & 1);
        quotient <<= 1;
        if (left >= by) {
            left -= by;
            quotient |= 1;
        }
    }
    *rest = left;
    return quotient;
}

int64_t divide_signed_64(int64_t value, int64_t by, int64_t *rest)
{
    uint64_t left;
    uint64_t quotient = divide_64(value < 0 ? -(uint64_t)value : (uint64_t)value, by < 0 ? -(uint64_t)by : (uint64_t)by, &left);
    *rest = (int64_t)(value < 0 ? -left : left);
    return (int64_t)((value < 0) == (by < 0) ? quotient : -quotient);
}

void __aeabi_memcpy(void *to, const void *from, size_t size) { memcpy(to, from, size); }
void __aeabi_memcpy4(void *to, const void *from, size_t size) { memcpy(to, from, size); }
void __aeabi_memcpy8(void *to, const void *from, size_t size) { memcpy(to, from, size); }
void __aeabi_memmove(void *to, const void *from, size_t size) { memmove(to, from, size); }
void __aeabi_memmove4(void *to, const void *from, size_t size) { memmove(to, from, size); }
void __aeabi_memmove8(void *to, const void *from, size_t size) { memmove(to, from, size); }
void __aeabi_memset(void *to, size_t size, int byte) { memset(to, byte, size); }
void __aeabi_memset4(void *to, size_t size, int byte) { memset(to, byte, size); }
void __aeabi_memset8(void *to, size_t size, int byte) { memset(to, byte, size); }
void __aeabi_memclr(void *to, size_t size) { memset(to, 0, size); }
void __aeabi_memclr4(void *to, size_t size) { memset(to, 0, size); }
void __aeabi_memclr8(void *to, size_t size) { memset(to, 0, size); }
