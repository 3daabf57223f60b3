/* A stand-in for a server of language models: answers every request with a stream of tokens at a
 * fixed pace, and keeps a record of its own writes, so that what a load tool says of first items and
 * gaps can be held against what was really written.
 *
 * An answer is an event stream in chunks, as the usual API has it: an event for each token, each
 * `data: {"choices":[{"index":0,"delta":{"content":"…"}}]}`, one with the usage, and
 * `data: [DONE]`; then the last chunk and the end. Every event is a write of its own, one interval
 * after the one before. All are due by a schedule: what is late does not delay what follows it. One
 * thread, one epoll, a heap of the streams by what is due next. */
#include "common.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static const char USAGE[] =
    "tokens PORT [flags]   streams of tokens to whoever asks, whatever is asked (0: any port)\n"
    " -r RATE    events per second and stream (5)\n"
    " -n N       tokens of an answer (100)\n"
    " -N MOST    tokens of an answer at most: each has a random number from N on (N)\n"
    " -f MS      first event so many ms after the request, and up to one interval more at random,\n"
    "            so that streams do not write all together (100)\n"
    " -S AT:FOR  everything stands still for FOR seconds, AT seconds after READY\n"
    " -q         no line per second\n"
    "SIGUSR1: print a MARK line with totals since start and reset the histograms\n"
    "SIGTERM or SIGINT ends it with the line FINAL\n"
    "Lines: t conn(accepted) open requests done(streams to their end) cut(streams that were not)\n"
    "       bad(requests) items(events written) tokens MB cpu(total s); in us since the last MARK,\n"
    "       each p50/p99/max: late(write after due) first(request read to first write)\n"
    "       gap(between two writes of a stream) n(gaps)\n";

#define MAX_EVENTS 32       /* a turn: what is due is not held up by many requests at once */
#define MAX_ACCEPTS 16      /* a turn, likewise */
#define REQUEST_BYTES 65536 /* of a request that is read in one piece or in several */
#define EVENT_BYTES 512

static const char HEAD[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                           "Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n"
                           "Connection: close\r\n\r\n";
static const char BAD[] = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n"
                          "Connection: close\r\n\r\n";

/* How much of a request was read. Only its borders matter: what it asks for does not. */
enum request_state {
    REQUEST_HEAD,
    REQUEST_BODY,
    STREAMING,
};

struct stream {
    uint8_t state;
    bool is_open;
    uint8_t n_head_end;   /* bytes of the empty line that ends the head */
    uint8_t n_name;       /* letters of "\ncontent-length:" that were just read */
    uint8_t in_length;    /* whether the digits of that header are being read */
    int heap_at;          /* place in the heap; -1: not in it */
    uint32_t head_bytes;
    uint32_t n_tokens;    /* of its answer */
    uint32_t n_written;   /* events */
    uint64_t body_left;
    uint64_t due_ns;      /* of the next event */
    uint64_t request_ns;  /* when its request was read */
    uint64_t written_ns;  /* the event before */
};

static struct {
    int port;
    double rate;
    uint32_t n_tokens;
    uint32_t most_tokens;
    double first_ms;
    double stall_at;
    double stall_for;
    bool quiet;
} options = {.port = -1, .rate = 5, .n_tokens = 100, .first_ms = 100};

static struct {
    uint64_t accepted;
    uint64_t open;
    uint64_t requests;
    uint64_t done;
    uint64_t cut;
    uint64_t bad;
    uint64_t items;
    uint64_t tokens;
    uint64_t bytes;
} count;

static struct stream *streams; /* by descriptor */
static int max_streams;
static int *heap; /* descriptors, the one that is due first at the top */
static int n_heap;
static int epoll;
static uint64_t began_ns;
static uint64_t interval_ns;
static uint64_t random_state = 0x9e3779b97f4a7c15ull;
static struct histogram late;

/* Delays in steps of 10 us, up to 10 s: the histogram of common.h is 3 % wide, which of a gap of
 * 200 ms are 6 ms. What is longer counts as 10 s; the longest is kept as it is. */
#define STEP_NS 10000
#define N_STEPS 1000000

struct fine_histogram {
    uint32_t steps[N_STEPS + 1];
    uint64_t count;
    uint64_t max;
};

static struct fine_histogram first, gap;

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

static inline void record_fine(struct fine_histogram *histogram, uint64_t value) {
    uint64_t step = value / STEP_NS;
    histogram->steps[step < N_STEPS ? step : N_STEPS]++;
    histogram->count++;
    if (value > histogram->max)
        histogram->max = value;
}

/* The lower edge of the step in which the quantile lies, in nanoseconds. */
static double fine_quantile(const struct fine_histogram *histogram, double quantile) {
    uint64_t wanted = (uint64_t)(quantile * (double)histogram->count), seen = 0;
    for (uint64_t i = 0; i <= N_STEPS; i++) {
        seen += histogram->steps[i];
        if (seen > wanted)
            return (double)(i * STEP_NS);
    }
    return (double)histogram->max;
}

/* -- What is due ---------------------------------------------------------------------------- */

static inline uint64_t due_at(int at) {
    return streams[heap[at]].due_ns;
}

static inline void put_at(int at, int fd) {
    heap[at] = fd;
    streams[fd].heap_at = at;
}

static void sift_up(int at) {
    int fd = heap[at];
    while (at > 0 && streams[fd].due_ns < due_at((at - 1) / 2)) {
        put_at(at, heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    put_at(at, fd);
}

static void sift_down(int at) {
    int fd = heap[at];
    for (int child; (child = 2 * at + 1) < n_heap; at = child) {
        if (child + 1 < n_heap && due_at(child + 1) < due_at(child))
            child++;
        if (streams[fd].due_ns <= due_at(child))
            break;
        put_at(at, heap[child]);
    }
    put_at(at, fd);
}

static void schedule(int fd) {
    put_at(n_heap++, fd);
    sift_up(n_heap - 1);
}

static void unschedule(int fd) {
    int at = streams[fd].heap_at;
    if (at < 0)
        return;
    streams[fd].heap_at = -1;
    int last = heap[--n_heap];
    if (last == fd)
        return;
    put_at(at, last);
    sift_down(at);
    sift_up(streams[last].heap_at);
}

/* -- Connections ---------------------------------------------------------------------------- */

/* The end of a connection; closing it takes it out of the epoll instance. */
static void close_stream(int fd) {
    unschedule(fd);
    streams[fd].is_open = false;
    close(fd);
    count.open--;
}

static void cut(int fd) {
    if (streams[fd].state == STREAMING)
        count.cut++;
    close_stream(fd);
}

static void accept_some(int listener) {
    for (int i = 0; i < MAX_ACCEPTS; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            /* Out of descriptors it waits for one that ends: there is nobody else to be served. */
            if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR && errno != EMFILE)
                fail("accept");
            return;
        }
        if (fd >= max_streams) {
            close(fd);
            continue;
        }
        streams[fd] = (struct stream){.is_open = true, .heap_at = -1};
        count.accepted++;
        count.open++;
        watch(epoll, fd, EPOLLIN | EPOLLRDHUP);
    }
}

/* -- Requests ------------------------------------------------------------------------------- */

static void begin_answer(int fd) {
    struct stream *stream = &streams[fd];
    count.requests++;
    stream->state = STREAMING;
    stream->request_ns = now_ns();
    uint32_t n_more = options.most_tokens - options.n_tokens;
    stream->n_tokens = options.n_tokens;
    if (n_more > 0)
        stream->n_tokens += (uint32_t)((next_random(&random_state) >> 16) % (n_more + 1));
    if (send(fd, HEAD, sizeof HEAD - 1, 0) != sizeof HEAD - 1) {
        cut(fd);
        return;
    }
    count.bytes += sizeof HEAD - 1;
    uint64_t spread_ns = (next_random(&random_state) >> 16) % (interval_ns + 1);
    stream->due_ns = stream->request_ns + (uint64_t)(options.first_ms * 1e6) + spread_ns;
    schedule(fd);
}

/* Looks at the bytes of a head one by one, so that they may be cut anywhere. Returns how many were
 * of the head; its length is that of the body that follows. */
static size_t read_head(struct stream *stream, const char *bytes, size_t n) {
    static const char HEAD_END[] = "\r\n\r\n", NAME[] = "\ncontent-length:";
    for (size_t i = 0; i < n; i++) {
        char byte = bytes[i];
        char lower = byte >= 'A' && byte <= 'Z' ? (char)(byte + 'a' - 'A') : byte;
        if (stream->in_length) {
            if (byte >= '0' && byte <= '9' && stream->body_left < REQUEST_BYTES)
                stream->body_left = stream->body_left * 10 + (uint64_t)(byte - '0');
            else if (byte != ' ')
                stream->in_length = 0;
        }
        if (lower == NAME[stream->n_name])
            stream->n_name++;
        else
            stream->n_name = byte == '\n';
        if (stream->n_name == sizeof NAME - 1) {
            stream->n_name = 0;
            stream->in_length = 1;
        }
        if (byte == HEAD_END[stream->n_head_end])
            stream->n_head_end++;
        else
            stream->n_head_end = byte == '\r';
        if (stream->n_head_end == 4) {
            stream->state = REQUEST_BODY;
            return i + 1;
        }
    }
    return n;
}

static void refuse_request(int fd) {
    count.bad++;
    /* Whoever does not read it learns it from the end. */
    if (send(fd, BAD, sizeof BAD - 1, 0) < 0)
        count.cut += streams[fd].state == STREAMING;
    close_stream(fd);
}

static void receive(int fd) {
    static char bytes[REQUEST_BYTES];
    struct stream *stream = &streams[fd];
    ssize_t n = recv(fd, bytes, sizeof bytes, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        cut(fd);
        return;
    }
    size_t at = 0;
    if (stream->state == REQUEST_HEAD) {
        at = read_head(stream, bytes, (size_t)n);
        stream->head_bytes += (uint32_t)at;
        if (stream->head_bytes > REQUEST_BYTES || stream->body_left > REQUEST_BYTES) {
            refuse_request(fd);
            return;
        }
    }
    if (stream->state == REQUEST_BODY) {
        size_t n_rest = (size_t)n - at;
        stream->body_left -= n_rest < stream->body_left ? n_rest : stream->body_left;
        if (stream->body_left == 0)
            begin_answer(fd);
    }
}

/* -- Events --------------------------------------------------------------------------------- */

/* Writes the event of a stream into `event`, as a chunk, and returns its length. */
static int write_event(char *event, const struct stream *stream, uint64_t now) {
    char data[EVENT_BYTES];
    int n_data;
    uint32_t at = stream->n_written;
    if (at < stream->n_tokens) {
        char payload[PAYLOAD_BYTES_MIN + 1];
        payload_begin(payload, PAYLOAD_BYTES_MIN);
        payload_stamp(payload, now, at + 1);
        n_data = sprintf(data,
                         "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%s \"}}]}\n\n",
                         payload);
    } else if (at == stream->n_tokens) {
        n_data = sprintf(data,
                         "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,"
                         "\"completion_tokens\":%u,\"total_tokens\":%u}}\n\n",
                         stream->n_tokens, stream->n_tokens + 1);
    } else {
        /* The last chunk is the end of the answer: what comes behind it is the close. */
        static const char DONE[] = "data: [DONE]\n\n";
        return sprintf(event, "%zx\r\n%s\r\n0\r\n\r\n", sizeof DONE - 1, DONE);
    }
    return sprintf(event, "%x\r\n%s\r\n", (unsigned)n_data, data);
}

/* Writes the event that is due on the stream at the top of the heap. */
static void write_next(int fd, uint64_t now) {
    struct stream *stream = &streams[fd];
    char event[EVENT_BYTES + 32];
    int length = write_event(event, stream, now);
    /* A reader that is megabytes behind reads no stream of tokens: there is no queue for it here. */
    if (send(fd, event, (size_t)length, 0) != length) {
        cut(fd);
        return;
    }
    record(&late, now - stream->due_ns);
    if (stream->n_written == 0)
        record_fine(&first, now - stream->request_ns);
    else
        record_fine(&gap, now - stream->written_ns);
    stream->written_ns = now;
    count.items++;
    count.bytes += (uint64_t)length;
    count.tokens += stream->n_written < stream->n_tokens;
    if (stream->n_written++ == stream->n_tokens + 1) {
        count.done++;
        close_stream(fd);
        return;
    }
    stream->due_ns += interval_ns;
    sift_down(stream->heap_at);
}

/* Writes what is due, but no more than a turn's worth before others are looked at. */
static void write_what_is_due(void) {
    for (int n = 0; n < 256 && n_heap > 0; n++) {
        uint64_t now = now_ns();
        if (due_at(0) > now)
            return;
        write_next(heap[0], now);
    }
}

/* -- Reports -------------------------------------------------------------------------------- */

static void print_delays(const char *name, double p50_ns, double p99_ns, uint64_t max_ns) {
    printf(" %s_us p50=%.1f p99=%.1f max=%.1f", name, p50_ns / 1e3, p99_ns / 1e3,
           (double)max_ns / 1e3);
}

static void print_fine(const char *name, const struct fine_histogram *histogram) {
    print_delays(name, fine_quantile(histogram, .5), fine_quantile(histogram, .99),
                 histogram->max);
}

static void print_totals(const char *name) {
    printf("%s t=%.2f conn=%" PRIu64 " open=%" PRIu64 " requests=%" PRIu64 " done=%" PRIu64
           " cut=%" PRIu64 " bad=%" PRIu64 " items=%" PRIu64 " tokens=%" PRIu64
           " MB=%.2f cpu=%.3f",
           name, seconds_since(began_ns), count.accepted, count.open, count.requests, count.done,
           count.cut, count.bad, count.items, count.tokens, (double)count.bytes / 1e6,
           cpu_seconds());
    print_delays("late", quantile(&late, .5), quantile(&late, .99), late.max);
    print_fine("first", &first);
    print_fine("gap", &gap);
    printf(" n=%" PRIu64 "\n", gap.count);
}

static void report(void) {
    static uint64_t due_ns;
    if (marked) {
        marked = 0;
        print_totals("MARK");
        memset(&late, 0, sizeof late);
        memset(&first, 0, sizeof first);
        memset(&gap, 0, sizeof gap);
    }
    uint64_t now = now_ns();
    if (due_ns == 0)
        due_ns = began_ns + NS_PER_SECOND;
    if (now < due_ns || options.quiet)
        return;
    /* The quantiles of a line are a walk of milliseconds at most, once a second. */
    print_totals("SEC");
    due_ns = now + NS_PER_SECOND;
}

/* -- The program ---------------------------------------------------------------------------- */

static void read_stall(const char *text) {
    int n_read = 0;
    if (sscanf(text, "%lf:%lf%n", &options.stall_at, &options.stall_for, &n_read) != 2 ||
        text[n_read] != '\0' || !(options.stall_at >= 0) || !(options.stall_for > 0) ||
        !(options.stall_at + options.stall_for <= 1e9))
        refuse("-S is \"%s\": give AT:FOR in seconds, such as 5:3", text);
}

static void read_flag(int flag, const char *value) {
    switch (flag) {
    case 'r': options.rate = decimal_number("-r", value, 0.001); break;
    case 'n': options.n_tokens = (uint32_t)whole_number("-n", value, 1, 1000000); break;
    case 'N': options.most_tokens = (uint32_t)whole_number("-N", value, 1, 1000000); break;
    case 'f': options.first_ms = decimal_number("-f", value, 0); break;
    case 'S': read_stall(value); break;
    case 'q': options.quiet = true; break;
    default: fputs(USAGE, stderr); exit(2);
    }
}

static void read_flags(int n_arguments, char **arguments) {
    int flag;
    while ((flag = getopt(n_arguments, arguments, "r:n:N:f:S:q")) != -1)
        read_flag(flag, optarg);
    if (optind + 1 != n_arguments) {
        fputs(USAGE, stderr);
        exit(2);
    }
    options.port = (int)whole_number("PORT", arguments[optind], 0, 65535);
    if (options.most_tokens == 0)
        options.most_tokens = options.n_tokens;
    if (options.most_tokens < options.n_tokens)
        refuse("-N is %u: give at least -n, which is %u", options.most_tokens, options.n_tokens);
    interval_ns = (uint64_t)(1e9 / options.rate);
}

static void make_room(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        fail("getrlimit");
    /* Pages of descriptors that never were are never touched. */
    max_streams = limit.rlim_cur > 10000000 ? 10000000 : (int)limit.rlim_cur;
    streams = calloc((size_t)max_streams, sizeof *streams);
    heap = calloc((size_t)max_streams, sizeof *heap);
    if (streams == NULL || heap == NULL)
        fail("memory for the streams");
}

/* Stands still, as a server does in a long pause. The schedule goes on. */
static void stall_if_due(void) {
    static bool is_over;
    if (is_over || options.stall_for == 0 || seconds_since(began_ns) < options.stall_at)
        return;
    is_over = true;
    while (!stopped && seconds_since(began_ns) < options.stall_at + options.stall_for)
        usleep(1000);
}

/* Until the next event is due, and a tenth of a second at most: there may be a line to print. */
static struct timespec time_left(void) {
    uint64_t now = now_ns(), left_ns = NS_PER_SECOND / 10;
    if (n_heap > 0) {
        uint64_t due_ns = due_at(0);
        uint64_t until_ns = due_ns > now ? due_ns - now : 0;
        left_ns = until_ns < left_ns ? until_ns : left_ns;
    }
    return (struct timespec){.tv_nsec = (long)left_ns};
}

static void run(int listener) {
    struct epoll_event events[MAX_EVENTS];
    while (!stopped) {
        struct timespec left = time_left();
        int n = epoll_pwait2(epoll, events, MAX_EVENTS, &left, NULL);
        if (n < 0 && errno != EINTR)
            fail("epoll_pwait2");
        stall_if_due();
        write_what_is_due();
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listener)
                accept_some(listener);
            else if (streams[fd].is_open) /* a write may have ended it in this turn */
                receive(fd);
        }
        report();
    }
}

int main(int n_arguments, char **arguments) {
    read_flags(n_arguments, arguments);
    prepare_process();
    signal(SIGTERM, on_stop);
    signal(SIGINT, on_stop);
    signal(SIGUSR1, on_mark);
    /* By default the kernel may wake a sleeper 50 us late, to save wake-ups. */
    prctl(PR_SET_TIMERSLACK, 1);
    make_room();
    epoll = new_epoll();
    int listener = listen_on_loopback(options.port);
    watch(epoll, listener, EPOLLIN);
    began_ns = now_ns();
    printf("READY port=%d\n", port_of(listener));
    run(listener);
    print_totals("FINAL");
    return 0;
}
