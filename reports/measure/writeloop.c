/* The lower limit for a server: one thread that accepts connections, answers each request with a
 * chunked response head, and then, when a line on stdin says so, writes chunks in one loop, with
 * nothing to look up and nobody to ask it. The end of stdin ends it. */
#include "common.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static const char USAGE[] =
    "writeloop PORT   answers GET with an endless chunked response, on 127.0.0.1 (0: any port)\n"
    "Lines on stdin:\n"
    " flat SEC        chunks to random connections for SEC seconds, as fast as they are taken\n"
    " fan COUNT       COUNT times, a second apart, one chunk to every connection\n"
    " rate R SEC      R chunks a second to random connections for SEC seconds\n"
    " quit            ends it, as the end of stdin does\n";

#define MAX_CONNECTIONS 1000000
#define MAX_EVENTS 1024
#define LINE_BYTES 4096
#define PAYLOAD_BYTES 54
#define FLAT_BURST 256 /* writes between two looks at the clock */

/* A chunk is 60 bytes: the size in hex, the payload, and the line ends of both. */
static char chunk[] = "36\r\n......................................................\r\n";
#define CHUNK_BYTES (sizeof chunk - 1)
_Static_assert(CHUNK_BYTES == 4 + PAYLOAD_BYTES + 2 && PAYLOAD_BYTES == 0x36, "chunk");

static const char HEAD[] =
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/html\r\n\r\n";

static int *connections;
static int n_connections;
static int epoll;
static uint32_t sequence;
static uint64_t random_state = 88172645463325252ull;
static bool failure_said;

/* -- Chunks --------------------------------------------------------------------------------- */

static void prepare_chunk(void) {
    char payload[PAYLOAD_BYTES + 1];
    payload_begin(payload, PAYLOAD_BYTES);
    memcpy(chunk + 4, payload, PAYLOAD_BYTES);
}

static void stamp_chunk(void) {
    payload_stamp(chunk + 4, now_ns(), sequence++);
}

static bool write_chunk(int fd) {
    return write(fd, chunk, CHUNK_BYTES) == (ssize_t)CHUNK_BYTES;
}

static int random_connection(void) {
    return connections[(next_random(&random_state) >> 16) % (uint64_t)n_connections];
}

/* Reports only the first write that failed: thousands of lines would slow down what is measured.
 * Called right after the write, because of errno. */
static void say_failure(void) {
    if (!failure_said)
        perror("writeloop: write");
    failure_said = true;
}

/* -- Commands ------------------------------------------------------------------------------- */

static void flat(double seconds) {
    uint64_t n_written = 0, n_refused = 0, began_ns = now_ns();
    struct cpu_time before = cpu_time();
    do {
        for (int i = 0; i < FLAT_BURST; i++) {
            stamp_chunk();
            if (write_chunk(random_connection()))
                n_written++;
            else
                n_refused++;
        }
    } while (seconds_since(began_ns) < seconds);
    double elapsed = seconds_since(began_ns);
    struct cpu_time after = cpu_time();
    double user = after.user - before.user, system = after.system - before.system;
    printf("FLOOR writes=%" PRIu64 " eagain=%" PRIu64 " secs=%.2f per_s=%.0f cpu=%.2f"
           " us_cpu_per_write=%.3f user=%.2f sys=%.2f\n",
           n_written, n_refused, elapsed, (double)n_written / elapsed, user + system,
           n_written > 0 ? (user + system) / (double)n_written * 1e6 : 0, user, system);
}

static void fan(int n_times) {
    for (int i = 0; i < n_times; i++) {
        /* Numbers from 1: all connections get the same chunk, stamped before the first write. */
        payload_stamp(chunk + 4, now_ns(), ++sequence);
        uint64_t began_ns = now_ns();
        for (int k = 0; k < n_connections; k++) {
            if (!write_chunk(connections[k]))
                say_failure();
        }
        printf("FAN write_us=%.0f\n", (double)(now_ns() - began_ns) / 1e3);
        sleep(1);
    }
}

static void rate(double per_second, double seconds) {
    uint64_t n_written = 0, began_ns = now_ns();
    double cpu_before = cpu_seconds(), elapsed;
    while ((elapsed = seconds_since(began_ns)) < seconds) {
        while ((double)n_written < elapsed * per_second) {
            stamp_chunk();
            if (!write_chunk(random_connection()))
                say_failure();
            n_written++;
        }
        usleep(1000);
    }
    printf("RATE writes=%" PRIu64 " cpu_per_s=%.4f\n", n_written,
           (cpu_seconds() - cpu_before) / seconds);
}

static void carry_out(const char *line) {
    double seconds, per_second;
    int n_times;
    if (*line == '\0')
        return;
    if (strcmp(line, "quit") == 0)
        exit(0);
    if (n_connections == 0) {
        fprintf(stderr, "writeloop: \"%s\": nobody is connected\n", line);
    } else if (sscanf(line, "flat %lf", &seconds) == 1) {
        flat(seconds);
    } else if (sscanf(line, "fan %d", &n_times) == 1) {
        fan(n_times);
    } else if (sscanf(line, "rate %lf %lf", &per_second, &seconds) == 2) {
        rate(per_second, seconds);
    } else {
        fprintf(stderr, "writeloop: \"%s\" is no command\n%s", line, USAGE);
    }
}

/* Carries out the lines that stdin has, and keeps the beginning of one that is not complete. */
static void read_commands(void) {
    static char text[LINE_BYTES];
    static size_t n_text;
    ssize_t n = read(STDIN_FILENO, text + n_text, sizeof text - 1 - n_text);
    if (n < 0)
        fail("stdin");
    n_text += (size_t)n;
    text[n_text] = '\0';
    char *line = text, *end;
    while ((end = strchr(line, '\n')) != NULL) {
        *end = '\0';
        carry_out(line);
        line = end + 1;
    }
    if (n == 0) {
        carry_out(line);
        exit(0);
    }
    n_text = strlen(line);
    memmove(text, line, n_text + 1);
}

/* -- Connections ---------------------------------------------------------------------------- */

static void accept_all(int listener) {
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (n_connections == MAX_CONNECTIONS) {
            close(fd);
            continue;
        }
        watch(epoll, fd, EPOLLIN);
        connections[n_connections++] = fd;
    }
    if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
        fail("accept");
}

/* The number of a closed descriptor is given to the next connection: it must leave the list. */
static void forget(int fd) {
    close(fd);
    for (int i = 0; i < n_connections; i++) {
        if (connections[i] == fd) {
            connections[i] = connections[--n_connections];
            return;
        }
    }
}

/* Whatever came is taken for a request. */
static void answer(int fd) {
    char request[LINE_BYTES];
    ssize_t n = read(fd, request, sizeof request);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0)
        forget(fd);
    else if (write(fd, HEAD, sizeof HEAD - 1) < 0)
        say_failure();
}

static void watch_stdin(void) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = STDIN_FILENO};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event) < 0)
        fail("stdin, which must be a pipe or a terminal");
}

static _Noreturn void run(int listener) {
    struct epoll_event events[MAX_EVENTS];
    for (;;) {
        int n = epoll_wait(epoll, events, MAX_EVENTS, -1);
        if (n < 0 && errno != EINTR)
            fail("epoll_wait");
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listener)
                accept_all(listener);
            else if (fd == STDIN_FILENO)
                read_commands();
            else
                answer(fd);
        }
    }
}

int main(int n_arguments, char **arguments) {
    if (n_arguments != 2) {
        fputs(USAGE, stderr);
        return 2;
    }
    int port = (int)whole_number("PORT", arguments[1], 0, 65535);
    prepare_process();
    prepare_chunk();
    connections = malloc(MAX_CONNECTIONS * sizeof *connections);
    if (connections == NULL)
        fail("memory for the connections");
    epoll = new_epoll();
    int listener = listen_on_loopback(port);
    watch(epoll, listener, EPOLLIN);
    watch_stdin();
    printf("READY port=%d\n", port_of(listener));
    run(listener);
}
