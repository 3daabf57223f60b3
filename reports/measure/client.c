/* The lower limit for a load tool: one thread and one epoll that open endless HTTP responses, and
 * count the messages in them by the marker of the payload (common.h). How a server frames or
 * numbers its messages does not matter to it. */
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
    "client -p PORT -n N [flags]   one-thread epoll client for endless HTTP responses\n"
    " -h IP        server address (127.0.0.1)\n"
    " -p PORT      server port\n"
    " -P PATTERN   path; every {id} is replaced by the id (/test/{id})\n"
    " -H HEADER    extra request header line, repeatable\n"
    " -n N         connections\n"
    " -i FIRST     id of the first connection (1)\n"
    " -F           all connections use id FIRST; a FANOUT line for each message received by all N\n"
    " -E           the same lines, though each connection has an id of its own\n"
    " -r RATE      connects per second, 0 = as fast as -c allows (0)\n"
    " -c CAP       connects in flight, i.e. without response header yet (100)\n"
    " -s IP        source address (repeatable, round robin: 127.0.0.2 ... for >28k connections)\n"
    " -d SEC       stop after SEC seconds from start (0 = until SIGTERM/SIGINT)\n"
    " -R           raw: no HTTP request/header; connection counts as open once connected\n"
    " -q           no line per second\n"
    "SIGUSR1: print a MARK line with totals since start and reset the latency histogram\n"
    "Lines: t conn(established) hdr(header received) closed fail non200 msgs(total) MB\n"
    "       cpu(total s) lat p50/p99/max us (since last MARK) msgps(message/s)\n";

#define MAX_SOURCES 256
#define MAX_EVENTS 1024
#define REQUEST_BYTES 4096
#define RECEIVE_BYTES 65536

/* Messages of which not every connection has a copy yet, by the low bits of their number. An
 * older one that is still incomplete when its place is needed gets no FANOUT line. */
#define N_FANOUTS 4096

enum connection_state {
    CONNECTING,
    HEAD_BEGIN, /* nothing of the response was read */
    HEAD,
    BODY,
    CLOSED,
};

/* How much of a marker was read. Messages may be cut anywhere between two reads. */
enum marker_state {
    NO_MARKER,
    TILDE,    /* a `~`, which should be followed by `T` */
    STAMP,    /* within the digits of the stamp */
    POINT,    /* the stamp is complete, a `.` should follow */
    SEQUENCE, /* within the digits of the number */
};

struct connection {
    int fd;
    uint8_t state;
    uint8_t marker;
    uint8_t n_digits;   /* of the stamp or number that is being read */
    uint8_t n_head_end; /* bytes of the empty line that ends the head */
    uint64_t stamp_ns;
    uint32_t sequence;
};

struct fanout {
    uint64_t stamp_ns; /* 0: the place is free */
    uint64_t first_ns;
    uint32_t sequence;
    int n_received;
};

static struct {
    const char *host;
    const char *pattern;
    char headers[2048];
    struct sockaddr_in server;
    struct sockaddr_in sources[MAX_SOURCES];
    int n_sources;
    int port;
    int n_connections;
    uint32_t first_id;
    int cap;
    double rate;
    double seconds;
    bool fan;
    bool each; /* with an id of its own */
    bool raw;
    bool quiet;
} options = {.host = "127.0.0.1", .pattern = "/test/{id}", .first_id = 1, .cap = 100};

static struct {
    int attempted;
    int in_flight; /* attempted, neither failed nor with a response head */
    int connected;
    int heads;
    int closed;
    int failed;
    int not_200;
    uint64_t messages;
    uint64_t bytes;
} count;

static struct connection *connections;
static struct histogram latency;
static struct fanout fanouts[N_FANOUTS];
static int epoll;
static uint64_t began_ns;
static uint64_t first_connect_ns;
static uint64_t last_head_ns;
static char last_error[128];

static volatile sig_atomic_t stopped;
static volatile sig_atomic_t marked;

static void on_stop(int signal) {
    (void)signal;
    stopped = 1;
}

static void on_mark(int signal) {
    (void)signal;
    marked = 1;
}

static void note_error(const char *what, int error) {
    snprintf(last_error, sizeof last_error, "%s: %s", what, strerror(error));
}

static void close_connection(struct connection *connection) {
    if (connection->state < BODY)
        count.in_flight--;
    if (connection->state == CONNECTING)
        count.failed++;
    else
        count.closed++;
    close(connection->fd);
    connection->fd = -1;
    connection->state = CLOSED;
}

/* -- Messages ------------------------------------------------------------------------------- */

static void count_fanout(const struct connection *connection, uint64_t now) {
    struct fanout *fanout = &fanouts[connection->sequence % N_FANOUTS];
    bool is_same =
        fanout->sequence == connection->sequence && fanout->stamp_ns == connection->stamp_ns;
    if (!is_same) {
        *fanout = (struct fanout){
            .stamp_ns = connection->stamp_ns,
            .first_ns = now,
            .sequence = connection->sequence,
        };
    }
    if (++fanout->n_received < options.n_connections)
        return;
    printf("FANOUT seq=%u n=%d first_us=%.1f last_us=%.1f\n", fanout->sequence,
           fanout->n_received, (double)(fanout->first_ns - fanout->stamp_ns) / 1e3,
           (double)(now - fanout->stamp_ns) / 1e3);
    *fanout = (struct fanout){0};
}

static void count_message(const struct connection *connection) {
    uint64_t now = now_ns();
    count.messages++;
    record(&latency, now > connection->stamp_ns ? now - connection->stamp_ns : 0);
    if (options.fan)
        count_fanout(connection, now);
}

static inline int hex_digit(char character) {
    if (character >= '0' && character <= '9')
        return character - '0';
    if (character >= 'a' && character <= 'f')
        return character - 'a' + 10;
    return -1;
}

/* Reads digits of a number that may have begun in an earlier read. What is no digit ends the
 * marker, and is looked at again: it may be the `~` of the next one. */
static inline const char *read_digits(struct connection *connection, const char *at,
                                      const char *end, int n_wanted, uint64_t *value) {
    while (at < end && connection->n_digits < n_wanted) {
        int digit = hex_digit(*at);
        if (digit < 0) {
            connection->marker = NO_MARKER;
            return at;
        }
        *value = *value << 4 | (uint64_t)digit;
        connection->n_digits++;
        at++;
    }
    return at;
}

static inline const char *read_stamp(struct connection *connection, const char *at,
                                     const char *end) {
    at = read_digits(connection, at, end, STAMP_DIGITS, &connection->stamp_ns);
    if (connection->marker == STAMP && connection->n_digits == STAMP_DIGITS)
        connection->marker = POINT;
    return at;
}

static inline const char *read_sequence(struct connection *connection, const char *at,
                                        const char *end) {
    uint64_t sequence = connection->sequence;
    at = read_digits(connection, at, end, SEQUENCE_DIGITS, &sequence);
    connection->sequence = (uint32_t)sequence;
    if (connection->marker == SEQUENCE && connection->n_digits == SEQUENCE_DIGITS) {
        connection->marker = NO_MARKER;
        count_message(connection);
    }
    return at;
}

static void read_body(struct connection *connection, const char *at, const char *end) {
    while (at < end) {
        switch ((enum marker_state)connection->marker) {
        case NO_MARKER:
            at = memchr(at, '~', (size_t)(end - at));
            if (at == NULL)
                return;
            at++;
            connection->marker = TILDE;
            break;
        case TILDE:
            if (*at != 'T') {
                connection->marker = NO_MARKER;
                break;
            }
            at++;
            connection->marker = STAMP;
            connection->n_digits = 0;
            connection->stamp_ns = 0;
            break;
        case STAMP:
            at = read_stamp(connection, at, end);
            break;
        case POINT:
            if (*at != '.') {
                connection->marker = NO_MARKER;
                break;
            }
            at++;
            connection->marker = SEQUENCE;
            connection->n_digits = 0;
            connection->sequence = 0;
            break;
        case SEQUENCE:
            at = read_sequence(connection, at, end);
            break;
        }
    }
}

/* -- Responses ------------------------------------------------------------------------------ */

static void begin_body(struct connection *connection) {
    connection->state = BODY;
    count.heads++;
    count.in_flight--;
    last_head_ns = now_ns();
}

/* Reads until the empty line that ends the head, and returns where the body begins. */
static const char *read_head(struct connection *connection, const char *at, const char *end) {
    static const char HEAD_END[] = "\r\n\r\n";
    if (connection->state == HEAD_BEGIN) {
        connection->state = HEAD;
        /* `HTTP/1.1 200`; a head of which less came in one piece is taken for a good one. */
        if (end - at >= 12 && memcmp(at + 9, "200", 3) != 0)
            count.not_200++;
    }
    while (at < end) {
        char character = *at++;
        if (character != HEAD_END[connection->n_head_end]) {
            connection->n_head_end = character == '\r';
        } else if (++connection->n_head_end == 4) {
            begin_body(connection);
            break;
        }
    }
    return at;
}

static void receive(struct connection *connection) {
    static char buffer[RECEIVE_BYTES];
    ssize_t n = recv(connection->fd, buffer, sizeof buffer, 0);
    if (n < 0) {
        if (errno == EAGAIN || errno == EINTR)
            return;
        note_error("recv", errno);
        close_connection(connection);
        return;
    }
    if (n == 0) {
        snprintf(last_error, sizeof last_error, "eof");
        close_connection(connection);
        return;
    }
    count.bytes += (uint64_t)n;
    const char *at = buffer, *end = buffer + n;
    if (connection->state < BODY)
        at = read_head(connection, at, end);
    read_body(connection, at, end);
}

/* -- Requests ------------------------------------------------------------------------------- */

static uint32_t id_of(int index) {
    return options.fan && !options.each ? options.first_id : options.first_id + (uint32_t)index;
}

/* Writes the path of an id, and returns its length; -1 if there is no room for it. */
static int write_path(char *path, int n_room, uint32_t id) {
    int length = 0;
    for (const char *at = options.pattern; *at != '\0';) {
        if (n_room - length < 12) /* of an id and the end */
            return -1;
        if (strncmp(at, "{id}", 4) == 0) {
            length += sprintf(path + length, "%u", id);
            at += 4;
        } else {
            path[length++] = *at++;
        }
    }
    path[length] = '\0';
    return length;
}

/* Writes the request for an id, and returns its length. */
static int write_request(char *request, uint32_t id) {
    char path[REQUEST_BYTES];
    if (write_path(path, sizeof path, id) < 0)
        refuse("-P is too long: the path of id %u has more than %d bytes", id, REQUEST_BYTES);
    int length = snprintf(request, REQUEST_BYTES, "GET %s HTTP/1.1\r\nHost: %s:%d\r\n%s\r\n", path,
                          options.host, options.port, options.headers);
    if (length >= REQUEST_BYTES)
        refuse("-P and -H are too long: a request has more than %d bytes", REQUEST_BYTES);
    return length;
}

static void send_request(struct connection *connection) {
    char request[REQUEST_BYTES];
    int length = write_request(request, id_of((int)(connection - connections)));
    connection->state = HEAD_BEGIN;
    ssize_t n = write(connection->fd, request, (size_t)length);
    if (n == length)
        return;
    note_error("write", n < 0 ? errno : EAGAIN);
    close_connection(connection);
}

/* -- Connections ---------------------------------------------------------------------------- */

static int bind_source(int fd, int index) {
    if (options.n_sources == 0)
        return 0;
    /* The port is chosen by connect, which knows the destination; a bind that chose it would run
     * out of ports at 28,000 connections, however many destinations there are. */
    int on = 1;
    if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on) < 0)
        return -1;
    const struct sockaddr_in *source = &options.sources[index % options.n_sources];
    return bind(fd, (const struct sockaddr *)source, sizeof *source);
}

static void open_next(void) {
    int index = count.attempted++;
    struct connection *connection = &connections[index];
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connection->fd < 0) {
        note_error("socket", errno);
        connection->state = CLOSED;
        count.failed++;
        return;
    }
    count.in_flight++;
    if (first_connect_ns == 0)
        first_connect_ns = now_ns();
    if (bind_source(connection->fd, index) < 0) {
        note_error("bind", errno);
        close_connection(connection);
        return;
    }
    const struct sockaddr *server = (const struct sockaddr *)&options.server;
    if (connect(connection->fd, server, sizeof options.server) < 0 && errno != EINPROGRESS) {
        note_error("connect", errno);
        close_connection(connection);
        return;
    }
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP,
                                .data.ptr = connection};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, connection->fd, &event) < 0)
        fail("epoll_ctl");
}

static bool is_free_to_open(void) {
    return count.attempted < options.n_connections && count.in_flight < options.cap;
}

static void open_what_is_due(uint64_t now) {
    double due = (double)(now - began_ns) / 1e9 * options.rate;
    while (is_free_to_open() && (options.rate == 0 || count.attempted < due))
        open_next();
}

static void finish_connect(struct connection *connection) {
    int error = 0;
    socklen_t length = sizeof error;
    if (getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
        error = errno;
    if (error != 0) {
        note_error("connect", error);
        close_connection(connection);
        return;
    }
    count.connected++;
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.ptr = connection};
    if (epoll_ctl(epoll, EPOLL_CTL_MOD, connection->fd, &event) < 0)
        fail("epoll_ctl");
    if (options.raw)
        begin_body(connection);
    else
        send_request(connection);
}

static void handle(struct connection *connection, uint32_t events) {
    if (connection->state == CONNECTING) {
        if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
            finish_connect(connection);
    } else if (connection->state != CLOSED) {
        receive(connection);
    }
}

/* -- Reports -------------------------------------------------------------------------------- */

static void print_totals(const char *name) {
    printf("%s t=%.2f conn=%d hdr=%d closed=%d fail=%d non200=%d msgs=%" PRIu64
           " MB=%.2f cpu=%.3f lat_us p50=%.1f p99=%.1f max=%.1f n=%" PRIu64,
           name, seconds_since(began_ns), count.connected, count.heads, count.closed, count.failed,
           count.not_200, count.messages, (double)count.bytes / 1e6, cpu_seconds(),
           quantile(&latency, .5) / 1e3, quantile(&latency, .99) / 1e3, (double)latency.max / 1e3,
           latency.count);
}

/* Once every connection has its response head or has failed. */
static void print_opened(void) {
    double seconds = 0;
    if (count.heads > 0)
        seconds = (double)(last_head_ns - first_connect_ns) / 1e9;
    printf("OPENED n=%d hdr=%d fail=%d closed=%d secs=%.3f conn_per_s=%.0f cpu=%.3f\n",
           options.n_connections, count.heads, count.failed, count.closed, seconds,
           seconds > 0 ? count.heads / seconds : 0, cpu_seconds());
}

static void print_mark(void) {
    print_totals("MARK");
    printf(" ns=%" PRIu64 "\n", now_ns());
    memset(&latency, 0, sizeof latency);
}

static void print_second(uint64_t now) {
    static uint64_t due_ns, messages_before;
    if (due_ns == 0)
        due_ns = began_ns + NS_PER_SECOND;
    if (now < due_ns)
        return;
    if (!options.quiet) {
        double seconds = (double)(now - due_ns) / 1e9 + 1;
        print_totals("SEC");
        printf(" msgps=%.0f %s\n", (double)(count.messages - messages_before) / seconds,
               last_error);
    }
    messages_before = count.messages;
    due_ns = now + NS_PER_SECOND;
}

static void report(void) {
    static bool opened;
    if (!opened && count.attempted == options.n_connections && count.in_flight == 0) {
        opened = true;
        print_opened();
    }
    if (marked) {
        marked = 0;
        print_mark();
    }
    print_second(now_ns());
}

/* -- The program ---------------------------------------------------------------------------- */

static void add_header(const char *header) {
    size_t n_used = strlen(options.headers), n_room = sizeof options.headers - n_used;
    int n = snprintf(options.headers + n_used, n_room, "%s\r\n", header);
    if ((size_t)n >= n_room)
        refuse("-H: all headers together have more than %zu bytes", sizeof options.headers);
}

static void add_source(const char *ip) {
    if (options.n_sources == MAX_SOURCES)
        refuse("-s: more than %d source addresses", MAX_SOURCES);
    options.sources[options.n_sources++] = address_of("-s", ip, 0);
}

static void read_flag(int flag, const char *value) {
    switch (flag) {
    case 'h': options.host = value; break;
    case 'p': options.port = (int)whole_number("-p", value, 1, 65535); break;
    case 'P': options.pattern = value; break;
    case 'H': add_header(value); break;
    case 'n': options.n_connections = (int)whole_number("-n", value, 1, 10000000); break;
    case 'i': options.first_id = (uint32_t)whole_number("-i", value, 0, 4000000000); break;
    case 'F': options.fan = true; break;
    case 'E': options.fan = options.each = true; break;
    case 'r': options.rate = decimal_number("-r", value, 0); break;
    case 'c': options.cap = (int)whole_number("-c", value, 1, 10000000); break;
    case 's': add_source(value); break;
    case 'd': options.seconds = decimal_number("-d", value, 0); break;
    case 'R': options.raw = true; break;
    case 'q': options.quiet = true; break;
    default: fputs(USAGE, stderr); exit(2);
    }
}

static void read_flags(int n_arguments, char **arguments) {
    int flag;
    while ((flag = getopt(n_arguments, arguments, "h:p:P:H:n:i:FEr:c:s:d:Rq")) != -1)
        read_flag(flag, optarg);
    if (options.port == 0 || options.n_connections == 0 || optind != n_arguments) {
        fputs(USAGE, stderr);
        exit(2);
    }
    options.server = address_of("-h", options.host, options.port);
    /* The longest request, so that one that is too long is refused before the first connect. */
    char request[REQUEST_BYTES];
    write_request(request, id_of(options.n_connections - 1));
}

static bool is_over(uint64_t now) {
    return options.seconds > 0 && (double)(now - began_ns) / 1e9 >= options.seconds;
}

static void run(void) {
    struct epoll_event events[MAX_EVENTS];
    while (!stopped) {
        uint64_t now = now_ns();
        if (is_over(now))
            break;
        open_what_is_due(now);
        int timeout_ms = is_free_to_open() ? 1 : 100;
        int n = epoll_wait(epoll, events, MAX_EVENTS, timeout_ms);
        if (n < 0 && errno != EINTR)
            fail("epoll_wait");
        for (int i = 0; i < n; i++)
            handle(events[i].data.ptr, events[i].events);
        report();
    }
}

int main(int n_arguments, char **arguments) {
    read_flags(n_arguments, arguments);
    prepare_process();
    signal(SIGTERM, on_stop);
    signal(SIGINT, on_stop);
    signal(SIGUSR1, on_mark);
    connections = calloc((size_t)options.n_connections, sizeof *connections);
    if (connections == NULL)
        fail("memory for the connections");
    epoll = new_epoll();
    began_ns = now_ns();
    run();
    print_totals("FINAL");
    printf(" %s\n", last_error);
    return 0;
}
