/* netfront: the front end of vif/0: two rings, a page for each slot that is used, an event channel (io/netif.h, io/ring.h). */
#include "machine.h"
#include <net.h>

#define SLOTS 256 /* of a ring of one page; this card uses fewer */
#define PAGES 32
#define LONGEST 1514

struct netif_tx_request {
    grant_ref_t gref;
    uint16_t offset, flags, id, size;
};

struct netif_rx_request {
    uint16_t id, pad;
    grant_ref_t gref;
};

struct netif_rx_response {
    uint16_t id, offset, flags;
    int16_t status;
};

union tx_slot {
    struct netif_tx_request request;
    struct {
        uint16_t id;
        int16_t status;
    } response;
};

union rx_slot {
    struct netif_rx_request request;
    struct netif_rx_response response;
};

#define RING(slot)                                                                                                              \
    struct {                                                                                                                    \
        uint32_t req_prod, req_event, rsp_prod, rsp_event;                                                                      \
        uint8_t pad[48];                                                                                                        \
        slot ring[SLOTS];                                                                                                       \
    }

static RING(union tx_slot) * tx;
static RING(union rx_slot) * rx;
static uint8_t *tx_pages[PAGES], *rx_pages[PAGES];
static grant_ref_t tx_refs[PAGES], rx_refs[PAGES];
static uint16_t unused[PAGES];
static unsigned unused_count;
static uint32_t tx_prod, tx_cons, rx_prod, rx_cons;
static evtchn_port_t port;

static void came(evtchn_port_t which, void *data)
{
    (void)which;
    (void)data; /* whoever waits looks into the ring */
}

static unsigned number(const char *text)
{
    unsigned value = 0;
    for (; *text >= '0' && *text <= '9'; text++)
        value = value * 10 + (unsigned)(*text - '0');
    return value;
}

static void write_number(const char *path, unsigned value)
{
    char text[12];
    snprintf(text, sizeof text, "%u", value);
    if (xenstore_write(path, text) < 0)
        panic("%s cannot be written", path);
}

/* Wait until the back end is in one of two states. */
static void wait_for(const char *backend, unsigned state, unsigned or_state)
{
    char path[96], text[8];
    snprintf(path, sizeof path, "%s/state", backend);
    for (unsigned now = 0; now != state && now != or_state; now = number(text))
        if (xenstore_read(path, text, sizeof text) < 0 || (number(text) != state && number(text) != or_state))
            sleep_ns(100000);
}

/* Move a producer; ring if the other side asked for that. */
static void push(volatile uint32_t *prod, volatile uint32_t *event, uint32_t old, uint32_t new)
{
    __atomic_store_n(prod, new, __ATOMIC_RELEASE);
    barrier();
    if (new - *event < new - old)
        evtchn_notify(port);
}

static void offer(uint16_t id)
{
    rx->ring[rx_prod++ & (SLOTS - 1)].request = (struct netif_rx_request){id, 0, rx_refs[id]};
}

static void read_mac(uint8_t mac[6])
{
    char text[20];
    if (xenstore_read("device/vif/0/mac", text, sizeof text) < 17)
        panic("the card has no address");
    for (unsigned at = 0; at < 6; at++) {
        unsigned value = 0;
        for (unsigned digit = 0; digit < 2; digit++) {
            char letter = text[at * 3 + digit];
            value = value * 16 + (unsigned)(letter <= '9' ? letter - '0' : (letter | 32) - 'a' + 10);
        }
        mac[at] = (uint8_t)value;
    }
}

void netfront_connect(uint8_t mac[6])
{
    char backend[64], text[8];
    if (xenstore_read("device/vif/0/backend", backend, sizeof backend) < 0 || xenstore_read("device/vif/0/backend-id", text, sizeof text) < 0)
        panic("there is no network card: lab.create(image, vif=[lan]) plugs one in");
    domid_t dom = (domid_t)number(text);
    tx = alloc_page();
    rx = alloc_page();
    tx->req_event = tx->rsp_event = rx->req_event = rx->rsp_event = 1;
    for (uint16_t id = 0; id < PAGES; id++) {
        tx_refs[id] = grant_access(dom, tx_pages[id] = alloc_page(), true);
        rx_refs[id] = grant_access(dom, rx_pages[id] = alloc_page(), false);
        unused[unused_count++] = id;
        offer(id);
    }
    rx->req_prod = rx_prod;
    port = evtchn_alloc_unbound(dom);
    evtchn_handle(port, came, 0);
    read_mac(mac);
    wait_for(backend, 2, 4);
    write_number("device/vif/0/tx-ring-ref", grant_access(dom, tx, false));
    write_number("device/vif/0/rx-ring-ref", grant_access(dom, rx, false));
    write_number("device/vif/0/event-channel", port);
    write_number("device/vif/0/request-rx-copy", 1);
    write_number("device/vif/0/state", 3);
    wait_for(backend, 4, 4);
    write_number("device/vif/0/state", 4);
}

bool netfront_send(const uint8_t *frame, size_t length)
{
    for (; tx_cons != __atomic_load_n(&tx->rsp_prod, __ATOMIC_ACQUIRE) && tx_cons != tx_prod; tx_cons++) {
        uint16_t id = tx->ring[tx_cons & (SLOTS - 1)].response.id;
        if (id < PAGES && unused_count < PAGES)
            unused[unused_count++] = id;
    }
    if (!unused_count || length > LONGEST)
        return false;
    uint16_t id = unused[--unused_count];
    memcpy(tx_pages[id], frame, length);
    tx->ring[tx_prod & (SLOTS - 1)].request = (struct netif_tx_request){tx_refs[id], 0, 0, id, (uint16_t)length};
    tx_prod++;
    push(&tx->req_prod, &tx->req_event, tx_prod - 1, tx_prod);
    return true;
}

void netfront_receive(frame_handler_t handler)
{
    uint32_t old = rx_prod;
    for (;;) {
        for (; rx_cons != __atomic_load_n(&rx->rsp_prod, __ATOMIC_ACQUIRE); rx_cons++) {
            struct netif_rx_response response = rx->ring[rx_cons & (SLOTS - 1)].response;
            if (response.id >= PAGES)
                continue;
            if (response.status > 0 && response.offset + response.status <= PAGE_SIZE)
                handler(rx_pages[response.id] + response.offset, (size_t)response.status);
            offer(response.id);
        }
        rx->rsp_event = rx_cons + 1;
        barrier();
        if (rx_cons == rx->rsp_prod)
            break;
    }
    if (rx_prod != old)
        push(&rx->req_prod, &rx->req_event, old, rx_prod);
}
