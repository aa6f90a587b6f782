/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Live hand-over of tunnels to another process: a tunnel becomes a versioned blob and its secure
 * stream, and back, without a byte lost and without the peer noticing. The caller moves the secure
 * stream by its own means (tls_stream_export, descriptors) and pairs streams by their number.
 *
 * A stream that the caller still holds belongs to it until the tunnel is exported; then it is gone.
 * The caller takes relays apart first (relay_take_apart), so that nobody reads or writes meanwhile.
 */
#pragma once

#include "base/bytes.h"
#include "base/err.h"
#include "hbone/pool.h"
#include "hbone/server.h"

enum { HBONE_HANDED_MAX = 1024 };

struct hbone_handed {
    unsigned count;
    struct {
        uint32_t id;
        struct stream *stream; /* the caller's */
    } streams[HBONE_HANDED_MAX];
};

/* The number of an open stream in its tunnel; 0 when its tunnel has nothing more to do with it: such
 * a stream is exported by itself. */
uint32_t hbone_stream_id(const struct stream *s);
/* A stream of number 0: what is still to be read, and how it ended. Takes s on success. */
MUST_USE int hbone_stream_export(struct stream *s, struct bytes *out);
MUST_USE int hbone_stream_import(struct hbone_loop *l, const void *blob, size_t len,
                                 struct budget *budget, struct stream **out);

/* Appends a blob to out, gives the secure stream back; s and its streams are gone. On failure nothing
 * has changed: -EAGAIN: not now (it is still opening, a request is unanswered, a header block is half
 * read), -ERR_UNAVAILABLE: it has ended, -ERR_TOO_LARGE: out is full. */
MUST_USE int hbone_server_export(struct hbone_server *s, struct bytes *out,
                                 struct stream **out_below);
/* Takes below in any case. -ERR_VERSION: the blob is newer than this program; -ERR_SYNTAX. */
MUST_USE int hbone_server_import(struct hbone_loop *l, struct stream *below, const void *blob,
                                 size_t len, struct task *owner, struct budget *budget,
                                 struct hbone_server **out, struct hbone_handed *out_handed);

/* The next tunnel of a pool, likewise: 1, 0 when there is none left, or a failure as above. Tunnels
 * that are still opening stay; their dials end with the pool. */
MUST_USE int hbone_pool_export(struct hbone_pool *p, struct bytes *out, struct stream **out_below);
/* Adds one tunnel to the pool. Takes below in any case. */
MUST_USE int hbone_pool_import(struct hbone_pool *p, struct stream *below, const void *blob,
                               size_t len, struct hbone_handed *out_handed);
