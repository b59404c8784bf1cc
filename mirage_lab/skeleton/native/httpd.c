/* httpd: a web server of one page, on the address of the command line (10.0.0.2 without one), port 80. */
#include <net.h>

#if defined(__x86_64__)
#define MACHINE "x86-64"
#elif defined(__aarch64__)
#define MACHINE "aarch64"
#else
#define MACHINE "ARMv7"
#endif

static const char page[] = "hello from machine code on " MACHINE "\n";

static size_t answer(const char *request, size_t length, char *to, size_t room)
{
    if (length < 4 || memcmp(request + length - 4, "\r\n\r\n", 4) != 0)
        return 0; /* the head of a request ends with an empty line */
    bool found = length > 6 && memcmp(request, "GET / ", 6) == 0;
    const char *text = found ? page : "not here\n";
    return (size_t)snprintf(to, room, "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %u\r\nConnection: close\r\n\r\n%s",
                            found ? "200 OK" : "404 Not Found", (unsigned)strlen(text), text);
}

int main(void)
{
    const char *address = cmdline[0] ? cmdline : "10.0.0.2";
    net_up(address);
    tcp_listen(80, answer);
    printf("listening on %s port 80\n", address);
    net_run();
}
