/* machine: page tables, exceptions and timer of an aarch64 guest. */
#include "../arm/arm.h"

#define VALID 1ull
#define TABLE 3ull
#define PAGE 3ull
#define ACCESSED (1ull << 10)
#define SHAREABLE (3ull << 8)
#define NORMAL (1ull << 2)
#define READ_ONLY (1ull << 7)
#define NO_EXEC (3ull << 53)
#define MEMORY (ACCESSED | SHAREABLE | NORMAL)
#define DEVICE (ACCESSED | NO_EXEC)
#define BLOCK (2ull << 20)
#define GIB (1ull << 30)

static uint64_t first[512] __attribute__((aligned(PAGE_SIZE)));
static uint64_t low[512] __attribute__((aligned(PAGE_SIZE)));
static uint64_t ram[512] __attribute__((aligned(PAGE_SIZE)));
static uint64_t pages[512] __attribute__((aligned(PAGE_SIZE)));

/* Every address is its own; page 0 and what lies below each stack are not there; code and constants are read only. */
uint64_t *machine_map(const void *tree)
{
    uint64_t end = device_tree(tree).memory_end;
    first[0] = (uintptr_t)low | TABLE;
    first[1] = (uintptr_t)ram | TABLE;
    low[GICD / BLOCK] = (GICD & ~(BLOCK - 1)) | DEVICE | VALID;
    low[GRANT_REGION / BLOCK] = GRANT_REGION | MEMORY | NO_EXEC | VALID;
    low[MAGIC_PAGES / BLOCK] = MAGIC_PAGES | MEMORY | NO_EXEC | VALID;
    ram[0] = (uintptr_t)pages | TABLE;
    for (uint64_t at = RAM + BLOCK; at < end && at < RAM + GIB; at += BLOCK)
        ram[(at - RAM) / BLOCK] = at | MEMORY | NO_EXEC | VALID;
    for (uint64_t at = RAM; at < RAM + BLOCK; at += PAGE_SIZE) {
        bool code = at >= (uintptr_t)_image && at < (uintptr_t)_text_end;
        if (at != (uintptr_t)guard && at != (uintptr_t)exception_guard)
            pages[(at - RAM) / PAGE_SIZE] = at | MEMORY | PAGE | (code ? READ_ONLY : NO_EXEC);
    }
    return first;
}

void machine_start(const void *tree) { begin(tree); }

void excepted_at(unsigned vector, uintptr_t pc, unsigned esr, uintptr_t far)
{
    unsigned class = esr >> 26;
    if (class == 0x25 || class == 0x24)
        fault("a page fault", pc, esr & 0x40 ? "writing to" : "reading from", &far);
    if (class == 0x21 || class == 0x20)
        fault("a page fault", pc, "fetching code from", &far);
    if (class == 0x3c)
        fault("a breakpoint", pc, "", 0);
    if (class == 0 && vector == 4)
        fault("an instruction that is none", pc, "", 0);
    char number[48];
    snprintf(number, sizeof number, "exception %u of class 0x%x", vector, class);
    fault(number, pc, "", 0);
}

uint64_t counter(void)
{
    uint64_t value;
    __asm__ volatile("isb; mrs %0, cntvct_el0" : "=r"(value));
    return value;
}

uint64_t counter_hz(void)
{
    uint64_t value;
    __asm__ volatile("mrs %0, cntfrq_el0" : "=r"(value));
    return value;
}

void counter_compare(uint64_t at)
{
    __asm__ volatile("msr cntv_cval_el0, %0; msr cntv_ctl_el0, %1; isb" : : "r"(at), "r"(1ul));
}

void counter_quiet(void) { __asm__ volatile("msr cntv_ctl_el0, xzr; isb"); }
