/* ping: plays with pong over an event channel.
 *
 *     ping                                             pong
 *     a port that pong may bind to, in data/port  ──▶  binds it, and says so by an event
 *     event  ─────────────────────────────────────▶    event back, three times
 */
#include <guest.h>

static volatile unsigned came;

static void event(evtchn_port_t port, void *data)
{
    (void)port;
    (void)data;
    came++;
}

static void wait_for(unsigned count)
{
    while (came < count)
        wait();
}

int main(void)
{
    char text[16];
    domid_t pong = meet("ping", "pong");
    evtchn_port_t port = evtchn_alloc_unbound(pong);
    evtchn_handle(port, event, 0);
    snprintf(text, sizeof text, "%u", port);
    xenstore_write("data/port", text);
    xenstore_publish("data/port");
    wait_for(1);
    printf("domain %u has bound port %u\n", pong, port);
    for (unsigned round = 1; round <= 3; round++) {
        uint64_t sent = now_ns();
        evtchn_notify(port);
        wait_for(round + 1);
        printf("ping %u: back after %llu ns\n", round, (unsigned long long)(now_ns() - sent));
    }
    return 0;
}
