/* machine.h: what each architecture gives the rest of the runtime. */
#pragma once

#include <guest.h>

extern char _image[], _text_end[], _end[], guard[], exception_guard[];

/* The first byte behind the image and what the builder put beside it, and behind the memory. */
extern uintptr_t memory_free, memory_end;

/* Begin, with the machine as its entry left it. */
void start(const char *line) __attribute__((noreturn));

/* Have event channels interrupt us. */
void machine_events(void);

/* Wait for an interrupt, with interrupts off, and take it. */
void machine_idle(void);

/* Have something happen at a system time, in ns: at the latest then `wait` returns. */
void machine_alarm(uint64_t deadline_ns);

/* A page of the machine at its own address, which is made to be memory. */
void *machine_page(uint64_t frame);

/* Look at the pending bits, and call handlers. */
void events_upcall(void);

/* Something was handled that `wait` is to return for. */
void events_happened(void);

/* Wait, without interrupts, for one port. */
void events_poll(evtchn_port_t port);

/* An exception that nobody can handle: what, where, and on which address if there is one. */
void fault(const char *what, uintptr_t pc, const char *how, const uintptr_t *address) __attribute__((noreturn));

uint64_t hvm_param(unsigned index);

#define barrier() __atomic_thread_fence(__ATOMIC_SEQ_CST)
