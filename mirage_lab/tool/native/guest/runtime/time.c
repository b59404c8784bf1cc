/* time: doing nothing until then. */
#include "machine.h"

void sleep_ns(uint64_t ns)
{
    uint64_t until = now_ns() + ns;
    machine_alarm(until);
    while (now_ns() < until)
        wait();
}
