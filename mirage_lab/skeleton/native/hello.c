/* hello: one line on the console ring, and the domain shuts down. */
#include <guest.h>

int main(void)
{
    print("hello from machine code\n");
    return 0;
}
