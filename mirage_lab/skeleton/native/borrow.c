/* borrow: reads a page that `lend` has granted: a copy of it, or with `map` on the command line the page itself. */
#include <guest.h>

int main(void)
{
    char path[48], text[16];
    domid_t owner = meet("borrow", "lend");
    snprintf(path, sizeof path, "/local/domain/%u/data/ref", owner);
    while (xenstore_read(path, text, sizeof text) < 0)
        sleep_ns(1000000);
    grant_ref_t ref = 0;
    for (const char *digit = text; *digit >= '0' && *digit <= '9'; digit++)
        ref = ref * 10 + (grant_ref_t)(*digit - '0');
    char *page = alloc_page();
    grant_handle_t handle;
    bool map = strcmp(cmdline, "map") == 0;
    int status = map ? grant_map(owner, ref, page, true, &handle) : grant_copy(owner, ref, page);
    if (status != 0)
        panic("grant %u of domain %u: status %d", ref, owner, status);
    printf("%s: %s\n", map ? "mapped" : "copied", page);
    if (map)
        grant_unmap(page, handle);
    xenstore_write("data/read", "yes");
    xenstore_publish("data/read");
    return 0;
}
