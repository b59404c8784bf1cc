/* xenstore: one request after another over the ring; the reply is awaited. */
#include "machine.h"

#define LONGEST 1024

static struct xenstore_domain_interface *store;
static evtchn_port_t store_port;
static uint32_t requests;

static void connect(void)
{
    if (store)
        return;
    uint64_t frame = hvm_param(HVM_PARAM_STORE_PFN);
    if (!frame)
        panic("there is no xenstore");
    store_port = (evtchn_port_t)hvm_param(HVM_PARAM_STORE_EVTCHN);
    store = machine_page(frame);
}

static void send(const void *data, size_t size)
{
    const char *from = data;
    while (size) {
        uint32_t prod = store->req_prod;
        while (size && prod - __atomic_load_n(&store->req_cons, __ATOMIC_ACQUIRE) < sizeof store->req) {
            store->req[prod++ & (sizeof store->req - 1)] = *from++;
            size--;
        }
        __atomic_store_n(&store->req_prod, prod, __ATOMIC_RELEASE);
        evtchn_notify(store_port);
        if (size)
            events_poll(store_port);
    }
}

/* Take `size` bytes; those behind `room` are dropped. */
static void receive(void *data, size_t size, size_t room)
{
    char *to = data;
    while (size) {
        uint32_t cons = store->rsp_cons;
        if (__atomic_load_n(&store->rsp_prod, __ATOMIC_ACQUIRE) == cons) {
            events_poll(store_port);
            continue;
        }
        char one = store->rsp[cons & (sizeof store->rsp - 1)];
        __atomic_store_n(&store->rsp_cons, cons + 1, __ATOMIC_RELEASE);
        if (room) {
            *to++ = one;
            room--;
        }
        size--;
    }
}

static int error_of(const char *name)
{
    static const struct {
        const char *name;
        int number;
    } errors[] = {{"ENOENT", ENOENT}, {"EACCES", EACCES}, {"EEXIST", EEXIST}, {"E2BIG", E2BIG}};
    for (size_t at = 0; at < sizeof errors / sizeof *errors; at++)
        if (strcmp(errors[at].name, name) == 0)
            return -errors[at].number;
    return -EINVAL;
}

/* Ask, and put the answer into `reply`; its length, or a negative errno. */
static int request(uint32_t type, const char *path, const char *more, size_t more_size, char *reply, size_t room)
{
    size_t path_size = strlen(path) + 1;
    char error[16];
    if (path_size + more_size > LONGEST)
        return -E2BIG;
    unsigned long flags = irq_save();
    connect();
    struct xsd_sockmsg message = {type, ++requests, 0, (uint32_t)(path_size + more_size)};
    send(&message, sizeof message);
    send(path, path_size);
    send(more, more_size);
    do {
        receive(&message, sizeof message, sizeof message);
        if (message.type == XS_ERROR)
            receive(error, message.len, sizeof error);
        else
            receive(reply, message.len, message.req_id == requests ? room : 0);
    } while (message.type == XS_WATCH_EVENT || message.req_id != requests);
    evtchn_notify(store_port); /* there is room again */
    irq_restore(flags);
    error[sizeof error - 1] = 0;
    return message.type == XS_ERROR ? error_of(error) : (int)message.len;
}

int xenstore_read(const char *path, char *value, size_t size)
{
    int length = request(XS_READ, path, "", 0, value, size ? size - 1 : 0);
    if (size)
        value[length < 0 ? 0 : (size_t)length < size ? (size_t)length : size - 1] = 0;
    return length;
}

int xenstore_write(const char *path, const char *value)
{
    char reply[8];
    int result = request(XS_WRITE, path, value, strlen(value), reply, sizeof reply);
    return result < 0 ? result : 0;
}

domid_t my_domid(void)
{
    static int known = -1;
    if (known < 0) {
        char text[8];
        known = 0;
        if (xenstore_read("domid", text, sizeof text) < 0)
            panic("xenstore does not say who we are");
        for (const char *at = text; *at >= '0' && *at <= '9'; at++)
            known = known * 10 + (*at - '0');
    }
    return (domid_t)known;
}

int xenstore_publish(const char *path)
{
    char reply[8], perms[8]; /* r and our number: it is ours, and others may read it */
    int length = snprintf(perms, sizeof perms, "r%u", my_domid());
    int result = request(XS_SET_PERMS, path, perms, (size_t)length + 1, reply, sizeof reply);
    return result < 0 ? result : 0;
}

domid_t meet(const char *mine, const char *theirs)
{
    char path[48], text[32];
    if (xenstore_write("data/name", mine) < 0 || xenstore_publish("data/name") < 0)
        panic("data/name cannot be written");
    for (;;) {
        for (unsigned domid = 1; domid <= 32; domid++) {
            snprintf(path, sizeof path, "/local/domain/%u/data/name", domid);
            if (domid != my_domid() && xenstore_read(path, text, sizeof text) >= 0 && strcmp(text, theirs) == 0)
                return (domid_t)domid;
        }
        sleep_ns(1000000);
    }
}
