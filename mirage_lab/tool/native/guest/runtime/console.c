/* console: the ring that the console daemon reads, and how a guest begins and ends. */
#include "machine.h"

const char *cmdline = "";
uintptr_t memory_free, memory_end;

static struct xencons_interface *console;
static evtchn_port_t console_port;

uint64_t hvm_param(unsigned index)
{
    struct xen_hvm_param param = {DOMID_SELF, index, 0};
    return hvm_op(HVMOP_get_param, &param) == 0 ? param.value : 0;
}

static bool connect(void)
{
    if (!console) {
        uint64_t frame = hvm_param(HVM_PARAM_CONSOLE_PFN);
        if (!frame)
            return false;
        console_port = (evtchn_port_t)hvm_param(HVM_PARAM_CONSOLE_EVTCHN);
        console = machine_page(frame);
    }
    return true;
}

void print(const char *text)
{
    unsigned long flags = irq_save();
    if (!connect()) {
        console_io(CONSOLEIO_write, (unsigned)strlen(text), text);
        irq_restore(flags);
        return;
    }
    while (*text) {
        uint32_t prod = console->out_prod;
        while (*text && prod - __atomic_load_n(&console->out_cons, __ATOMIC_ACQUIRE) < sizeof console->out)
            console->out[prod++ & (sizeof console->out - 1)] = *text++;
        __atomic_store_n(&console->out_prod, prod, __ATOMIC_RELEASE);
        evtchn_notify(console_port);
        if (*text)
            events_poll(console_port); /* it is full: the daemon tells when it has read */
    }
    irq_restore(flags);
}

void shutdown(unsigned reason)
{
    struct sched_shutdown arg = {reason};
    for (;;)
        sched_op(SCHEDOP_shutdown, &arg);
}

/* What an address that cannot be used may mean. */
static const char *meaning(uintptr_t address)
{
    if (address < PAGE_SIZE)
        return " (a null pointer)";
    if (address >= (uintptr_t)guard && address < (uintptr_t)guard + PAGE_SIZE)
        return " (below the stack: calls go too deep)";
    if (address >= (uintptr_t)_image && address < (uintptr_t)_text_end)
        return " (code and constants are read only)";
    return address >= memory_end ? " (no memory is there)" : "";
}

void fault(const char *what, uintptr_t pc, const char *how, const uintptr_t *address)
{
    printf("fault: %s at %p", what, (void *)pc);
    if (address)
        printf(", %s address %p%s", how, (void *)*address, meaning(*address));
    print("\n");
    shutdown(SHUTDOWN_crash);
}

void start(const char *line)
{
    cmdline = line;
    int code = main();
    if (code)
        printf("main returned %d\n", code);
    shutdown(SHUTDOWN_poweroff);
}
