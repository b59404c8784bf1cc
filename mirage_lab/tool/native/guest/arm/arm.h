/* arm.h: what aarch64 and ARMv7 have in common as guests of Xen (arch-arm.h). */
#pragma once

#include "../runtime/machine.h"

#define GICD 0x03001000ul
#define GICC 0x03002000ul
#define GRANT_REGION 0x38000000ul
#define MAGIC_PAGES 0x39000000ul
#define RAM 0x40000000ul
#define TIMER_PPI 27
#define EVENTS_PPI 31

/* What the device tree says: the end of the memory that begins at RAM, and the command line (in the tree). */
struct told {
    uint64_t memory_end;
    const char *bootargs;
    uintptr_t tree_end;
};

struct told device_tree(const void *tree);

/* Have the interrupts that we know come in. */
void gic_start(void);

/* The virtual timer, as the processor has it. */
uint64_t counter(void);
uint64_t counter_hz(void);
void counter_compare(uint64_t at);
void counter_quiet(void);

/* Go on in main. */
void begin(const void *tree) __attribute__((noreturn));
