/* The lower limit for a sender: one thread and one epoll that publish through a server's own HTTP
 * interface over keep-alive connections, at a rate or as fast as it answers; or plain lines. */
#include "common.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static const char USAGE[] =
    "publisher -p PORT -n IDS [flags]   one-thread epoll publisher\n"
    " -h IP -p PORT    publish address\n"
    " -m METHOD        GET or POST (POST)\n"
    " -P PATH          template, {id} and {msg} are replaced (/pub/{id})\n"
    " -B BODY          body template ({msg}); \\n is a newline; ignored for GET\n"
    " -H HEADER        extra header line, repeatable\n"
    " -n IDS -i FIRST  ids uniform at random in FIRST..FIRST+IDS-1 (1, 1); -n 1 = always FIRST\n"
    " -S               sequential ids instead of random\n"
    " -r RATE          messages/s, open loop; 0 = flat out, closed loop (0)\n"
    " -c CONNS         keep-alive connections (16)\n"
    " -D DEPTH         requests in flight per connection, pipelined when >1 (1)\n"
    " -R               raw: only the body template is written (e.g. '{id} {msg}\\n'), and no\n"
    "                  answer is awaited\n"
    " -b BYTES         payload size, >=27 (54)\n"
    " -d SEC           duration (10)\n"
    " -N COUNT         stop after COUNT messages, when they are answered\n"
    "Payload: ~T<16 hex CLOCK_MONOTONIC ns>.<8 hex seq><padding>\n"
    "PUB: sent acked errors(status not 2xx) late(turns of the loop that left a due message\n"
    "     unsent, for want of a free connection) ack latency, with -r from when it was due\n";

#define MAX_EVENTS 256
#define PAYLOAD_BYTES_MAX 2000
#define MESSAGE_BYTES 8192 /* of a request or line, with its body */
#define ANSWER_BYTES 8192
#define MAX_PIECES 16

/* In raw mode, messages are collected until a connection has this much to write. */
#define RAW_FULL_BYTES 65536
#define RAW_BURST 256

/* A template, cut at its placeholders. */
enum piece_kind { LITERAL, ID, PAYLOAD };

struct piece {
    enum piece_kind kind;
    const char *text; /* of a literal */
    size_t n_text;
};

struct template {
    struct piece pieces[MAX_PIECES];
    int n_pieces;
};

struct connection {
    int fd;
    int in_flight;       /* requests without an answer */
    uint64_t *due_ns;    /* of each of them: a ring of -D places */
    int oldest, next;    /* places in the ring */
    char *out;           /* what is to be written */
    size_t n_out, n_out_done;
    bool awaits_room;    /* the socket took no more: epoll says when it does */
    size_t n_in;
    char in[ANSWER_BYTES];
};

static struct {
    const char *host;
    const char *method;
    const char *path;
    const char *body;
    char headers[1024];
    int port;
    int n_ids;
    uint32_t first_id;
    bool sequential;
    double rate;
    int n_connections;
    int depth;
    bool raw;
    int n_payload;
    double seconds;
    uint64_t limit; /* messages; 0: none */
} options = {
    .host = "127.0.0.1",
    .method = "POST",
    .path = "/pub/{id}",
    .body = "{msg}",
    .n_ids = 1,
    .first_id = 1,
    .n_connections = 16,
    .depth = 1,
    .n_payload = 54,
    .seconds = 10,
};

static struct {
    uint64_t sent;
    uint64_t acked;
    uint64_t errors;
    uint64_t late;
} count;

static struct connection *connections;
static struct template path_template, body_template;
static char fields[1500]; /* what follows the path: the same for all requests */
static size_t n_fields;
static bool has_body;
static char payload[PAYLOAD_BYTES_MAX + 1];
static struct histogram ack_latency;
static char last_error[256];
static uint64_t began_ns;
static int epoll;

static volatile sig_atomic_t stopped;

static void on_stop(int signal) {
    (void)signal;
    stopped = 1;
}

/* -- Messages ------------------------------------------------------------------------------- */

static void add_piece(struct template *template, const char *flag, struct piece piece) {
    if (piece.kind == LITERAL && piece.n_text == 0)
        return;
    if (template->n_pieces == MAX_PIECES)
        refuse("%s has more than %d literals and placeholders", flag, MAX_PIECES);
    template->pieces[template->n_pieces++] = piece;
}

/* Cuts a text at {id}, {msg} and \n, so that no message has to search it again. */
static struct template parse_template(const char *flag, const char *text) {
    static const struct {
        const char *name;
        struct piece piece;
    } placeholders[] = {
        {"{id}", {.kind = ID}},
        {"{msg}", {.kind = PAYLOAD}},
        {"\\n", {.kind = LITERAL, .text = "\n", .n_text = 1}},
    };
    struct template template = {.n_pieces = 0};
    const char *literal = text, *at = text;
    while (*at != '\0') {
        size_t n_name = 0;
        for (size_t i = 0; i < sizeof placeholders / sizeof *placeholders; i++) {
            const char *name = placeholders[i].name;
            if (strncmp(at, name, strlen(name)) != 0)
                continue;
            struct piece before = {.text = literal, .n_text = (size_t)(at - literal)};
            add_piece(&template, flag, before);
            add_piece(&template, flag, placeholders[i].piece);
            n_name = strlen(name);
            break;
        }
        at += n_name > 0 ? n_name : 1;
        if (n_name > 0)
            literal = at;
    }
    add_piece(&template, flag, (struct piece){.text = literal, .n_text = (size_t)(at - literal)});
    return template;
}

struct text {
    const char *bytes;
    size_t n_bytes;
};

static struct text piece_text(const struct piece *piece, struct text id) {
    switch (piece->kind) {
    case ID: return id;
    case PAYLOAD: return (struct text){payload, (size_t)options.n_payload};
    default: return (struct text){piece->text, piece->n_text};
    }
}

static size_t template_bytes(const struct template *template, struct text id) {
    size_t n = 0;
    for (int i = 0; i < template->n_pieces; i++)
        n += piece_text(&template->pieces[i], id).n_bytes;
    return n;
}

static char *put(char *to, const char *bytes, size_t n_bytes) {
    memcpy(to, bytes, n_bytes);
    return to + n_bytes;
}

static char *put_template(char *to, const struct template *template, struct text id) {
    for (int i = 0; i < template->n_pieces; i++) {
        struct text text = piece_text(&template->pieces[i], id);
        to = put(to, text.bytes, text.n_bytes);
    }
    return to;
}

/* Writes a number in decimal so that it ends before `end`, and returns where it begins. */
static char *number_before(char *end, size_t number) {
    do {
        *--end = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    return end;
}

static char *put_request(char *to, struct text id) {
    to = put(to, options.method, strlen(options.method));
    *to++ = ' ';
    to = put_template(to, &path_template, id);
    to = put(to, fields, n_fields);
    if (has_body) {
        char digits[24], *end = digits + sizeof digits;
        char *begin = number_before(end, template_bytes(&body_template, id));
        to = put(to, begin, (size_t)(end - begin));
        to = put(to, "\r\n", 2);
    }
    to = put(to, "\r\n", 2);
    if (has_body)
        to = put_template(to, &body_template, id);
    return to;
}

/* Appends a message to an id to what a connection is to write. */
static void append_message(struct connection *connection, uint32_t id) {
    char digits[24], *end = digits + sizeof digits;
    char *begin = number_before(end, id);
    struct text text = {begin, (size_t)(end - begin)};
    char *to = connection->out + connection->n_out;
    to = options.raw ? put_template(to, &body_template, text) : put_request(to, text);
    connection->n_out = (size_t)(to - connection->out);
}

static void prepare_messages(void) {
    payload_begin(payload, options.n_payload);
    path_template = parse_template("-P", options.path);
    body_template = parse_template("-B", options.body);
    has_body = strcmp(options.method, "GET") != 0;
    int n = snprintf(fields, sizeof fields, " HTTP/1.1\r\nHost: %s\r\n%s%s", options.host,
                     options.headers, has_body ? "Content-Length: " : "");
    if ((size_t)n >= sizeof fields)
        refuse("-h and -H are too long: together more than %zu bytes", sizeof fields);
    n_fields = (size_t)n;
    /* The longest id there can be, and room for method, length and line ends. */
    struct text id = {"4294967295", 10};
    size_t n_message = strlen(options.method) + template_bytes(&path_template, id) + n_fields +
                       template_bytes(&body_template, id) + 32;
    if (n_message > MESSAGE_BYTES)
        refuse("-P, -H, -B and -b: a message has more than %d bytes", MESSAGE_BYTES);
}

static uint32_t next_id(void) {
    static uint64_t random_state;
    static uint32_t n_ids_given;
    uint32_t n_ids = (uint32_t)options.n_ids;
    if (options.sequential)
        return options.first_id + n_ids_given++ % n_ids;
    if (random_state == 0)
        random_state = 0x9E3779B97F4A7C15ull ^ now_ns();
    return options.first_id + (uint32_t)((next_random(&random_state) >> 16) % n_ids);
}

/* -- Connections ---------------------------------------------------------------------------- */

static _Noreturn void give_up(const char *reason) {
    fprintf(stderr,
            "publisher: publish connection closed: %s after sent=%" PRIu64 " acked=%" PRIu64
            " last=%s\n",
            reason, count.sent, count.acked, last_error);
    exit(1);
}

static void await_room(struct connection *connection, bool awaits) {
    if (connection->awaits_room == awaits)
        return;
    struct epoll_event event = {.events = EPOLLIN | (awaits ? EPOLLOUT : 0),
                                .data.ptr = connection};
    if (epoll_ctl(epoll, EPOLL_CTL_MOD, connection->fd, &event) < 0)
        fail("epoll_ctl");
    connection->awaits_room = awaits;
}

static void flush(struct connection *connection) {
    while (connection->n_out_done < connection->n_out) {
        ssize_t n = send(connection->fd, connection->out + connection->n_out_done,
                         connection->n_out - connection->n_out_done, 0);
        if (n < 0 && errno == EAGAIN) {
            await_room(connection, true);
            return;
        }
        if (n < 0)
            give_up(strerror(errno));
        connection->n_out_done += (size_t)n;
    }
    connection->n_out = connection->n_out_done = 0;
    await_room(connection, false);
}

/* Connected while blocking, so that all are there before the first message is due. */
static int connect_to(const struct sockaddr_in *address) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        fail("socket");
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) < 0)
        fail("connect");
    int on = 1;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0)
        fail("TCP_NODELAY");
    if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
        fail("O_NONBLOCK");
    return fd;
}

static void open_connections(void) {
    struct sockaddr_in address = address_of("-h", options.host, options.port);
    size_t n_out = options.raw ? RAW_FULL_BYTES + (size_t)RAW_BURST * MESSAGE_BYTES
                               : (size_t)options.depth * MESSAGE_BYTES;
    connections = calloc((size_t)options.n_connections, sizeof *connections);
    if (connections == NULL)
        fail("memory for the connections");
    for (int i = 0; i < options.n_connections; i++) {
        struct connection *connection = &connections[i];
        connection->fd = connect_to(&address);
        connection->due_ns = calloc((size_t)options.depth, sizeof *connection->due_ns);
        connection->out = malloc(n_out);
        if (connection->due_ns == NULL || connection->out == NULL)
            fail("memory for a connection");
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, connection->fd, &event) < 0)
            fail("epoll_ctl");
    }
}

/* -- Answers -------------------------------------------------------------------------------- */

struct answer {
    int status;
    size_t n_bytes; /* of head and body */
};

/* The value of a header field, if the line is one of that name. */
static const char *field_value(const char *line, const char *name) {
    size_t n_name = strlen(name);
    if (strncasecmp(line, name, n_name) != 0 || line[n_name] != ':')
        return NULL;
    line += n_name + 1;
    while (*line == ' ')
        line++;
    return line;
}

/* The length of a body that begins at `body`, of which `n_bytes` are there. False: not known yet,
 * because the last chunk has not come. */
static bool body_length(const char *head, const char *body, size_t n_bytes, size_t *length) {
    *length = 0;
    for (const char *line = strstr(head, "\r\n") + 2; line < body - 2;
         line = strstr(line, "\r\n") + 2) {
        const char *value = field_value(line, "content-length");
        if (value != NULL) {
            *length = strtoul(value, NULL, 10);
            return true;
        }
        value = field_value(line, "transfer-encoding");
        if (value == NULL || strncasecmp(value, "chunked", strlen("chunked")) != 0)
            continue;
        static const char LAST_CHUNK[] = "0\r\n\r\n";
        char *last = memmem(body, n_bytes, LAST_CHUNK, sizeof LAST_CHUNK - 1);
        if (last == NULL)
            return false;
        *length = (size_t)(last + sizeof LAST_CHUNK - 1 - body);
        return true;
    }
    return true;
}

/* Reads an answer from what was received, which ends with a NUL; false if it is not complete. */
static bool read_answer(const char *at, size_t n_bytes, struct answer *answer) {
    const char *head_end = memmem(at, n_bytes, "\r\n\r\n", 4);
    if (head_end == NULL)
        return false;
    const char *body = head_end + 4;
    size_t n_head = (size_t)(body - at), n_body;
    if (n_head < strlen("HTTP/1.1 200\r\n\r\n"))
        give_up("no HTTP answer");
    if (!body_length(at, body, n_bytes - n_head, &n_body) || n_head + n_body > n_bytes)
        return false;
    *answer = (struct answer){.status = atoi(at + strlen("HTTP/1.1 ")),
                              .n_bytes = n_head + n_body};
    return true;
}

static void count_answer(struct connection *connection, const char *at, struct answer answer) {
    if (connection->in_flight == 0)
        give_up("an answer that nobody asked for");
    count.acked++;
    if (answer.status < 200 || answer.status > 299) {
        count.errors++;
        int n = answer.n_bytes < 200 ? (int)answer.n_bytes : 200;
        snprintf(last_error, sizeof last_error, "%.*s", n, at);
    }
    record(&ack_latency, now_ns() - connection->due_ns[connection->oldest]);
    connection->oldest = (connection->oldest + 1) % options.depth;
    connection->in_flight--;
}

static void receive(struct connection *connection) {
    size_t n_room = sizeof connection->in - 1 - connection->n_in;
    if (n_room == 0)
        give_up("an answer is longer than 8191 bytes");
    ssize_t n = recv(connection->fd, connection->in + connection->n_in, n_room, 0);
    if (n == 0)
        give_up("eof");
    if (n < 0) {
        if (errno == EAGAIN || errno == EINTR)
            return;
        give_up(strerror(errno));
    }
    if (options.raw)
        return;
    connection->n_in += (size_t)n;
    connection->in[connection->n_in] = '\0';
    const char *at = connection->in;
    struct answer answer;
    while (read_answer(at, connection->n_in, &answer)) {
        count_answer(connection, at, answer);
        at += answer.n_bytes;
        connection->n_in -= answer.n_bytes;
    }
    memmove(connection->in, at, connection->n_in);
}

/* -- Sending -------------------------------------------------------------------------------- */

static uint64_t next_due_ns(void) {
    return began_ns + (uint64_t)((double)count.sent / options.rate * 1e9);
}

/* How many messages should have been sent by now. */
static uint64_t n_due(uint64_t now) {
    uint64_t due = UINT64_MAX;
    if (options.rate > 0)
        due = (uint64_t)((double)(now - began_ns) / 1e9 * options.rate) + 1;
    if (options.limit > 0 && due > options.limit)
        due = options.limit;
    return due;
}

static bool is_free(const struct connection *connection) {
    if (connection->awaits_room)
        return false;
    if (options.raw)
        return connection->n_out < RAW_FULL_BYTES;
    return connection->in_flight < options.depth;
}

/* At a rate one at a time, so that the connections share the messages; otherwise all it takes. */
static int burst_of(const struct connection *connection) {
    if (options.rate > 0)
        return 1;
    return options.raw ? RAW_BURST : options.depth - connection->in_flight;
}

static void send_burst(struct connection *connection, uint64_t due) {
    for (int n = burst_of(connection); n > 0 && count.sent < due; n--) {
        uint64_t now = now_ns();
        payload_stamp(payload, now, (uint32_t)count.sent);
        append_message(connection, next_id());
        if (!options.raw) {
            /* Counted from when the message was due: a stalled server also stalls this loop. */
            connection->due_ns[connection->next] = options.rate > 0 ? next_due_ns() : now;
            connection->next = (connection->next + 1) % options.depth;
            connection->in_flight++;
        }
        count.sent++;
    }
    flush(connection);
}

/* Gives each connection its turn, until nothing is due or none of them is free. */
static void send_what_is_due(uint64_t due) {
    static int turn;
    int n_busy = 0;
    while (count.sent < due && n_busy < options.n_connections) {
        struct connection *connection = &connections[turn];
        turn = (turn + 1) % options.n_connections;
        if (is_free(connection)) {
            n_busy = 0;
            send_burst(connection, due);
            continue;
        }
        n_busy++;
        if (options.raw && !connection->awaits_room)
            flush(connection);
    }
}

/* Milliseconds that epoll may wait. What is due within one millisecond is waited for here, as far
 * as the timer of the kernel is exact; the last 20 us pass in the loop. */
static int wait_ms(uint64_t due) {
    if (options.rate == 0)
        return options.raw ? 1 : 50;
    uint64_t next = next_due_ns(), now = now_ns();
    if (next <= now)
        return count.sent < due ? 1 : 0;
    uint64_t wait_ns = next - now;
    if (wait_ns > NS_PER_SECOND)
        return 1000;
    if (wait_ns > 1000000)
        return (int)(wait_ns / 1000000);
    if (wait_ns > 20000)
        nanosleep(&(struct timespec){.tv_nsec = (long)wait_ns}, NULL);
    return 0;
}

static bool is_all_written(void) {
    for (int i = 0; i < options.n_connections; i++) {
        if (connections[i].n_out > 0)
            return false;
    }
    return true;
}

static bool is_over(uint64_t now) {
    if ((double)(now - began_ns) / 1e9 >= options.seconds)
        return true;
    if (options.limit == 0 || count.sent < options.limit)
        return false;
    return options.raw ? is_all_written() : count.acked >= count.sent;
}

static void run(void) {
    struct epoll_event events[MAX_EVENTS];
    while (!stopped) {
        uint64_t now = now_ns();
        if (is_over(now))
            break;
        uint64_t due = n_due(now);
        send_what_is_due(due);
        if (options.rate > 0 && count.sent < due)
            count.late++;
        int n = epoll_wait(epoll, events, MAX_EVENTS, wait_ms(due));
        if (n < 0 && errno != EINTR)
            fail("epoll_wait");
        for (int i = 0; i < n; i++) {
            if (events[i].events & EPOLLOUT)
                flush(events[i].data.ptr);
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                receive(events[i].data.ptr);
        }
    }
}

/* -- The program ---------------------------------------------------------------------------- */

static void add_header(const char *header) {
    size_t n_used = strlen(options.headers), n_room = sizeof options.headers - n_used;
    int n = snprintf(options.headers + n_used, n_room, "%s\r\n", header);
    if ((size_t)n >= n_room)
        refuse("-H: all headers together have more than %zu bytes", sizeof options.headers);
}

static void read_flag(int flag, const char *value) {
    switch (flag) {
    case 'h': options.host = value; break;
    case 'p': options.port = (int)whole_number("-p", value, 1, 65535); break;
    case 'm': options.method = value; break;
    case 'P': options.path = value; break;
    case 'B': options.body = value; break;
    case 'H': add_header(value); break;
    case 'n': options.n_ids = (int)whole_number("-n", value, 1, 1000000000); break;
    case 'i': options.first_id = (uint32_t)whole_number("-i", value, 0, 3000000000); break;
    case 'S': options.sequential = true; break;
    case 'r': options.rate = decimal_number("-r", value, 0); break;
    case 'c': options.n_connections = (int)whole_number("-c", value, 1, 100000); break;
    case 'D': options.depth = (int)whole_number("-D", value, 1, 10000); break;
    case 'R': options.raw = true; break;
    case 'b':
        options.n_payload = (int)whole_number("-b", value, PAYLOAD_BYTES_MIN, PAYLOAD_BYTES_MAX);
        break;
    case 'd': options.seconds = decimal_number("-d", value, 0); break;
    case 'N': options.limit = (uint64_t)whole_number("-N", value, 1, INT64_MAX); break;
    default: fputs(USAGE, stderr); exit(2);
    }
}

static void read_flags(int n_arguments, char **arguments) {
    int flag;
    while ((flag = getopt(n_arguments, arguments, "h:p:m:P:B:H:n:i:Sr:c:D:Rb:d:N:")) != -1)
        read_flag(flag, optarg);
    if (options.port == 0 || optind != n_arguments) {
        fputs(USAGE, stderr);
        exit(2);
    }
}

static void print_result(void) {
    double seconds = seconds_since(began_ns);
    printf("PUB sent=%" PRIu64 " acked=%" PRIu64 " errors=%" PRIu64 " late=%" PRIu64
           " secs=%.3f sent_per_s=%.0f acked_per_s=%.0f cpu=%.3f"
           " ack_us p50=%.1f p99=%.1f max=%.1f %s\n",
           count.sent, count.acked, count.errors, count.late, seconds,
           (double)count.sent / seconds, (double)count.acked / seconds, cpu_seconds(),
           quantile(&ack_latency, .5) / 1e3, quantile(&ack_latency, .99) / 1e3,
           (double)ack_latency.max / 1e3, last_error);
}

int main(int n_arguments, char **arguments) {
    read_flags(n_arguments, arguments);
    prepare_process();
    signal(SIGTERM, on_stop);
    signal(SIGINT, on_stop);
    prepare_messages();
    epoll = new_epoll();
    open_connections();
    began_ns = now_ns();
    run();
    print_result();
    return 0;
}
