#include "common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

/* Connections that may wait to be accepted. The kernel takes net.core.somaxconn at most. */
#define LISTEN_BACKLOG 4096

static double seconds_of(struct timeval time) {
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

struct cpu_time cpu_time(void) {
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) < 0)
        fail("getrusage");
    return (struct cpu_time){seconds_of(usage.ru_utime), seconds_of(usage.ru_stime)};
}

double cpu_seconds(void) {
    struct cpu_time time = cpu_time();
    return time.user + time.system;
}

static double lower_edge(int bucket) {
    if (bucket < 32)
        return bucket;
    int exponent = bucket / 32 + 4;
    return (double)((uint64_t)(32 + bucket % 32) << (exponent - 5));
}

double quantile(const struct histogram *histogram, double quantile) {
    uint64_t wanted = (uint64_t)(quantile * (double)histogram->count);
    uint64_t seen = 0;
    for (int i = 0; i < N_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen > wanted)
            return lower_edge(i);
    }
    return (double)histogram->max;
}

void payload_begin(char *payload, int n_bytes) {
    payload[0] = '~';
    payload[1] = 'T';
    payload_stamp(payload, 0, 0);
    payload[2 + STAMP_DIGITS] = '.';
    for (int i = PAYLOAD_BYTES_MIN; i < n_bytes; i++)
        payload[i] = (char)('a' + i % 26);
    payload[n_bytes] = '\0';
}

void refuse(const char *format, ...) {
    fprintf(stderr, "%s: ", program_invocation_short_name);
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(2);
}

void fail(const char *what) {
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
    exit(1);
}

long whole_number(const char *flag, const char *text, long least, long most) {
    char *end;
    errno = 0;
    long number = strtol(text, &end, 10);
    if (end == text || *end != '\0')
        refuse("%s is \"%s\": give a whole number", flag, text);
    if (errno == ERANGE || number < least || number > most)
        refuse("%s is %s: give a number from %ld to %ld", flag, text, least, most);
    return number;
}

double decimal_number(const char *flag, const char *text, double least) {
    char *end;
    double number = strtod(text, &end);
    if (end == text || *end != '\0')
        refuse("%s is \"%s\": give a number", flag, text);
    /* Written so that "nan" is refused as well. */
    if (!(number >= least && number <= 1e12))
        refuse("%s is %s: give a number from %g to 1e12", flag, text, least);
    return number;
}

void prepare_process(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        fail("getrlimit");
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        fail("setrlimit");
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
}

struct sockaddr_in address_of(const char *flag, const char *ip, int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, ip, &address.sin_addr) != 1)
        refuse("%s is \"%s\": give an IPv4 address such as 127.0.0.1", flag, ip);
    return address;
}

static void set_option(int fd, int level, int option, const char *name) {
    int on = 1;
    if (setsockopt(fd, level, option, &on, sizeof on) < 0)
        fail(name);
}

int listen_on_loopback(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        fail("socket");
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, "SO_REUSEADDR");
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, "TCP_NODELAY");
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    char what[64];
    snprintf(what, sizeof what, "listening on 127.0.0.1:%d", port);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
        fail(what);
    if (listen(fd, LISTEN_BACKLOG) < 0)
        fail(what);
    return fd;
}

int port_of(int fd) {
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &length) < 0)
        fail("getsockname");
    return ntohs(address.sin_port);
}

int new_epoll(void) {
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0)
        fail("epoll_create1");
    return epoll;
}

void watch(int epoll, int fd, uint32_t events) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        fail("epoll_ctl");
}
