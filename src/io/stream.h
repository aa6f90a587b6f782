/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A byte stream with two independent halves, one owner, one task to wake. TCP sockets, TLS sessions,
 * tunnel streams and test pipes all look like this; a stream that is still connecting is one whose
 * calls answer -EAGAIN, a failed one answers its error.
 *
 * The contract of every call marked (*):
 *   - it never blocks and never calls the owner back;
 *   - -EAGAIN promises one task_wake(owner, WAKE_IO) once the call is worth repeating;
 *   - any other negative value is final for that half, and stream_diag(s) says more.
 * Refusal is the flow control: a reader that does not read leaves the peer without credit. A write
 * that was refused has set what was accepted before moving by itself; only a partly filled sink needs
 * a flush. Whoever becomes the owner tries first: wakes owed to an earlier owner are not passed on.
 * An end of data stays the end, a failure stays a failure: a half never looks cleanly ended after one.
 *
 * The calls in the second group are optional and save copies: the source lends its memory (peek,
 * skip), the sink lends room (reserve, commit). What is lent is good until the next call on the
 * stream or the end of the caller's run(), whichever comes first.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/err.h"
#include "io/task.h"

struct stream;

struct stream_ops {
    const char *name;
    ssize_t (*read)(struct stream *s, void *into, size_t room);
    ssize_t (*write)(struct stream *s, const void *from, size_t len);
    int (*flush)(struct stream *s);
    int (*shut)(struct stream *s);
    void (*close)(struct stream *s, int why);
    void (*owned)(struct stream *s); /* optional: the owner has changed */
    /* optional, each may be NULL */
    ssize_t (*readv)(struct stream *s, const struct iovec *into, int count);
    ssize_t (*writev)(struct stream *s, const struct iovec *from, int count);
    int (*peek)(struct stream *s, struct iovec *out, int max);
    void (*skip)(struct stream *s, size_t len);
    int (*reserve)(struct stream *s, struct iovec *out, int max, size_t want);
    void (*commit)(struct stream *s, size_t len);
    size_t (*held)(const struct stream *s);
    size_t (*unsent)(const struct stream *s);
};

struct stream {
    const struct stream_ops *ops;
    struct task *owner; /* NULL: wakes are dropped; set by stream_own */
    struct diag *said;  /* NULL: nothing; see stream_diag */
};

static inline void stream_own(struct stream *s, struct task *owner)
{
    s->owner = owner;
    if (s->ops->owned) {
        s->ops->owned(s);
    }
}

/* (*) Bytes read, 0 at the peer's clean end of data. room > 0. */
static inline MUST_USE ssize_t stream_read(struct stream *s, void *into, size_t room)
{
    return s->ops->read(s, into, room);
}

/* (*) Bytes accepted, at least 1. len > 0. */
static inline MUST_USE ssize_t stream_write(struct stream *s, const void *from, size_t len)
{
    return s->ops->write(s, from, len);
}

/* (*) 0 once every accepted byte has left this layer. */
static inline MUST_USE int stream_flush(struct stream *s)
{
    return s->ops->flush(s);
}

/* (*) Ends our half. Reading goes on. */
static inline MUST_USE int stream_shut(struct stream *s)
{
    return s->ops->shut(s);
}

/* Takes s; NULL is fine. why < 0 aborts (RST, RST_STREAM); 0 lets the layer linger on its own, with a
 * deadline of its own. No wake comes after this. */
static inline void stream_close(struct stream *s, int why)
{
    if (s) {
        s->owner = NULL;
        s->ops->close(s, why);
    }
}

/* (*) Lends up to max pieces of what can be read: how many, 0 at the clean end. */
static inline MUST_USE int stream_peek(struct stream *s, struct iovec *out, int max)
{
    return s->ops->peek(s, out, max);
}

/* What was used of the lent pieces, from the first on. */
static inline void stream_skip(struct stream *s, size_t len)
{
    s->ops->skip(s, len);
}

/* (*) Lends up to max pieces of room for about want bytes: how many, at least 1. Nothing happens
 * unless it is committed. */
static inline MUST_USE int stream_reserve(struct stream *s, struct iovec *out, int max, size_t want)
{
    return s->ops->reserve(s, out, max, want);
}

/* How much of the room was filled, from the first piece on; at least 1. */
static inline void stream_commit(struct stream *s, size_t len)
{
    s->ops->commit(s, len);
}

/* Memory that accepted bytes hold in this layer until they leave it. */
static inline size_t stream_held(const struct stream *s)
{
    return s->ops->held ? s->ops->held(s) : 0;
}

/* Accepted bytes that the peer is not known to have, of this layer and those below it. May cost a system
 * call. */
static inline size_t stream_unsent(const struct stream *s)
{
    return s->ops->unsent ? s->ops->unsent(s) : 0;
}

/* Says more after a final error; of code 0 before. Never NULL; good until the next call on s. */
const struct diag *stream_diag(const struct stream *s);

/* For implementations. The text exists once there is one, because most streams never fail and there
 * are many of them. Where failing is rare, note in a diag of one's own first. */
struct diag *stream_why(struct stream *s);
void stream_note(struct stream *s, const struct diag *why);
/* Before the memory of s goes. */
void stream_fini(struct stream *s);
static inline void stream_wake(struct stream *s)
{
    if (s->owner) {
        task_wake(s->owner, WAKE_IO);
    }
}
