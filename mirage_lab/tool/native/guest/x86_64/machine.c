/* machine: the hypercall page, descriptor tables, exceptions, time and alarm of an x86-64 PVH guest. */
#include "../runtime/machine.h"

#define VECTOR 32
#define TASK_STATE 0x18
#define CODE 0x08
#define INTERRUPT_GATE 0x8e00
#define LARGE_PAGE (2ull << 20)
#define LONGEST_CMDLINE 1024

struct gate {
    uint16_t low, selector, ist_and_kind, middle;
    uint32_t high, zero;
};

struct table_register {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

struct frame {
    uint64_t number, error, rip, cs, rflags, rsp, ss;
};

extern char exceptions[], callback[], hypercall_page[], exception_stack_top[];
extern uint64_t gdt[], pd[];

static struct gate gates[VECTOR + 1];
static uint32_t task_state[26]; /* the words at 9 and 10 are the first of its interrupt stacks */
static char line[LONGEST_CMDLINE];

static void gate(unsigned vector, const char *handler, unsigned stack)
{
    uint64_t at = (uintptr_t)handler;
    gates[vector] = (struct gate){(uint16_t)at, CODE, (uint16_t)(INTERRUPT_GATE | stack), (uint16_t)(at >> 16), (uint32_t)(at >> 32), 0};
}

static void descriptor_tables(void)
{
    uint64_t at = (uintptr_t)task_state;
    task_state[9] = (uint32_t)(uintptr_t)exception_stack_top;
    gdt[3] = (sizeof task_state - 1) | (at & 0xffffff) << 16 | 0x89ull << 40 | (at >> 24 & 0xff) << 56;
    gdt[4] = at >> 32;
    for (unsigned vector = 0; vector < VECTOR; vector++)
        gate(vector, exceptions + 16 * vector, 1);
    gate(VECTOR, callback, 0);
    struct table_register interrupts = {sizeof gates - 1, (uintptr_t)gates};
    __asm__ volatile("lidt %0; ltr %w1" : : "m"(interrupts), "r"(TASK_STATE));
}

static void find_hypercalls(void)
{
    uint32_t base, pages, msr, c, d;
    for (uint32_t leaf = 0x40000000; leaf < 0x40010000; leaf += 0x100) {
        __asm__ volatile("cpuid" : "=a"(pages), "=b"(base), "=c"(c), "=d"(d) : "a"(leaf));
        if (base == 0x566e6558 && c == 0x65584d4d && d == 0x4d4d566e) { /* XenVMMXenVMM */
            __asm__ volatile("cpuid" : "=a"(pages), "=b"(msr), "=c"(c), "=d"(d) : "a"(leaf + 2));
            uint64_t page = (uintptr_t)hypercall_page;
            __asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)page), "d"((uint32_t)(page >> 32)) : "memory");
            return;
        }
    }
    for (;;)
        __asm__ volatile("cli; hlt"); /* there is no Xen: nobody to tell */
}

static void behind(uintptr_t *free, uint64_t end)
{
    if (end > *free && end - *free < 1 << 16) /* what the builder put next to the image */
        *free = end;
}

void machine_start(const struct hvm_start_info *info)
{
    uintptr_t free = (uintptr_t)_end;
    find_hypercalls();
    descriptor_tables();
    const char *given = (const char *)info->cmdline_paddr;
    size_t length = given ? strlen(given) : 0;
    behind(&free, (uintptr_t)(info + 1));
    behind(&free, info->memmap_paddr + info->memmap_entries * sizeof(struct hvm_memmap_table_entry));
    behind(&free, (uintptr_t)given + length + 1);
    memory_free = (free + PAGE_SIZE - 1) & ~(uintptr_t)(PAGE_SIZE - 1);
    memcpy(line, given, length < sizeof line ? length : sizeof line - 1);
    __asm__ volatile("sti");
    start(line);
}

void *machine_page(uint64_t frame)
{
    uint64_t at = frame << PAGE_SHIFT;
    uint64_t *entry = &pd[at / LARGE_PAGE];
    if (at < 4ull << 30 && !*entry)
        *entry = (at & ~(LARGE_PAGE - 1)) | 1ull << 63 | 0x83;
    return (void *)at;
}

/* Exceptions ------------------------------------------------------------------------------------------------------- */

static const char *const names[] = {
    [0] = "division by zero",
    [3] = "a breakpoint",
    [6] = "an instruction that is none",
    [8] = "a double fault",
    [13] = "a general protection fault",
    [14] = "a page fault",
};

void excepted_at(const struct frame *frame, uintptr_t address)
{
    char number[24];
    const char *what = frame->number < sizeof names / sizeof *names ? names[frame->number] : 0;
    if (!what) {
        snprintf(number, sizeof number, "exception %u", (unsigned)frame->number);
        what = number;
    }
    const char *how = frame->error & 16 ? "fetching code from" : frame->error & 2 ? "writing to" : "reading from";
    fault(what, frame->rip, how, frame->number == 14 ? &address : 0);
}

/* Events, time and alarm ------------------------------------------------------------------------------------------- */

void machine_events(void)
{
    struct xen_hvm_param param = {DOMID_SELF, HVM_PARAM_CALLBACK_IRQ, 2ull << 56 | VECTOR};
    if (hvm_op(HVMOP_set_param, &param) != 0)
        panic("Xen takes no callback vector");
}

uint64_t now_ns(void)
{
    const volatile struct vcpu_time_info *time = &shared_info()->vcpu_info[0].time;
    uint32_t version, low, high;
    uint64_t now;
    do {
        version = time->version;
        barrier();
        __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
        uint64_t delta = ((uint64_t)high << 32 | low) - time->tsc_timestamp;
        delta = time->tsc_shift < 0 ? delta >> -time->tsc_shift : delta << time->tsc_shift;
        now = time->system_time + (uint64_t)((unsigned __int128)delta * time->tsc_to_system_mul >> 32);
        barrier();
    } while (version & 1 || version != time->version);
    return now;
}

static void rang(evtchn_port_t port, void *data)
{
    (void)port;
    (void)data;
}

void machine_alarm(uint64_t deadline_ns)
{
    static evtchn_port_t timer;
    if (!timer) {
        timer = evtchn_bind_virq(VIRQ_TIMER);
        evtchn_handle(timer, rang, 0);
    }
    set_timer_op(deadline_ns);
}
