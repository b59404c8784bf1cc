/* xen.h: what a guest says to Xen: hypercalls, their structures, and the pages it shares.
 *
 *     number and arguments          x86-64  rax; rdi rsi rdx r10      by the page that Xen fills
 *     in registers, result          aarch64 x16; x0 x1 x2 x3          hvc #0xEA1
 *     in the first of them          armv7   r12; r0 r1 r2 r3          hvc #0xEA1
 *
 * Names, numbers and offsets are those of Xen's public headers (xen/include/public).  The structures are the same on the three
 * architectures: what is a pointer or a long in them has 64 bits everywhere.  A result below 0 is an errno.
 */
#pragma once

#ifndef __ASSEMBLER__
#include <stdint.h>

typedef uint16_t domid_t;
typedef uint32_t evtchn_port_t;
typedef uint32_t grant_ref_t;
typedef int32_t grant_handle_t;
#endif

#define PAGE_SHIFT 12
#define PAGE_SIZE 4096
#define DOMID_SELF 0x7ff0

#define EPERM 1
#define ENOENT 2
#define E2BIG 7
#define EACCES 13
#define EFAULT 14
#define EEXIST 17
#define EINVAL 22
#define ENOSYS 38

/* A pointer inside a structure: 64 bits everywhere. */
#define XEN_GUEST_HANDLE(pointer) ((uint64_t)(uintptr_t)(pointer))

#ifndef __ASSEMBLER__
long hypercall(unsigned long number, unsigned long a, unsigned long b, unsigned long c, unsigned long d);
#endif

/* memory_op (12) -------------------------------------------------------------------------------------------------- */

#define __HYPERVISOR_memory_op 12
#define XENMEM_current_reservation 3
#define XENMEM_add_to_physmap 7
#define XENMEM_memory_map 9
#define XENMAPSPACE_shared_info 0
#define XENMAPSPACE_grant_table 1

#ifndef __ASSEMBLER__
struct xen_add_to_physmap {
    domid_t domid;
    uint16_t size;
    uint32_t space;
    uint64_t idx;
    uint64_t gpfn;
};

static inline long memory_op(unsigned op, void *arg) { return hypercall(__HYPERVISOR_memory_op, op, (unsigned long)arg, 0, 0); }
#endif

/* set_timer_op (15): x86 only -------------------------------------------------------------------------------------- */

#define __HYPERVISOR_set_timer_op 15

#ifndef __ASSEMBLER__
static inline long set_timer_op(uint64_t system_time_ns)
{
    return hypercall(__HYPERVISOR_set_timer_op, (unsigned long)system_time_ns, 0, 0, 0);
}
#endif

/* xen_version (17) ------------------------------------------------------------------------------------------------- */

#define __HYPERVISOR_xen_version 17
#define XENVER_version 0
#define XENVER_extraversion 1

#ifndef __ASSEMBLER__
static inline long xen_version(unsigned op, void *arg) { return hypercall(__HYPERVISOR_xen_version, op, (unsigned long)arg, 0, 0); }
#endif

/* console_io (18): the console of Xen itself ----------------------------------------------------------------------- */

#define __HYPERVISOR_console_io 18
#define CONSOLEIO_write 0

#ifndef __ASSEMBLER__
static inline long console_io(unsigned op, unsigned count, const char *text)
{
    return hypercall(__HYPERVISOR_console_io, op, count, (unsigned long)text, 0);
}
#endif

/* grant_table_op (20) ---------------------------------------------------------------------------------------------- */

#define __HYPERVISOR_grant_table_op 20
#define GNTTABOP_map_grant_ref 0
#define GNTTABOP_unmap_grant_ref 1
#define GNTTABOP_setup_table 2
#define GNTTABOP_copy 5
#define GNTTABOP_query_size 6

#define GTF_permit_access 1
#define GTF_readonly 4
#define GTF_reading 8
#define GTF_writing 16

#define GNTMAP_host_map 2
#define GNTMAP_readonly 4
#define GNTCOPY_source_gref 1
#define GNTCOPY_dest_gref 2

#ifndef __ASSEMBLER__
struct grant_entry_v1 {
    uint16_t flags;
    domid_t domid;
    uint32_t frame;
};

struct gnttab_map_grant_ref {
    uint64_t host_addr;
    uint32_t flags;
    grant_ref_t ref;
    domid_t dom;
    int16_t status;
    grant_handle_t handle;
    uint64_t dev_bus_addr;
};

struct gnttab_unmap_grant_ref {
    uint64_t host_addr;
    uint64_t dev_bus_addr;
    grant_handle_t handle;
    int16_t status;
};

struct gnttab_setup_table {
    domid_t dom;
    uint32_t nr_frames;
    int16_t status;
    uint64_t frame_list;
};

struct gnttab_copy_end {
    uint64_t ref_or_gmfn;
    domid_t domid;
    uint16_t offset;
};

struct gnttab_copy {
    struct gnttab_copy_end source, dest;
    uint16_t len;
    uint16_t flags;
    int16_t status;
};

static inline long grant_table_op(unsigned op, void *args, unsigned count)
{
    return hypercall(__HYPERVISOR_grant_table_op, op, (unsigned long)args, count, 0);
}
#endif

/* vcpu_op (24) ----------------------------------------------------------------------------------------------------- */

#define __HYPERVISOR_vcpu_op 24
#define VCPUOP_is_up 3
#define VCPUOP_register_vcpu_info 10

#ifndef __ASSEMBLER__
static inline long vcpu_op(unsigned op, unsigned vcpu, void *arg)
{
    return hypercall(__HYPERVISOR_vcpu_op, op, vcpu, (unsigned long)arg, 0);
}
#endif

/* sched_op (29) ---------------------------------------------------------------------------------------------------- */

#define __HYPERVISOR_sched_op 29
#define SCHEDOP_yield 0
#define SCHEDOP_block 1
#define SCHEDOP_shutdown 2
#define SCHEDOP_poll 3

#define SHUTDOWN_poweroff 0
#define SHUTDOWN_reboot 1
#define SHUTDOWN_crash 3

#ifndef __ASSEMBLER__
struct sched_shutdown {
    uint32_t reason;
};

struct sched_poll {
    uint64_t ports;
    uint32_t nr_ports;
    uint64_t timeout;
};

static inline long sched_op(unsigned op, void *arg) { return hypercall(__HYPERVISOR_sched_op, op, (unsigned long)arg, 0, 0); }
#endif

/* event_channel_op (32) -------------------------------------------------------------------------------------------- */

#define __HYPERVISOR_event_channel_op 32
#define EVTCHNOP_bind_interdomain 0
#define EVTCHNOP_bind_virq 1
#define EVTCHNOP_close 3
#define EVTCHNOP_send 4
#define EVTCHNOP_status 5
#define EVTCHNOP_alloc_unbound 6
#define EVTCHNOP_bind_ipi 7
#define EVTCHNOP_unmask 9

#define VIRQ_TIMER 0

#ifndef __ASSEMBLER__
struct evtchn_bind_interdomain {
    domid_t remote_dom;
    evtchn_port_t remote_port;
    evtchn_port_t local_port;
};

struct evtchn_bind_virq {
    uint32_t virq;
    uint32_t vcpu;
    evtchn_port_t port;
};

struct evtchn_close {
    evtchn_port_t port;
};

struct evtchn_send {
    evtchn_port_t port;
};

struct evtchn_unmask {
    evtchn_port_t port;
};

struct evtchn_alloc_unbound {
    domid_t dom, remote_dom;
    evtchn_port_t port;
};

static inline long event_channel_op(unsigned op, void *arg)
{
    return hypercall(__HYPERVISOR_event_channel_op, op, (unsigned long)arg, 0, 0);
}
#endif

/* hvm_op (34) ------------------------------------------------------------------------------------------------------ */

#define __HYPERVISOR_hvm_op 34
#define HVMOP_set_param 0
#define HVMOP_get_param 1

#define HVM_PARAM_CALLBACK_IRQ 0
#define HVM_PARAM_STORE_PFN 1
#define HVM_PARAM_STORE_EVTCHN 2
#define HVM_PARAM_CONSOLE_PFN 17
#define HVM_PARAM_CONSOLE_EVTCHN 18

#ifndef __ASSEMBLER__
struct xen_hvm_param {
    domid_t domid;
    uint32_t index;
    uint64_t value;
};

static inline long hvm_op(unsigned op, void *arg) { return hypercall(__HYPERVISOR_hvm_op, op, (unsigned long)arg, 0, 0); }
#endif

/* The page shared with Xen ----------------------------------------------------------------------------------------- */

#ifndef __ASSEMBLER__
struct vcpu_time_info {
    uint32_t version, pad0;
    uint64_t tsc_timestamp;
    uint64_t system_time;
    uint32_t tsc_to_system_mul;
    int8_t tsc_shift;
    uint8_t flags, pad1[2];
};

struct vcpu_info {
    uint8_t evtchn_upcall_pending;
    uint8_t evtchn_upcall_mask;
    uint64_t evtchn_pending_sel;
#if defined(__x86_64__)
    uint64_t cr2, pad;
#endif
    struct vcpu_time_info time;
};

#if defined(__x86_64__)
#define XEN_LEGACY_MAX_VCPUS 32
#else
#define XEN_LEGACY_MAX_VCPUS 1
#endif

struct shared_info {
    struct vcpu_info vcpu_info[XEN_LEGACY_MAX_VCPUS];
    uint64_t evtchn_pending[64];
    uint64_t evtchn_mask[64];
    uint32_t wc_version, wc_sec, wc_nsec;
};
#endif

/* Rings of bytes: console and xenstore ----------------------------------------------------------------------------- */

#ifndef __ASSEMBLER__
struct xencons_interface {
    char in[1024];
    char out[2048];
    uint32_t in_cons, in_prod;
    uint32_t out_cons, out_prod;
};

struct xenstore_domain_interface {
    char req[1024];
    char rsp[1024];
    uint32_t req_cons, req_prod;
    uint32_t rsp_cons, rsp_prod;
};

enum xsd_sockmsg_type {
    XS_DIRECTORY = 1,
    XS_READ = 2,
    XS_WATCH = 4,
    XS_WRITE = 11,
    XS_MKDIR = 12,
    XS_RM = 13,
    XS_SET_PERMS = 14,
    XS_WATCH_EVENT = 15,
    XS_ERROR = 16,
};

struct xsd_sockmsg {
    uint32_t type;
    uint32_t req_id;
    uint32_t tx_id;
    uint32_t len;
};
#endif

/* What a PVH guest finds at EBX ------------------------------------------------------------------------------------ */

#define XEN_HVM_START_MAGIC_VALUE 0x336ec578

#ifndef __ASSEMBLER__
struct hvm_start_info {
    uint32_t magic, version, flags, nr_modules;
    uint64_t modlist_paddr, cmdline_paddr, rsdp_paddr, memmap_paddr;
    uint32_t memmap_entries, reserved;
};

struct hvm_memmap_table_entry {
    uint64_t addr, size;
    uint32_t type, reserved;
};
#endif
