/* gic: the interrupt controller (GICv2), the interrupts of the timer and of event channels, the beginning of main. */
#include "arm.h"

#define GICD_CTLR 0x000
#define GICD_ISENABLER 0x100
#define GICC_CTLR 0x00
#define GICC_PMR 0x04
#define GICC_IAR 0x0c
#define GICC_EOIR 0x10
#define SPURIOUS 1023
#define LONGEST_CMDLINE 1024

static char line[LONGEST_CMDLINE];

static volatile uint32_t *gic(unsigned long part, unsigned long offset) { return (volatile uint32_t *)(part + offset); }

static void enable(unsigned interrupt)
{
    static bool started;
    if (!started) {
        started = true;
        *gic(GICD, GICD_CTLR) = 1;
        *gic(GICC, GICC_PMR) = 0xff;
        *gic(GICC, GICC_CTLR) = 1;
    }
    *gic(GICD, GICD_ISENABLER) = 1u << interrupt;
}

void gic_interrupt(void)
{
    for (;;) {
        uint32_t who = *gic(GICC, GICC_IAR);
        unsigned interrupt = who & 0x3ff;
        if (interrupt == SPURIOUS)
            return;
        if (interrupt == EVENTS_PPI)
            events_upcall();
        if (interrupt == TIMER_PPI) {
            counter_quiet();
            events_happened();
        }
        *gic(GICC, GICC_EOIR) = who;
    }
}

void machine_events(void) { enable(EVENTS_PPI); }

void begin(const void *tree)
{
    struct told told = device_tree(tree);
    size_t length = strlen(told.bootargs);
    memcpy(line, told.bootargs, length < sizeof line ? length : sizeof line - 1);
    memory_end = (uintptr_t)told.memory_end;
    memory_free = (uintptr_t)_end;
    if (told.tree_end > memory_free && (uintptr_t)tree < memory_end && (uintptr_t)tree - memory_free < 1 << 16)
        memory_free = (told.tree_end + PAGE_SIZE - 1) & ~(uintptr_t)(PAGE_SIZE - 1); /* it lies next to the image */
    else if ((uintptr_t)tree > memory_free && (uintptr_t)tree < memory_end)
        memory_end = (uintptr_t)tree & ~(uintptr_t)(PAGE_SIZE - 1);
    irq_restore(0x13);
    start(line);
}

/* Time ------------------------------------------------------------------------------------------------------------- */

/* value * to / from, from < 2^32, without an instruction that divides 64 bits. */
static uint64_t scale(uint64_t value, uint64_t to, uint64_t from)
{
    uint64_t whole = 0, rest = 0;
    for (int bit = 63; bit >= 0; bit--) {
        rest = rest << 1 | (value >> bit & 1);
        whole <<= 1;
        if (rest >= from) {
            rest -= from;
            whole |= 1;
        }
    }
    uint64_t part = rest * to, quotient = 0, left = 0;
    for (int bit = 63; bit >= 0; bit--) {
        left = left << 1 | (part >> bit & 1);
        quotient <<= 1;
        if (left >= from) {
            left -= from;
            quotient |= 1;
        }
    }
    return whole * to + quotient;
}

uint64_t now_ns(void) { return scale(counter(), 1000000000, counter_hz()); }

void machine_alarm(uint64_t deadline_ns)
{
    enable(TIMER_PPI);
    counter_compare(scale(deadline_ns, counter_hz(), 1000000000) + 1);
}

void *machine_page(uint64_t frame) { return (void *)(uintptr_t)(frame << PAGE_SHIFT); }
