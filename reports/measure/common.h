/* What the neutral programs share: clock, histogram, payload, flags and sockets.
 *
 * What runs once a message is inline here; the rest is in common.c. */
#ifndef COMMON_H
#define COMMON_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define NS_PER_SECOND 1000000000ull

/* Nanoseconds of the monotonic clock, which all processes of a host share. A stamp that one
 * program puts into a payload can therefore be read by another one on the same host. */
static inline uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

static inline double seconds_since(uint64_t begin_ns) {
    return (double)(now_ns() - begin_ns) / 1e9;
}

/* CPU seconds of this process so far. */
struct cpu_time {
    double user;
    double system;
};

struct cpu_time cpu_time(void);
double cpu_seconds(void);

/* A histogram of nanoseconds. A bucket is 1/32 of a power of two wide, so that a quantile is at
 * most 3.1 % below what was recorded. The greatest index, that of 2^64 - 1, is 59 * 32 + 31. */
#define N_BUCKETS 1920

struct histogram {
    uint64_t buckets[N_BUCKETS];
    uint64_t count;
    uint64_t max;
};

static inline int bucket_of(uint64_t value) {
    if (value < 32)
        return (int)value;
    int exponent = 63 - __builtin_clzll(value);
    return (exponent - 4) * 32 + (int)((value >> (exponent - 5)) & 31);
}

static inline void record(struct histogram *histogram, uint64_t value) {
    histogram->buckets[bucket_of(value)]++;
    histogram->count++;
    if (value > histogram->max)
        histogram->max = value;
}

/* The lower edge of the bucket in which the quantile lies, for a quantile from 0 to 1. */
double quantile(const struct histogram *histogram, double quantile);

/* Marsaglia's xorshift: fast enough to choose a connection for each message. */
static inline uint64_t next_random(uint64_t *state) {
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

/* The payload of a message: `~T`, 16 hex digits of the stamp in nanoseconds, `.`, 8 hex digits of
 * the sequence number, and letters up to its size. No quote or bracket is in it, so that servers
 * that escape for HTML leave it as it is. */
#define STAMP_DIGITS 16
#define SEQUENCE_DIGITS 8
#define PAYLOAD_BYTES_MIN (2 + STAMP_DIGITS + 1 + SEQUENCE_DIGITS)

/* Writes all of a payload that stays the same from message to message. */
void payload_begin(char *payload, int n_bytes);

static inline void put_hex(char *to, uint64_t value, int n_digits) {
    for (int i = n_digits - 1; i >= 0; i--) {
        to[i] = "0123456789abcdef"[value & 15];
        value >>= 4;
    }
}

/* Writes what differs, into a payload that was begun. */
static inline void payload_stamp(char *payload, uint64_t stamp_ns, uint32_t sequence) {
    put_hex(payload + 2, stamp_ns, STAMP_DIGITS);
    put_hex(payload + 2 + STAMP_DIGITS + 1, sequence, SEQUENCE_DIGITS);
}

/* Ends the program with exit code 2, for a flag that cannot be used: program, cause and cure. */
_Noreturn void refuse(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Ends the program with exit code 1: what could not be done, and errno's reason. */
_Noreturn void fail(const char *what);

/* Numbers of flags. What is no number, or out of bounds, is refused with the flag's name. */
long whole_number(const char *flag, const char *text, long least, long most);
double decimal_number(const char *flag, const char *text, double least);

/* Raises the soft limit of open files to the hard one, and ignores SIGPIPE: a peer that has closed
 * its connection shows as an error of the write. Each line of stdout is written when it is
 * complete, so that scripts can wait for it. */
void prepare_process(void);

/* An address of a flag. */
struct sockaddr_in address_of(const char *flag, const char *ip, int port);

/* A nonblocking listener on 127.0.0.1; with port 0 the kernel chooses one. The sockets that it
 * accepts inherit TCP_NODELAY from it, which saves a system call for each. */
int listen_on_loopback(int port);

/* The port that a socket is bound to. */
int port_of(int fd);

int new_epoll(void);
void watch(int epoll, int fd, uint32_t events);

#endif
