/* fault: does what a program must not; the command line says what: null (as without it), wild, code, stack. */
#include <guest.h>

static void __attribute__((noinline)) write_to(volatile int *where)
{
    printf("writing to %p\n", (void *)where);
    *where = 42;
}

static int deeper(volatile int *before)
{
    volatile int room[64];
    room[0] = *before + 1;
    return deeper(room) + room[0];
}

int main(void)
{
    volatile int nothing = 0;
    if (strcmp(cmdline, "wild") == 0)
        write_to((int *)0xdead0000);
    else if (strcmp(cmdline, "code") == 0)
        write_to((int *)main);
    else if (strcmp(cmdline, "stack") == 0)
        return deeper(&nothing);
    else
        write_to(0);
    return 0;
}
