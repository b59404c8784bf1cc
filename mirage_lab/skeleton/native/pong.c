/* pong: sends each event of ping back. */
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
    char path[48], text[16];
    domid_t ping = meet("pong", "ping");
    snprintf(path, sizeof path, "/local/domain/%u/data/port", ping);
    while (xenstore_read(path, text, sizeof text) < 0)
        sleep_ns(1000000);
    evtchn_port_t theirs = 0;
    for (const char *digit = text; *digit >= '0' && *digit <= '9'; digit++)
        theirs = theirs * 10 + (evtchn_port_t)(*digit - '0');
    evtchn_port_t port = evtchn_bind_interdomain(ping, theirs);
    if (!port)
        panic("port %u of domain %u cannot be bound", theirs, ping);
    evtchn_handle(port, event, 0); /* binding makes our own end pending once: nothing that came before is lost */
    wait_for(1);
    evtchn_notify(port);
    for (unsigned round = 1; round <= 3; round++) {
        wait_for(round + 1);
        printf("pong %u\n", round);
        evtchn_notify(port);
    }
    return 0;
}
