/* guest.h: what a guest of ours has at hand before its first line.
 *
 *     int main(void)      is the guest; when it returns, the domain shuts down (SHUTDOWN_poweroff)
 *
 * Each part connects itself to Xen when it is first used, so that the hypercalls of a guest are those it needs.
 * There is no C library, and no floating point.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <xen.h>

int main(void);

/* What was given as `cmdline` when the domain was made. */
extern const char *cmdline;

/* Console ---------------------------------------------------------------------------------------------------------- */

/* Put text on the console ring, and tell the console daemon. */
void print(const char *text);

/* %s %c %d %u %x %p %%, with l or ll for 64 bits, a width and zeros in front: %-8s %016lx */
int printf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same into memory, `size` bytes at most with the zero at the end; returns how many it would have been. */
int snprintf(char *to, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));

int vsnprintf(char *to, size_t size, const char *format, va_list args);

/* Say why, and crash the domain (SHUTDOWN_crash). */
void panic(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* End the domain: SHUTDOWN_poweroff, SHUTDOWN_reboot, SHUTDOWN_crash. */
void shutdown(unsigned reason) __attribute__((noreturn));

/* Event channels --------------------------------------------------------------------------------------------------- */

typedef void (*evtchn_handler_t)(evtchn_port_t port, void *data);

/* The page shared with Xen. */
struct shared_info *shared_info(void);

/* A new port that domain `remote` may bind to. */
evtchn_port_t evtchn_alloc_unbound(domid_t remote);

/* A port of ours bound to `remote_port` of domain `remote_dom`; 0 if it cannot be. */
evtchn_port_t evtchn_bind_interdomain(domid_t remote_dom, evtchn_port_t remote_port);

/* A port for a virtual interrupt. */
evtchn_port_t evtchn_bind_virq(unsigned virq);

/* Have `handler` called, with interrupts off, whenever `port` becomes pending. */
void evtchn_handle(evtchn_port_t port, evtchn_handler_t handler, void *data);

/* Make the other end pending. */
void evtchn_notify(evtchn_port_t port);

/* Return as soon as an event was handled since the last time this returned. */
void wait(void);

/* Interrupts off, and back to what they were. */
unsigned long irq_save(void);
void irq_restore(unsigned long flags);

/* Time ------------------------------------------------------------------------------------------------------------- */

/* Nanoseconds since the domain was made. */
uint64_t now_ns(void);

/* Do nothing for so long; events are handled meanwhile. */
void sleep_ns(uint64_t ns);

/* Xenstore --------------------------------------------------------------------------------------------------------- */

/* Read a key (a path without / at its begin is below our own home) into `value`; its length, or a negative errno. */
int xenstore_read(const char *path, char *value, size_t size);

/* Write a key; 0 or a negative errno. */
int xenstore_write(const char *path, const char *value);

/* Let every other domain read a key of ours; 0 or a negative errno. */
int xenstore_publish(const char *path);

/* Our own number. */
domid_t my_domid(void);

/* Say that we are `mine`, look until some other domain says it is `theirs`, and return its number. */
domid_t meet(const char *mine, const char *theirs);

/* Memory and grants ------------------------------------------------------------------------------------------------ */

/* A page of zeros. */
void *alloc_page(void);

/* Let domain `to` read a page of ours, and write it unless `readonly`. */
grant_ref_t grant_access(domid_t to, void *page, bool readonly);

/* Take it back: false while it is mapped. */
bool grant_end(grant_ref_t ref);

/* Copy a page that domain `from` has granted us into one of ours; 0 or a negative status. */
int grant_copy(domid_t from, grant_ref_t ref, void *page);

/* Map a page that domain `from` has granted us at a page of ours, whose own memory is hidden meanwhile; 0 or a negative status. */
int grant_map(domid_t from, grant_ref_t ref, void *page, bool readonly, grant_handle_t *handle);
int grant_unmap(void *page, grant_handle_t handle);
