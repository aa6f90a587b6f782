/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moving bytes from socket to socket without copying them: through a kernel pipe. A pump holds a pipe
 * only while there is something in it, so the budget of a loop bounds descriptors and kernel memory,
 * not the number of bulk connections.
 *
 * Measured on loopback, CPU of the relay: bulk 0.35 of what copying costs (0.09 against 0.27 s/GB), but
 * small messages 1.3 times as much. So it begins once a direction is long and its batches are full,
 * and ends when they become thin.
 */
#pragma once

#include "io/loop.h"
#include "io/stream.h"

enum {
    SPLICE_AFTER_BYTES = 1 << 20, /* copied in a direction before it is tried, and between tries */
    SPLICE_WANT_BYTES = 64 << 10, /* the pump's batch must have grown to this */
    SPLICE_THIN_BYTES = 16 << 10, /* batches below this are thin */
    SPLICE_THIN_MAX = 4,          /* thin batches in a row that end it */
    SPLICE_PIPE_BYTES = 256 << 10,
    SPLICE_PIPES_A_LOOP = 256, /* two descriptors each */
    SPLICE_IDLE_PIPES = 16     /* empty ones kept for the next user */
};

struct splice_pipe {
    struct list in_loop; /* while idle */
    struct loop *loop;
    int read_end;
    int write_end;
    size_t len; /* bytes inside */
};

/* NULL: over budget, no descriptors, or SIGPIPE would kill this thread (splice has no MSG_NOSIGNAL). */
struct splice_pipe *splice_pipe_get(struct loop *l);
/* Empty ones are kept, others closed. Accepts NULL. */
void splice_pipe_put(struct splice_pipe *p);
/* Closes the idle pipes of a loop that ends. */
void splice_pipes_fini(struct loop *l);

/* (*) like stream_read and stream_write, on TCP streams. Into an empty pipe only: -EAGAIN of a pipe
 * that holds something would not say which side is meant. */
MUST_USE ssize_t tcp_stream_splice_in(struct stream *s, struct splice_pipe *p);
MUST_USE ssize_t tcp_stream_splice_out(struct stream *s, struct splice_pipe *p);
