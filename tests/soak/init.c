#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/route.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void insert(const char *path)
{
    int fd = open(path, O_RDONLY);
    printf("init: %s: %s\n", path, fd >= 0 && syscall(SYS_finit_module, fd, "", 0) == 0 ? "inserted" : "failed");
    if (fd >= 0)
        close(fd);
}

static int opened(const char *path, int flags)
{
    for (int n = 0; n < 200; n++) {
        int fd = open(path, flags);
        if (fd >= 0)
            return fd;
        usleep(10000);
    }
    return -1;
}

static void disk(void)
{
    char sector[512] __attribute__((aligned(512)));
    int fd = opened("/dev/xvda", O_RDWR);
    if (fd < 0 || read(fd, sector, 512) != 512) {
        printf("init: no disk\n");
        return;
    }
    printf("init: /dev/xvda begins with %.20s\n", sector);
    memset(sector, 0, 512);
    strcpy(sector, "written by Linux");
    printf("init: wrote %d bytes, ", (int)pwrite(fd, sector, 512, 512));
    printf("fsync %d\n", fsync(fd));
    close(fd);
}

static void net(void)
{
    struct ifreq request = {0};
    struct sockaddr_in *address = (struct sockaddr_in *)&request.ifr_addr;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    strcpy(request.ifr_name, "eth0");
    for (int n = 0; n < 200 && ioctl(fd, SIOCGIFINDEX, &request) != 0; n++)
        usleep(10000);
    address->sin_family = AF_INET;
    address->sin_addr.s_addr = inet_addr("10.0.0.9");
    if (ioctl(fd, SIOCSIFADDR, &request) != 0)
        printf("init: no address\n");
    ioctl(fd, SIOCGIFFLAGS, &request);
    request.ifr_flags |= IFF_UP | IFF_RUNNING;
    ioctl(fd, SIOCSIFFLAGS, &request);
    address->sin_family = AF_INET;
    address->sin_addr.s_addr = inet_addr("255.255.255.0");
    ioctl(fd, SIOCSIFNETMASK, &request);
    struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons(80), .sin_addr.s_addr = inet_addr("10.0.0.2")};
    int done = -1;
    for (int n = 0; n < 20 && (done = connect(fd, (struct sockaddr *)&peer, sizeof peer)) != 0; n++)
        usleep(100000);
    printf("init: connect %d\n", done);
    char text[200] = {0};
    write(fd, "GET / HTTP/1.1\r\n\r\n", 18);
    int got = read(fd, text, sizeof text - 1);
    printf("init: %d bytes: %s\n", got, got > 0 ? strstr(text, "\r\n\r\n") ? strstr(text, "\r\n\r\n") + 4 : text : "");
}

int main(void)
{
    setvbuf(stdout, 0, _IONBF, 0);
    mount("none", "/dev", "devtmpfs", 0, "");
    int fd = open("/dev/hvc0", O_RDWR);
    dup2(fd, 0), dup2(fd, 1), dup2(fd, 2);
    printf("init: hello from a program of Linux, process %d\n", getpid());
    char *heap = malloc(1 << 20);
    for (int n = 0; n < 1 << 20; n += 4096)
        heap[n] = n >> 12;
    pid_t child = fork();
    if (child == 0)
        *(volatile int *)16 = 1;
    int status;
    waitpid(child, &status, 0);
    printf("init: a child wrote to address 16: signal %d; heap %d\n", WTERMSIG(status), heap[200 << 12] & 255);
    insert("/xen-blkfront.ko");
    insert("/xen-netfront.ko");
    disk();
    net();
    sync();
    reboot(RB_POWER_OFF);
    return 0;
}
