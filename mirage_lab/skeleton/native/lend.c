/* lend: grants a page to the domain that says it is `borrow`, and takes it back when that one has read it. */
#include <guest.h>

int main(void)
{
    char path[48], text[16];
    domid_t reader = meet("lend", "borrow");
    char *page = alloc_page();
    snprintf(page, PAGE_SIZE, "a page of domain %u", my_domid());
    grant_ref_t ref = grant_access(reader, page, true);
    printf("grant %u: domain %u may read the page at %p\n", ref, reader, page);
    snprintf(text, sizeof text, "%u", ref);
    xenstore_write("data/ref", text);
    xenstore_publish("data/ref");
    snprintf(path, sizeof path, "/local/domain/%u/data/read", reader);
    while (xenstore_read(path, text, sizeof text) < 0)
        sleep_ns(1000000);
    while (!grant_end(ref))
        sleep_ns(1000000);
    printf("grant %u is ours again\n", ref);
    return 0;
}
