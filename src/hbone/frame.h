/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 frames (RFC 9113 4, 6) between bytes and values, without I/O. The reader is pulled: it takes
 * input in any portions, keeps at most one fixed field of a frame and hands payload out where it
 * lies, so that an idle connection holds no buffer and a frame may have any size.
 *
 * It checks what can be judged without knowing streams: lengths, stream 0 or not, padding, the order
 * of header blocks. What it finds wrong is an error of the whole connection, with the codes that the
 * real proxy uses (contract 2.3 as recorded: only an oversized frame is FRAME_SIZE_ERROR).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/str.h"

enum {
    FRAME_HEAD_BYTES = 9,
    FRAME_PREFACE_BYTES = 24,
    FRAME_SIZE_DEFAULT = 16384,
    FRAME_SIZE_MAX = 1 << 20, /* what we accept and announce at most */
    FRAME_WINDOW_DEFAULT = 65535,
    FRAME_WINDOW_MAX = 0x7fffffff,
    FRAME_ID_MAX = 0x7fffffff,
    /* CONTINUATION frames that are not the last of their block */
    FRAME_CONTINUATIONS_MAX = 5,
    FRAME_SETTINGS_MAX = 32, /* of one SETTINGS frame */
};

enum frame_type {
    FRAME_DATA = 0,
    FRAME_HEADERS = 1,
    FRAME_PRIORITY = 2,
    FRAME_RST_STREAM = 3,
    FRAME_SETTINGS = 4,
    FRAME_PUSH_PROMISE = 5,
    FRAME_PING = 6,
    FRAME_GOAWAY = 7,
    FRAME_WINDOW_UPDATE = 8,
    FRAME_CONTINUATION = 9,
};

enum frame_flag {
    FRAME_END_STREAM = 1,
    FRAME_ACK = 1,
    FRAME_END_HEADERS = 4,
    FRAME_PADDED = 8,
    FRAME_HAS_PRIORITY = 32,
};

enum frame_setting {
    SETTING_HEADER_TABLE_SIZE = 1,
    SETTING_ENABLE_PUSH = 2,
    SETTING_MAX_CONCURRENT_STREAMS = 3,
    SETTING_INITIAL_WINDOW_SIZE = 4,
    SETTING_MAX_FRAME_SIZE = 5,
    SETTING_MAX_HEADER_LIST_SIZE = 6,
    SETTING_ENABLE_CONNECT_PROTOCOL = 8,
    SETTING_NO_PRIORITIES = 9, /* RFC 9218 2.1 */
};

enum reset_code { /* RFC 9113 7 */
                  RESET_NO_ERROR = 0,
                  RESET_PROTOCOL_ERROR = 1,
                  RESET_INTERNAL_ERROR = 2,
                  RESET_FLOW_CONTROL_ERROR = 3,
                  RESET_SETTINGS_TIMEOUT = 4,
                  RESET_STREAM_CLOSED = 5,
                  RESET_FRAME_SIZE_ERROR = 6,
                  RESET_REFUSED_STREAM = 7,
                  RESET_CANCEL = 8,
                  RESET_COMPRESSION_ERROR = 9,
                  RESET_CONNECT_ERROR = 10,
                  RESET_ENHANCE_YOUR_CALM = 11,
                  RESET_INADEQUATE_SECURITY = 12,
                  RESET_HTTP_1_1_REQUIRED = 13,
};
/* "REFUSED_STREAM"; "code 99" does not fit: unknown codes are "UNKNOWN". */
const char *reset_code_name(uint32_t code);

enum frame_event {
    FRAME_MORE,        /* the input is used up */
    FRAME_DATA_BEGIN,  /* stream; value: bytes that count for flow control; padding: of these */
    FRAME_DATA_PIECE,  /* stream, piece: never empty */
    FRAME_DATA_END,    /* stream, end_stream */
    FRAME_BLOCK_BEGIN, /* a header block: stream, end_stream, self */
    FRAME_BLOCK_PIECE, /* stream, piece (may be empty), last */
    FRAME_ONE_SETTING, /* id, value */
    FRAME_SETTINGS_END,
    FRAME_SETTINGS_ACK,
    FRAME_PING_ASKED, /* opaque */
    FRAME_PING_ANSWERED,
    FRAME_STREAM_RESET, /* stream, value: the code */
    FRAME_GOING_AWAY,   /* stream: the last id, value: the code */
    FRAME_WINDOW,       /* stream or 0, value: at least 1 */
    FRAME_IGNORED,      /* an unknown frame, or PRIORITY: self */
    FRAME_STRANGE,      /* no HTTP/2 preface; the reader must not be used again */
    FRAME_BROKEN        /* value: the code for GOAWAY, debug; likewise */
};

struct frame {
    uint32_t stream;
    uint32_t value;
    uint32_t padding;
    uint16_t id;
    bool end_stream;
    bool last;
    bool self; /* the stream depends on itself: an error of the stream */
    struct slice piece;
    uint64_t opaque;
    const char *debug; /* constant text */
};

enum frame_read_step {
    READ_PREFACE, /* have counts what has matched */
    READ_HEAD,    /* gathers the frame's head */
    READ_FIXED,   /* gathers want bytes of fixed fields */
    READ_BODY,    /* body bytes are handed out */
    READ_SKIP,    /* left bytes are dropped, then the frame is over */
    READ_BROKEN
};

/* Plain data, exportable between frames and within one. */
struct frame_reader {
    uint8_t small[FRAME_HEAD_BYTES];
    uint8_t have; /* of small */
    uint8_t want;
    uint8_t type; /* of the present frame, as are the next five */
    uint8_t flags;
    uint8_t step; /* enum frame_read_step */
    uint8_t continuations;
    bool begun; /* the BEGIN event of the present frame was given */
    bool block_ends_stream;
    uint32_t stream;
    uint32_t left;         /* payload bytes to come, padding included */
    uint32_t padding;      /* of these, at the end */
    uint32_t block_stream; /* a header block is unfinished on it; else 0 */
    uint32_t size_max;     /* of a payload: what was announced */
};

void frame_reader_init(struct frame_reader *r, bool expect_preface);
/* *at is moved on. */
enum frame_event frame_next(struct frame_reader *r, struct slice *at, struct frame *out);

extern const uint8_t frame_preface[FRAME_PREFACE_BYTES];

void frame_head_put(uint8_t out[static FRAME_HEAD_BYTES], uint32_t len, enum frame_type type,
                    uint8_t flags, uint32_t stream);
/* Each appends one frame: 0 or -ERR_TOO_LARGE. */
struct frame_pair {
    enum frame_setting id;
    uint32_t value;
};
MUST_USE int frame_put_settings(struct bytes *out, const struct frame_pair *pairs, size_t count);
MUST_USE int frame_put_settings_ack(struct bytes *out);
MUST_USE int frame_put_ping(struct bytes *out, bool ack, uint64_t opaque);
MUST_USE int frame_put_reset(struct bytes *out, uint32_t stream, uint32_t code);
MUST_USE int frame_put_window(struct bytes *out, uint32_t stream, uint32_t increment);
MUST_USE int frame_put_goaway(struct bytes *out, uint32_t last, uint32_t code, const char *debug);
MUST_USE int frame_put_end(struct bytes *out, uint32_t stream); /* empty DATA with END_STREAM */
