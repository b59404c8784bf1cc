/* events: ports of ours, the bits that make them pending, and who is called. */
#include "machine.h"

#define PORTS 128

/* Xen's page takes the place of this one: nothing else may lie in it. */
static union {
    struct shared_info info;
    char page[PAGE_SIZE];
} its __attribute__((aligned(PAGE_SIZE)));
#define shared its.info

static bool connected;
static unsigned happened, seen;

static struct {
    evtchn_handler_t handler;
    void *data;
} handlers[PORTS];

struct shared_info *shared_info(void)
{
    if (!connected) {
        struct xen_add_to_physmap arg = {DOMID_SELF, 0, XENMAPSPACE_shared_info, 0, (uintptr_t)&shared >> PAGE_SHIFT};
        connected = true;
        if (memory_op(XENMEM_add_to_physmap, &arg) != 0)
            panic("shared_info cannot be mapped");
        memset(shared.evtchn_mask, 0xff, sizeof shared.evtchn_mask);
        machine_events();
    }
    return &shared;
}

void events_happened(void) { happened++; }

void events_upcall(void)
{
    struct vcpu_info *vcpu = &shared.vcpu_info[0];
    while (__atomic_exchange_n(&vcpu->evtchn_upcall_pending, 0, __ATOMIC_SEQ_CST)) {
        uint64_t words = __atomic_exchange_n(&vcpu->evtchn_pending_sel, 0, __ATOMIC_SEQ_CST);
        for (; words; words &= words - 1) {
            unsigned word = (unsigned)__builtin_ctzll(words);
            uint64_t bits = shared.evtchn_pending[word] & ~shared.evtchn_mask[word];
            __atomic_fetch_and(&shared.evtchn_pending[word], ~bits, __ATOMIC_SEQ_CST);
            for (; bits; bits &= bits - 1) {
                evtchn_port_t port = word * 64 + (unsigned)__builtin_ctzll(bits);
                if (port < PORTS && handlers[port].handler)
                    handlers[port].handler(port, handlers[port].data);
            }
        }
        happened++;
    }
}

void wait(void)
{
    unsigned long flags = irq_save();
    if (happened == seen)
        machine_idle();
    seen = happened;
    irq_restore(flags);
}

void events_poll(evtchn_port_t port)
{
    struct shared_info *info = shared_info();
    struct sched_poll poll = {XEN_GUEST_HANDLE(&port), 1, 0};
    sched_op(SCHEDOP_poll, &poll);
    __atomic_fetch_and(&info->evtchn_pending[port / 64], ~((uint64_t)1 << port % 64), __ATOMIC_SEQ_CST);
}

evtchn_port_t evtchn_alloc_unbound(domid_t remote)
{
    struct evtchn_alloc_unbound arg = {DOMID_SELF, remote, 0};
    if (event_channel_op(EVTCHNOP_alloc_unbound, &arg) != 0)
        panic("no port for domain %u", remote);
    return arg.port;
}

evtchn_port_t evtchn_bind_interdomain(domid_t remote_dom, evtchn_port_t remote_port)
{
    struct evtchn_bind_interdomain arg = {remote_dom, remote_port, 0};
    return event_channel_op(EVTCHNOP_bind_interdomain, &arg) == 0 ? arg.local_port : 0;
}

evtchn_port_t evtchn_bind_virq(unsigned virq)
{
    struct evtchn_bind_virq arg = {virq, 0, 0};
    if (event_channel_op(EVTCHNOP_bind_virq, &arg) != 0)
        panic("no port for virtual interrupt %u", virq);
    return arg.port;
}

void evtchn_handle(evtchn_port_t port, evtchn_handler_t handler, void *data)
{
    if (port >= PORTS)
        panic("port %u: there are handlers for %u", port, PORTS);
    shared_info();
    handlers[port].data = data;
    handlers[port].handler = handler;
    struct evtchn_unmask arg = {port};
    event_channel_op(EVTCHNOP_unmask, &arg);
}

void evtchn_notify(evtchn_port_t port)
{
    struct evtchn_send arg = {port};
    event_channel_op(EVTCHNOP_send, &arg);
}
