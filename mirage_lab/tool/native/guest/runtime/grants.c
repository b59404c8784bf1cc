/* grants: pages for others, and pages of others. */
#include "machine.h"

#define ENTRIES (PAGE_SIZE / sizeof(struct grant_entry_v1))
#define RESERVED 8 /* the first are the builder's: console and xenstore */

static struct grant_entry_v1 table[ENTRIES] __attribute__((aligned(PAGE_SIZE)));
static bool connected;

void *alloc_page(void)
{
    if (memory_free + PAGE_SIZE > memory_end)
        panic("there is no more memory");
    void *page = (void *)memory_free;
    memory_free += PAGE_SIZE;
    return memset(page, 0, PAGE_SIZE);
}

static void connect(void)
{
    struct xen_add_to_physmap arg = {DOMID_SELF, 0, XENMAPSPACE_grant_table, 0, (uintptr_t)table >> PAGE_SHIFT};
    if (!connected && memory_op(XENMEM_add_to_physmap, &arg) != 0)
        panic("the grant table cannot be mapped");
    connected = true;
}

grant_ref_t grant_access(domid_t to, void *page, bool readonly)
{
    connect();
    for (grant_ref_t ref = RESERVED; ref < ENTRIES; ref++)
        if (table[ref].flags == 0) {
            table[ref].domid = to;
            table[ref].frame = (uint32_t)((uintptr_t)page >> PAGE_SHIFT);
            uint16_t flags = GTF_permit_access | (readonly ? GTF_readonly : 0);
            __atomic_store_n(&table[ref].flags, flags, __ATOMIC_RELEASE); /* last: now it counts */
            return ref;
        }
    panic("the grant table is full");
}

bool grant_end(grant_ref_t ref)
{
    uint16_t flags = table[ref].flags;
    while (!(flags & (GTF_reading | GTF_writing)))
        if (__atomic_compare_exchange_n(&table[ref].flags, &flags, 0, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            return true;
    return false;
}

int grant_copy(domid_t from, grant_ref_t ref, void *page)
{
    struct gnttab_copy copy = {
        .source = {ref, from, 0},
        .dest = {(uintptr_t)page >> PAGE_SHIFT, DOMID_SELF, 0},
        .len = PAGE_SIZE,
        .flags = GNTCOPY_source_gref,
    };
    long result = grant_table_op(GNTTABOP_copy, &copy, 1);
    return result < 0 ? (int)result : copy.status;
}

int grant_map(domid_t from, grant_ref_t ref, void *page, bool readonly, grant_handle_t *handle)
{
    uint32_t flags = GNTMAP_host_map | (readonly ? GNTMAP_readonly : 0);
    struct gnttab_map_grant_ref map = {.host_addr = (uintptr_t)page, .flags = flags, .ref = ref, .dom = from};
    long result = grant_table_op(GNTTABOP_map_grant_ref, &map, 1);
    *handle = map.handle;
    return result < 0 ? (int)result : map.status;
}

int grant_unmap(void *page, grant_handle_t handle)
{
    struct gnttab_unmap_grant_ref unmap = {.host_addr = (uintptr_t)page, .handle = handle};
    long result = grant_table_op(GNTTABOP_unmap_grant_ref, &unmap, 1);
    return result < 0 ? (int)result : unmap.status;
}
