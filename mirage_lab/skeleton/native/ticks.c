/* ticks: a line every 100 ms, by the timer of the machine: VIRQ_TIMER on x86, the virtual timer on ARM. */
#include <guest.h>

#define MS 1000000ull

int main(void)
{
    for (int tick = 1; tick <= 5; tick++) {
        sleep_ns(100 * MS);
        printf("tick %d at %llu ms\n", tick, (unsigned long long)(now_ns() / MS));
    }
    return 0;
}
