/* fakexen: what xenstored and oxenstored ask of Xen, answered where there is none, so that they can be measured beside ours.
 *
 *   cc -shared -fPIC -O2 -o fakexen.so fakexen.c -ldl        LD_PRELOAD=./fakexen.so FAKEXEN_DIR=... oxenstored ...
 *
 * Every domain there could be is running, for a node may only be given to one that is.  dom0's ring is a page of zeros, its
 * event channel stays silent; every client comes over the Unix socket.  The files they open in /proc/xen and the socket they bind are those of the same name in FAKEXEN_DIR.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static char handle; /* every handle of the hypervisor is this one */

/* files and the socket ------------------------------------------------------------------------------------------------ */

static const char *moved(const char *path, char *room, size_t size)
{
    const char *folder = getenv("FAKEXEN_DIR"), *name = strrchr(path, '/');
    if (!folder || !name || (strncmp(path, "/proc/xen/", 10) && !strstr(path, "/run/xenstored/")))
        return path;
    snprintf(room, size, "%s%s", folder, name);
    return room;
}

static int opened(const char *called, const char *path, int flags, va_list more)
{
    char room[512];
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, called);
    return real(moved(path, room, sizeof room), flags, mode);
}

int open(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    int file = opened("open", path, flags, more);
    va_end(more);
    return file;
}

int open64(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    int file = opened("open64", path, flags, more);
    va_end(more);
    return file;
}

int unlink(const char *path)
{
    char room[512];
    int (*real)(const char *) = (int (*)(const char *))dlsym(RTLD_NEXT, "unlink");
    return real(moved(path, room, sizeof room));
}

int bind(int sock, const struct sockaddr *address, socklen_t length)
{
    int (*real)(int, const struct sockaddr *, socklen_t) = (int (*)(int, const struct sockaddr *, socklen_t))dlsym(RTLD_NEXT, "bind");
    struct sockaddr_un other = {.sun_family = AF_UNIX};
    char room[512];
    if (address->sa_family != AF_UNIX)
        return real(sock, address, length);
    snprintf(other.sun_path, sizeof other.sun_path, "%s", moved(((const struct sockaddr_un *)address)->sun_path, room, sizeof room));
    return real(sock, (struct sockaddr *)&other, sizeof other);
}

int setrlimit(__rlimit_resource_t what, const struct rlimit *limit)
{
    (void)what, (void)limit;
    return 0;
}

/* the hypervisor -------------------------------------------------------------------------------------------------------- */

void *xc_interface_open(void *log, void *dombuild, unsigned flags) { (void)log, (void)dombuild, (void)flags; return &handle; }
int xc_interface_close(void *xch) { (void)xch; return 0; }

int xc_domain_getinfo(void *xch, uint32_t first, unsigned most, void *info)
{
    (void)xch;
    if (!most || first >= 0x7ff0)
        return 0;
    memset(info, 0, 16); /* domid, ssidref, flags, shutdown_reason */
    *(uint32_t *)info = first;
    return 1;
}

int xc_domain_getinfolist(void *xch, uint32_t first, unsigned most, void *info) { (void)xch, (void)first, (void)most, (void)info; return 0; }

static void *page(void) { return mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); }
void *xc_map_foreign_range(void *xch, uint32_t domid, int size, int prot, unsigned long mfn)
{
    (void)xch, (void)domid, (void)size, (void)prot, (void)mfn;
    return page();
}

void *xengnttab_open(void *log, unsigned flags) { (void)log, (void)flags; return &handle; }
int xengnttab_close(void *xgt) { (void)xgt; return 0; }
int xengnttab_set_max_grants(void *xgt, uint32_t count) { (void)xgt, (void)count; return 0; }
void *xengnttab_map_grant_ref(void *xgt, uint32_t domid, uint32_t ref, int prot) { (void)xgt, (void)domid, (void)ref, (void)prot; return page(); }
int xengnttab_unmap(void *xgt, void *start, uint32_t count) { (void)xgt; return munmap(start, 4096 * (size_t)count); }

/* event channels: a pipe in which nothing ever is ------------------------------------------------------------------------ */

static int quiet[2] = {-1, -1};
void *xenevtchn_open(void *log, unsigned flags) { (void)log, (void)flags; return quiet[0] >= 0 || !pipe(quiet) ? &handle : NULL; }
void *xenevtchn_fdopen(void *log, int fd, unsigned flags) { (void)fd; return xenevtchn_open(log, flags); }
int xenevtchn_close(void *xce) { (void)xce; return 0; }
int xenevtchn_fd(void *xce) { (void)xce; return quiet[0]; }
int xenevtchn_notify(void *xce, uint32_t port) { (void)xce, (void)port; return 0; }
int xenevtchn_bind_interdomain(void *xce, uint32_t domid, uint32_t port) { (void)xce, (void)domid; return (int)port; }
int xenevtchn_bind_virq(void *xce, unsigned virq) { (void)xce; return 100 + (int)virq; }
int xenevtchn_unbind(void *xce, uint32_t port) { (void)xce, (void)port; return 0; }
int xenevtchn_pending(void *xce) { (void)xce; return -1; }
int xenevtchn_unmask(void *xce, uint32_t port) { (void)xce, (void)port; return 0; }
