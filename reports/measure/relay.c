/* The lower limit for one message a request: the system calls of a push server, and nothing else.
 *
 * Each GET on the public port is answered with a chunked head, and its connection is parked. Each
 * POST on the control port, /send/K, is answered after its body was written as one chunk to the
 * K-th parked connection, counted from 1 in the order of their requests. One thread, one epoll, no
 * tables, no checks: a request must come in one read, as the publisher sends it with -D 1, and a
 * parked connection that has closed keeps its number. */
#include "common.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static const char USAGE[] =
    "relay PUBLIC CONTROL   a port for those who listen, one for those who send (0: any port)\n"
    "SIGTERM or SIGINT ends it with the line RELAY: requests to send, chunks written, failures\n";

/* The greatest descriptor, and so the most connections. */
#define MAX_CONNECTIONS 40000
#define MAX_EVENTS 256
#define REQUEST_BYTES 8192
#define CHUNK_BYTES (REQUEST_BYTES + 16)

static const char HEAD[] =
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/html\r\n\r\n";
static const char ANSWER[] =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n"
    "{\"connections\":1}";

static int epoll;
static int parked[MAX_CONNECTIONS + 1]; /* from 1 */
static int n_parked;
static bool is_control[MAX_CONNECTIONS]; /* by descriptor */

static struct {
    uint64_t requests;
    uint64_t written;
    uint64_t failed;
} count;

static volatile sig_atomic_t stopped;

static void on_stop(int signal) {
    (void)signal;
    stopped = 1;
}

static void accept_all(int listener, bool control) {
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (fd >= MAX_CONNECTIONS) {
            close(fd);
            continue;
        }
        is_control[fd] = control;
        watch(epoll, fd, EPOLLIN);
    }
    if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
        fail("accept");
}

static void park(int fd) {
    if (n_parked == MAX_CONNECTIONS || send(fd, HEAD, sizeof HEAD - 1, 0) < 0) {
        close(fd);
        return;
    }
    parked[++n_parked] = fd;
}

/* Writes the body as a chunk, and returns its length. */
static size_t frame(char *chunk, const char *body, size_t n_body) {
    size_t n = (size_t)sprintf(chunk, "%zx\r\n", n_body);
    memcpy(chunk + n, body, n_body);
    memcpy(chunk + n + n_body, "\r\n", 2);
    return n + n_body + 2;
}

static void pass_on(int to, const char *body, size_t n_body) {
    static char chunk[CHUNK_BYTES];
    size_t n = frame(chunk, body, n_body);
    bool is_parked = to > 0 && to <= n_parked;
    if (is_parked && send(parked[to], chunk, n, 0) == (ssize_t)n)
        count.written++;
    else
        count.failed++;
}

/* The request ends with a NUL, so that it can be searched. */
static void relay(int fd, char *request, size_t n_request) {
    char *id = strstr(request, "/send/"), *head_end = strstr(request, "\r\n\r\n");
    if (id == NULL || head_end == NULL) {
        close(fd);
        return;
    }
    count.requests++;
    char *body = head_end + 4;
    pass_on(atoi(id + strlen("/send/")), body, (size_t)(request + n_request - body));
    if (send(fd, ANSWER, sizeof ANSWER - 1, 0) < 0)
        close(fd);
}

static void receive(int fd) {
    static char request[REQUEST_BYTES];
    ssize_t n = recv(fd, request, sizeof request - 1, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        close(fd);
        return;
    }
    request[n] = '\0';
    if (is_control[fd])
        relay(fd, request, (size_t)n);
    else
        park(fd);
}

static void run(int public, int control) {
    struct epoll_event events[MAX_EVENTS];
    while (!stopped) {
        /* Not forever: a signal may come between the look at `stopped` and the wait. */
        int n = epoll_wait(epoll, events, MAX_EVENTS, 1000);
        if (n < 0 && errno != EINTR)
            fail("epoll_wait");
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == public || fd == control)
                accept_all(fd, fd == control);
            else
                receive(fd);
        }
    }
}

int main(int n_arguments, char **arguments) {
    if (n_arguments != 3) {
        fputs(USAGE, stderr);
        return 2;
    }
    int public_port = (int)whole_number("PUBLIC", arguments[1], 0, 65535);
    int control_port = (int)whole_number("CONTROL", arguments[2], 0, 65535);
    prepare_process();
    signal(SIGTERM, on_stop);
    signal(SIGINT, on_stop);
    int public = listen_on_loopback(public_port), control = listen_on_loopback(control_port);
    epoll = new_epoll();
    watch(epoll, public, EPOLLIN);
    watch(epoll, control, EPOLLIN);
    printf("READY public=%d control=%d\n", port_of(public), port_of(control));
    run(public, control);
    printf("RELAY requests=%" PRIu64 " written=%" PRIu64 " failed=%" PRIu64 "\n", count.requests,
           count.written, count.failed);
    return 0;
}
