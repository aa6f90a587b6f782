/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log_int.h"
#include "base/mem.h"

/* A line that comes alone is written at once. Behind a write the writer gathers for a while, so that a
 * busy program pays for a system call and a wake now and then, not for every line. */
enum { QUEUE_BYTES = 1 << 20, GATHER_BYTES = 64 << 10 };

/* Two buffers: producers append to one while the writer empties the other. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    pthread_t writer;
    char *buffer[2];
    size_t len;     /* of buffer[now] */
    unsigned now;   /* index producers append to */
    size_t wake_at; /* the writer sleeps until len is this; 0: it is awake */
    uint64_t dropped;
    uint64_t dropped_said; /* how many of dropped a line has told about */
    int fd;
    bool running;
    bool stop;
} q = {.lock = PTHREAD_MUTEX_INITIALIZER, .filled = PTHREAD_COND_INITIALIZER, .fd = STDERR_FILENO};

static void write_all(int fd, const char *p, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno != EINTR) {
            return; /* nobody is left to tell */
        }
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        }
    }
}

static void append(const char *line, size_t len)
{
    char *to = q.buffer[q.now] + q.len;

    memcpy(to, line, len);
    to[len] = '\n';
    q.len += len + 1;
}

/* Called with the lock held, when there is room again. */
static void say_dropped(void)
{
    char note[96];

    if (q.dropped > q.dropped_said) {
        int n = snprintf(note, sizeof(note), "log: %llu lines dropped, the reader is too slow",
                         (unsigned long long)(q.dropped - q.dropped_said));
        append(note, (size_t)n);
        q.dropped_said = q.dropped;
    }
}

/* With the lock held: until there are that many octets, the end is asked for, or due_ns (0: never). */
static void sleep_until(size_t len, uint64_t due_ns)
{
    struct timespec due = {.tv_sec = (time_t)(due_ns / 1000000000u),
                           .tv_nsec = (long)(due_ns % 1000000000u)};
    int r = 0;

    while (!q.stop && q.len < len && r == 0) {
        q.wake_at = len;
        r = due_ns > 0 ? pthread_cond_clockwait(&q.filled, &q.lock, CLOCK_MONOTONIC, &due)
                       : pthread_cond_wait(&q.filled, &q.lock);
    }
    q.wake_at = 0;
}

static void *writer_main(void *arg)
{
    (void)arg;
    (void)pthread_mutex_lock(&q.lock);
    while (!q.stop || q.len > 0) {
        if (q.len == 0) {
            sleep_until(1, 0);
            continue;
        }
        const char *full = q.buffer[q.now];
        size_t len = q.len;
        q.now = 1 - q.now;
        q.len = 0;
        say_dropped();
        (void)pthread_mutex_unlock(&q.lock);
        write_all(q.fd, full, len);
        (void)pthread_mutex_lock(&q.lock);
        sleep_until(GATHER_BYTES, clock_mono_ns() + LOG_GATHER_MS * 1000000u);
    }
    (void)pthread_mutex_unlock(&q.lock);
    return NULL;
}

int log_queue_start(int fd, struct diag *why)
{
    q.fd = fd;
    q.stop = false;
    q.buffer[0] = mem_alloc(QUEUE_BYTES);
    q.buffer[1] = mem_alloc(QUEUE_BYTES);
    int r = pthread_create(&q.writer, NULL, writer_main, NULL);
    if (r != 0) {
        return FAIL(why, -r, "start the log writer");
    }
    q.running = true;
    return 0;
}

void log_queue_stop(void)
{
    if (!q.running) {
        return;
    }
    (void)pthread_mutex_lock(&q.lock);
    q.stop = true;
    (void)pthread_cond_signal(&q.filled);
    (void)pthread_mutex_unlock(&q.lock);
    (void)pthread_join(q.writer, NULL);
    q.running = false;
    for (int i = 0; i < 2; i++) {
        mem_free(q.buffer[i]);
        q.buffer[i] = NULL;
    }
}

void log_queue_put(const char *line, size_t len)
{
    if (!q.running) {
        write_all(q.fd, line, len);
        write_all(q.fd, "\n", 1);
        return;
    }
    (void)pthread_mutex_lock(&q.lock);
    if (len + 1 + 96 > QUEUE_BYTES - q.len) { /* 96: the note about drops always fits */
        q.dropped++;
    } else {
        append(line, len);
        if (q.wake_at > 0 && q.len >= q.wake_at) {
            q.wake_at = 0; /* one wake is enough */
            (void)pthread_cond_signal(&q.filled);
        }
    }
    (void)pthread_mutex_unlock(&q.lock);
}

uint64_t log_queue_dropped(void)
{
    (void)pthread_mutex_lock(&q.lock);
    uint64_t n = q.dropped;
    (void)pthread_mutex_unlock(&q.lock);
    return n;
}
