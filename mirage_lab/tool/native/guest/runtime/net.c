/* net: ARP, ICMP echo and the passive side of TCP, for a server that answers one request on each connection.
 *
 * Segments are taken in order only; what is not acknowledged is sent again from the first missing byte on (RFC 9293, with a
 * timeout that doubles); the two ends say good-bye, and the last of it is remembered for a second.
 */
#include "machine.h"
#include <net.h>

#define MS 1000000ull
#define CONNECTIONS 8
#define LISTENERS 4
#define MSS 1460
#define REQUEST 2048
#define ANSWER 4096
#define FIRST_RTO (200 * MS)
#define TRIES 6

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16 };
enum state { FREE, SYN_RECEIVED, ESTABLISHED, CLOSING, TIME_WAIT };

struct connection {
    enum state state;
    uint8_t mac[6];
    uint32_t peer;
    uint16_t port, peer_port;
    uint32_t rcv_nxt, iss, snd_una, snd_nxt, window;
    bool answered, peer_closed;
    size_t request_size, answer_size;
    uint64_t deadline, rto;
    unsigned tries;
    tcp_server_t serve;
    char request[REQUEST], answer[ANSWER];
};

static struct connection connections[CONNECTIONS];
static struct {
    uint16_t port;
    tcp_server_t serve;
} listeners[LISTENERS];
static uint8_t our_mac[6], frame[1514];
static uint32_t our_address;

static uint32_t get(const uint8_t *at, unsigned size)
{
    uint32_t value = 0;
    while (size--)
        value = value << 8 | *at++;
    return value;
}

static void put(uint8_t *at, uint32_t value, unsigned size)
{
    while (size--) {
        at[size] = (uint8_t)value;
        value >>= 8;
    }
}

static uint32_t sum(const uint8_t *data, size_t size, uint32_t total)
{
    for (; size > 1; size -= 2, data += 2)
        total += get(data, 2);
    return size ? total + (uint32_t)(*data << 8) : total;
}

static uint16_t checksum(uint32_t total)
{
    while (total >> 16)
        total = (total & 0xffff) + (total >> 16);
    return (uint16_t)~total;
}

/* Frames to somebody ------------------------------------------------------------------------------------------------ */

/* Begin a packet in `frame`; returns where its payload goes. */
static uint8_t *begin_ip(const uint8_t mac[6], uint32_t to, uint8_t protocol, size_t size)
{
    static uint16_t id;
    uint8_t *ip = frame + 14;
    memcpy(frame, mac, 6);
    memcpy(frame + 6, our_mac, 6);
    put(frame + 12, 0x0800, 2);
    put(ip, 0x45000000 | (uint32_t)(20 + size), 4);
    put(ip + 4, (uint32_t)++id << 16 | 0x4000, 4); /* whole: do not fragment */
    put(ip + 8, 64u << 24 | (uint32_t)protocol << 16, 4);
    put(ip + 12, our_address, 4);
    put(ip + 16, to, 4);
    put(ip + 10, checksum(sum(ip, 20, 0)), 2);
    return ip + 20;
}

static uint32_t pseudo(uint32_t one, uint32_t other, size_t size)
{
    return (one >> 16) + (one & 0xffff) + (other >> 16) + (other & 0xffff) + 6 + (uint32_t)size;
}

static void segment(const uint8_t mac[6], uint32_t to, uint32_t ports, uint32_t seq, uint32_t ack, unsigned flags, const char *data, size_t size)
{
    size_t header = flags & SYN ? 24 : 20;
    uint8_t *tcp = begin_ip(mac, to, 6, header + size);
    put(tcp, ports, 4);
    put(tcp + 4, seq, 4);
    put(tcp + 8, flags & ACK ? ack : 0, 4);
    put(tcp + 12, (uint32_t)(header / 4) << 28 | flags << 16 | REQUEST, 4);
    put(tcp + 16, 0, 4);
    if (flags & SYN)
        put(tcp + 20, 0x02040000 | MSS, 4); /* option: maximum segment size */
    memcpy(tcp + header, data, size);
    put(tcp + 16, checksum(sum(tcp, header + size, pseudo(our_address, to, header + size))), 2);
    netfront_send(frame, 34 + header + size);
}

static void send(struct connection *one, uint32_t seq, unsigned flags, const char *data, size_t size)
{
    segment(one->mac, one->peer, (uint32_t)one->port << 16 | one->peer_port, seq, one->rcv_nxt, flags | ACK, data, size);
}

/* TCP --------------------------------------------------------------------------------------------------------------- */

static void arm(struct connection *one)
{
    one->deadline = one->snd_una == one->snd_nxt ? 0 : now_ns() + one->rto;
}

/* Send what may go out; returns false if nothing did. */
static bool output(struct connection *one)
{
    uint32_t end = one->iss + 1 + (uint32_t)one->answer_size, before = one->snd_nxt;
    if (one->state != ESTABLISHED && one->state != CLOSING)
        return false;
    while (one->answered && one->snd_nxt - one->snd_una < one->window && (int32_t)(end - one->snd_nxt) > 0) {
        uint32_t left = end - one->snd_nxt, room = one->window - (one->snd_nxt - one->snd_una);
        uint32_t size = left < MSS ? left : MSS;
        size = size < room ? size : room;
        bool last = size == left;
        send(one, one->snd_nxt, (last ? FIN : 0) | PSH, one->answer + (one->snd_nxt - one->iss - 1), size);
        one->snd_nxt += size + last;
        if (last)
            one->state = CLOSING;
    }
    if (one->answered && one->snd_nxt == end) { /* nothing to say, or the FIN was lost alone */
        send(one, one->snd_nxt++, FIN, 0, 0);
        one->state = CLOSING;
    }
    if (one->snd_nxt == before)
        return false;
    arm(one);
    return true;
}

static void acknowledged(struct connection *one, uint32_t ack)
{
    if (ack - one->snd_una - 1 >= one->snd_nxt - one->snd_una)
        return; /* nothing new, or more than was sent */
    one->snd_una = ack;
    one->rto = FIRST_RTO;
    one->tries = 0;
    if (one->state == SYN_RECEIVED)
        one->state = ESTABLISHED;
    arm(one);
}

static struct connection *opened(const uint8_t mac[6], uint32_t peer, uint32_t ports, uint32_t seq)
{
    struct connection *one = 0;
    for (unsigned at = 0; at < CONNECTIONS; at++)
        if (connections[at].state == FREE || (!one && connections[at].state == TIME_WAIT))
            one = &connections[at];
    for (unsigned at = 0; one && at < LISTENERS; at++)
        if (listeners[at].serve && listeners[at].port == (ports & 0xffff)) {
            memset(one, 0, sizeof *one);
            memcpy(one->mac, mac, 6);
            one->state = SYN_RECEIVED;
            one->peer = peer;
            one->peer_port = (uint16_t)(ports >> 16);
            one->port = (uint16_t)ports;
            one->serve = listeners[at].serve;
            one->rcv_nxt = seq + 1;
            one->iss = one->snd_una = one->snd_nxt = (uint32_t)(now_ns() / 4000);
            one->rto = FIRST_RTO;
            return one;
        }
    return 0;
}

/* The state of a connection after a segment: what is due is sent. */
static void settle(struct connection *one, bool owes)
{
    if (one->state == ESTABLISHED && !one->answered) {
        one->answer_size = one->serve(one->request, one->request_size, one->answer, ANSWER);
        if (one->answer_size > ANSWER)
            panic("a server wrote %u bytes into %u", (unsigned)one->answer_size, ANSWER);
        one->answered = one->answer_size || one->peer_closed || one->request_size == REQUEST;
    }
    if (!output(one) && owes)
        send(one, one->snd_nxt, 0, 0, 0);
    if (one->state == CLOSING && one->peer_closed && one->snd_una == one->snd_nxt) {
        one->state = TIME_WAIT;
        one->deadline = now_ns() + 1000 * MS;
    }
}

static void tcp(const uint8_t mac[6], uint32_t peer, const uint8_t *data, size_t size)
{
    size_t header = size < 20 ? 0 : (size_t)(data[12] >> 4) * 4;
    if (header < 20 || header > size || checksum(sum(data, size, pseudo(peer, our_address, size))))
        return;
    uint32_t ports = get(data, 4), seq = get(data + 4, 4), ack = get(data + 8, 4);
    unsigned flags = data[13];
    size -= header;
    struct connection *one = 0;
    for (unsigned at = 0; at < CONNECTIONS; at++)
        if (connections[at].state && connections[at].peer == peer && ports == ((uint32_t)connections[at].peer_port << 16 | connections[at].port))
            one = &connections[at];
    if ((!one || one->state == TIME_WAIT) && (flags & (SYN | ACK | RST)) == SYN && (one = opened(mac, peer, ports, seq))) {
        send(one, one->snd_nxt++, SYN, 0, 0);
        arm(one);
        return;
    }
    if (!one) {
        uint32_t answer = ports << 16 | ports >> 16;
        if (!(flags & RST))
            segment(mac, peer, answer, flags & ACK ? ack : 0, seq + (uint32_t)size + !!(flags & (SYN | FIN)), RST | (flags & ACK ? 0 : ACK), 0, 0);
        return;
    }
    if (flags & RST) {
        if (seq == one->rcv_nxt)
            one->state = FREE;
        return;
    }
    bool owes = size || flags & (SYN | FIN);
    one->window = get(data + 14, 2);
    if (flags & ACK)
        acknowledged(one, ack);
    if (seq == one->rcv_nxt && one->state != SYN_RECEIVED && !one->peer_closed && size <= REQUEST - one->request_size) {
        memcpy(one->request + one->request_size, data + header, size);
        one->request_size += size;
        one->peer_closed = flags & FIN;
        one->rcv_nxt += (uint32_t)size + one->peer_closed;
    }
    settle(one, owes);
}

/* Send again what has waited too long; returns when to look again, 0 for never. */
static uint64_t timers(void)
{
    uint64_t now = now_ns(), next = 0;
    for (unsigned at = 0; at < CONNECTIONS; at++) {
        struct connection *one = &connections[at];
        if (!one->state || !one->deadline)
            continue;
        if (now >= one->deadline) {
            if (one->state == TIME_WAIT || ++one->tries > TRIES) {
                one->state = FREE;
                continue;
            }
            one->rto *= 2;
            one->snd_nxt = one->snd_una;
            if (one->state == SYN_RECEIVED)
                send(one, one->snd_nxt++, SYN, 0, 0);
            else if (!output(one))
                one->snd_nxt = one->snd_una + 1; /* the peer has no room: ask again later */
            arm(one);
        }
        if (!next || one->deadline < next)
            next = one->deadline;
    }
    return next;
}

/* What comes -------------------------------------------------------------------------------------------------------- */

static void arp(const uint8_t *data, size_t size)
{
    if (size < 28 || get(data, 4) != 0x00010800 || get(data + 4, 4) != 0x06040001 || get(data + 24, 4) != our_address)
        return;
    memcpy(frame, data + 8, 6);
    memcpy(frame + 6, our_mac, 6);
    put(frame + 12, 0x0806, 2);
    put(frame + 14, 0x00010800, 4);
    put(frame + 18, 0x06040002, 4);
    memcpy(frame + 22, our_mac, 6);
    put(frame + 28, our_address, 4);
    memcpy(frame + 32, data + 8, 10);
    netfront_send(frame, 42);
}

static void icmp(const uint8_t mac[6], uint32_t peer, const uint8_t *data, size_t size)
{
    if (size < 8 || data[0] != 8 || checksum(sum(data, size, 0)) || size > sizeof frame - 34)
        return;
    uint8_t *echo = begin_ip(mac, peer, 1, size);
    memcpy(echo, data, size);
    put(echo, 0, 4);
    put(echo + 2, checksum(sum(echo, size, 0)), 2);
    netfront_send(frame, 34 + size);
}

static void input(const uint8_t *data, size_t size)
{
    if (size < 34)
        return;
    const uint8_t *ip = data + 14;
    if (get(data + 12, 2) == 0x0806)
        arp(ip, size - 14);
    if (get(data + 12, 2) != 0x0800 || memcmp(data, our_mac, 6) != 0)
        return;
    size_t header = (size_t)(ip[0] & 15) * 4, length = get(ip + 2, 2);
    if (ip[0] >> 4 != 4 || header < 20 || header > length || length > size - 14 || get(ip + 16, 4) != our_address)
        return;
    if (checksum(sum(ip, header, 0)) || get(ip + 6, 2) & 0x3fff) /* broken, or a piece of a packet */
        return;
    if (ip[9] == 1)
        icmp(data + 6, get(ip + 12, 4), ip + header, length - header);
    if (ip[9] == 6)
        tcp(data + 6, get(ip + 12, 4), ip + header, length - header);
}

void net_up(const char *address)
{
    uint32_t value = 0, part = 0;
    for (const char *at = address; *at && *at != '/'; at++)
        if (*at == '.') {
            value = (value | part) << 8;
            part = 0;
        } else
            part = part * 10 + (uint32_t)(*at - '0');
    our_address = value | part;
    netfront_connect(our_mac);
}

void tcp_listen(uint16_t port, tcp_server_t serve)
{
    for (unsigned at = 0; at < LISTENERS; at++)
        if (!listeners[at].serve || listeners[at].port == port) {
            listeners[at].port = port;
            listeners[at].serve = serve;
            return;
        }
    panic("port %u: %u ports have servers already", port, LISTENERS);
}

void net_run(void)
{
    for (;;) {
        netfront_receive(input);
        uint64_t next = timers();
        if (next)
            machine_alarm(next);
        wait();
    }
}
