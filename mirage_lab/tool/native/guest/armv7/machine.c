/* machine: page tables, exceptions and timer of an ARMv7 guest. */
#include "../arm/arm.h"

#define MIB (1ul << 20)
#define TABLE 1u
#define SECTION 2u
#define PAGE 2u
#define SECTION_NORMAL 0x1c0eu /* TEX 1, cached, written back; any access */
#define SECTION_DEVICE 0x0c16u /* shared device, no code */
#define SECTION_NO_EXEC 0x10u
#define PAGE_NORMAL 0x7eu /* TEX 1, cached, written back; any access */
#define PAGE_READ_ONLY 0x200u
#define PAGE_NO_EXEC 1u

static uint32_t table[4096] __attribute__((aligned(16384)));
static uint32_t pages[256] __attribute__((aligned(1024)));

/* Every address is its own; page 0 and what lies below each stack are not there; code and constants are read only. */
uint32_t *machine_map(const void *tree)
{
    uint64_t end = device_tree(tree).memory_end;
    table[GICD / MIB] = (GICD & ~(MIB - 1)) | SECTION_DEVICE;
    table[GRANT_REGION / MIB] = GRANT_REGION | SECTION_NORMAL | SECTION_NO_EXEC;
    table[MAGIC_PAGES / MIB] = MAGIC_PAGES | SECTION_NORMAL | SECTION_NO_EXEC;
    for (uint64_t at = RAM + MIB; at < end && at < RAM + 1024 * MIB; at += MIB)
        table[at / MIB] = (uint32_t)at | SECTION_NORMAL | SECTION_NO_EXEC;
    table[RAM / MIB] = (uintptr_t)pages | TABLE;
    for (uintptr_t at = RAM; at < RAM + MIB; at += PAGE_SIZE) {
        bool code = at >= (uintptr_t)_image && at < (uintptr_t)_text_end;
        if (at != (uintptr_t)guard && at != (uintptr_t)exception_guard)
            pages[(at - RAM) / PAGE_SIZE] = at | PAGE_NORMAL | (code ? PAGE_READ_ONLY : PAGE_NO_EXEC);
    }
    return table;
}

void machine_start(const void *tree) { begin(tree); }

void excepted_at(unsigned vector, uintptr_t pc)
{
    uint32_t status;
    uintptr_t address;
    if (vector == 4) {
        __asm__ volatile("mrc p15, 0, %0, c5, c0, 0" : "=r"(status)); /* DFSR */
        __asm__ volatile("mrc p15, 0, %0, c6, c0, 0" : "=r"(address)); /* DFAR */
        fault("a page fault", pc, status & 0x800 ? "writing to" : "reading from", &address);
    }
    if (vector == 3) {
        __asm__ volatile("mrc p15, 0, %0, c6, c0, 2" : "=r"(address)); /* IFAR */
        fault("a page fault", pc, "fetching code from", &address);
    }
    fault(vector == 1 ? "an instruction that is none" : "a call of a system that is not there", pc, "", 0);
}

uint64_t counter(void)
{
    uint64_t value;
    __asm__ volatile("isb; mrrc p15, 1, %Q0, %R0, c14" : "=r"(value));
    return value;
}

uint64_t counter_hz(void)
{
    uint32_t value;
    __asm__ volatile("mrc p15, 0, %0, c14, c0, 0" : "=r"(value));
    return value;
}

void counter_compare(uint64_t at)
{
    __asm__ volatile("mcrr p15, 3, %Q0, %R0, c14; mcr p15, 0, %1, c14, c3, 1; isb" : : "r"(at), "r"(1));
}

void counter_quiet(void) { __asm__ volatile("mcr p15, 0, %0, c14, c3, 1; isb" : : "r"(0)); }
