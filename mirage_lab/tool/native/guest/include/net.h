/* net.h: a network card, and as much of TCP/IP as a small server needs.
 *
 *     net_up("10.0.0.2");                 our address; the card is vif/0 of this domain
 *     tcp_listen(80, answer_http);        who answers there
 *     net_run();                          serve for ever
 *
 * It answers ARP, ICMP echo and TCP connections that others open; one request on each, one answer, and it closes.
 */
#pragma once

#include <guest.h>

/* Read a request of `length` bytes and write the answer into `answer`, `room` bytes at most; returns its length.
 * 0: the request is not complete yet; it is asked again when more has come. */
typedef size_t (*tcp_server_t)(const char *request, size_t length, char *answer, size_t room);

/* Connect the card, and have an IPv4 address there. */
void net_up(const char *address);

/* Answer connections to a port. */
void tcp_listen(uint16_t port, tcp_server_t serve);

/* Serve whatever comes, for ever. */
void net_run(void) __attribute__((noreturn));

/* Frames by hand ---------------------------------------------------------------------------------------------------- */

typedef void (*frame_handler_t)(const uint8_t *frame, size_t length);

/* Connect vif/0 with its back end; `mac` gets its 6 bytes. */
void netfront_connect(uint8_t mac[6]);

/* Send a frame; false if there is no room for it. */
bool netfront_send(const uint8_t *frame, size_t length);

/* Give every frame that has come to `handler`. */
void netfront_receive(frame_handler_t handler);
