/* SPDX-License-Identifier: Apache-2.0 */
#include "hbone/frame.h"

#include "base/num.h"

const uint8_t frame_preface[FRAME_PREFACE_BYTES] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/* What a step of the reader returns when it has nothing to say yet. */
enum { GO_ON = -1 };

enum stream_rule { STREAM_ANY, STREAM_SOME, STREAM_ZERO, NEVER };

/* RFC 9113 6.1 to 6.10: the length a frame must have, and whether it belongs to a stream. */
static const struct shape {
    uint8_t length; /* exactly, 0: any */
    uint8_t rule;   /* enum stream_rule */
} shapes[] = {
    [FRAME_DATA] = {0, STREAM_SOME},         [FRAME_HEADERS] = {0, STREAM_SOME},
    [FRAME_PRIORITY] = {5, STREAM_SOME},     [FRAME_RST_STREAM] = {4, STREAM_SOME},
    [FRAME_SETTINGS] = {0, STREAM_ZERO},     [FRAME_PUSH_PROMISE] = {0, NEVER},
    [FRAME_PING] = {8, STREAM_ZERO},         [FRAME_GOAWAY] = {0, STREAM_ZERO},
    [FRAME_WINDOW_UPDATE] = {4, STREAM_ANY}, [FRAME_CONTINUATION] = {0, STREAM_SOME},
};

static const char *const code_names[] = {
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
};

const char *reset_code_name(uint32_t code)
{
    return code < ARRAY_LEN(code_names) ? code_names[code] : "UNKNOWN";
}

void frame_reader_init(struct frame_reader *r, bool expect_preface)
{
    *r = (struct frame_reader){.step = expect_preface ? READ_PREFACE : READ_HEAD,
                               .want = FRAME_HEAD_BYTES,
                               .size_max = FRAME_SIZE_MAX};
}

static int broken(struct frame_reader *r, struct frame *out, enum reset_code code,
                  const char *debug)
{
    r->step = READ_BROKEN;
    out->value = code;
    out->debug = debug;
    return FRAME_BROKEN;
}

static int protocol_error(struct frame_reader *r, struct frame *out)
{
    return broken(r, out, RESET_PROTOCOL_ERROR, "");
}

static void advance(struct slice *at, size_t len)
{
    at->p += len;
    at->len -= len;
}

/* True once small holds what is wanted. */
static bool gather(struct frame_reader *r, struct slice *at)
{
    size_t n = MIN_OF((size_t)(r->want - r->have), at->len);

    if (n > 0) {
        memcpy(r->small + r->have, at->p, n);
        r->have = (uint8_t)(r->have + n);
        advance(at, n);
    }
    return r->have == r->want;
}

static void next_frame(struct frame_reader *r)
{
    r->step = READ_HEAD;
    r->have = 0;
    r->want = FRAME_HEAD_BYTES;
}

/* The rest of the frame is dropped. */
static void finish_frame(struct frame_reader *r)
{
    next_frame(r);
    if (r->left > 0) {
        r->step = READ_SKIP;
    }
}

static int read_preface(struct frame_reader *r, struct slice *at)
{
    size_t n = MIN_OF((size_t)(FRAME_PREFACE_BYTES - r->have), at->len);

    if (n > 0 && memcmp(at->p, frame_preface + r->have, n) != 0) {
        r->step = READ_BROKEN;
        return FRAME_STRANGE;
    }
    r->have = (uint8_t)(r->have + n);
    advance(at, n);
    if (r->have < FRAME_PREFACE_BYTES) {
        return FRAME_MORE;
    }
    next_frame(r);
    return GO_ON;
}

static bool stream_fits(enum stream_rule rule, uint32_t stream)
{
    return rule == STREAM_ANY || (rule == STREAM_SOME && stream != 0) ||
           (rule == STREAM_ZERO && stream == 0);
}

/* A header block is one run of frames of one stream (RFC 9113 4.3). */
static bool in_sequence(const struct frame_reader *r)
{
    if (r->block_stream == 0) {
        return r->type != FRAME_CONTINUATION;
    }
    return r->type == FRAME_CONTINUATION && r->stream == r->block_stream;
}

static bool is_well_formed(const struct frame_reader *r)
{
    if (!in_sequence(r)) {
        return false;
    }
    if (r->type >= ARRAY_LEN(shapes)) {
        return true;
    }
    if (r->type == FRAME_SETTINGS && r->left % (r->flags & FRAME_ACK ? UINT32_MAX : 6) != 0) {
        return false; /* an acknowledgement has no payload */
    }
    const struct shape *s = &shapes[r->type];
    return stream_fits((enum stream_rule)s->rule, r->stream) &&
           (s->length == 0 || r->left == s->length);
}

/* How many bytes of fixed fields the frame starts with. */
static uint8_t fixed_fields(const struct frame_reader *r)
{
    uint8_t padded = r->flags & FRAME_PADDED ? 1 : 0;

    switch (r->type) {
    case FRAME_DATA:
        return padded;
    case FRAME_HEADERS:
        return (uint8_t)(padded + (r->flags & FRAME_HAS_PRIORITY ? 5 : 0));
    case FRAME_GOAWAY:
        return 8;
    case FRAME_SETTINGS:
        return r->left > 0 ? 6 : 0;
    default: /* a byte from the wire, not an enum of ours */
        return r->type < ARRAY_LEN(shapes) ? shapes[r->type].length : 0;
    }
}

/* What a peer may not repeat without end. */
static int check_counts(struct frame_reader *r, struct frame *out)
{
    if (r->type == FRAME_HEADERS) {
        r->continuations = 0;
    } else if (r->type == FRAME_CONTINUATION && !(r->flags & FRAME_END_HEADERS) &&
               ++r->continuations > FRAME_CONTINUATIONS_MAX) {
        return broken(r, out, RESET_ENHANCE_YOUR_CALM, "too_many_continuations");
    }
    if (r->type == FRAME_SETTINGS && r->left > 6 * FRAME_SETTINGS_MAX) {
        return broken(r, out, RESET_ENHANCE_YOUR_CALM, "too_many_settings");
    }
    return GO_ON;
}

static int start_frame(struct frame_reader *r, struct frame *out)
{
    r->left = be24_get(r->small);
    r->type = r->small[3];
    r->flags = r->small[4];
    r->stream = be32_get(r->small + 5) & FRAME_ID_MAX;
    r->padding = 0;
    r->begun = false;
    if (r->left > r->size_max) {
        return broken(r, out, RESET_FRAME_SIZE_ERROR, "");
    }
    if (!is_well_formed(r)) {
        return protocol_error(r, out);
    }
    r->have = 0;
    r->want = fixed_fields(r);
    if (r->want > r->left) {
        return protocol_error(r, out);
    }
    r->step = READ_FIXED;
    return check_counts(r, out);
}

/* Reads the pad length, if any: false when there is more padding than payload. */
static bool take_padding(struct frame_reader *r)
{
    if (r->flags & FRAME_PADDED) {
        r->padding = r->small[0];
    }
    return r->padding <= r->left;
}

static int begin_data(struct frame_reader *r, struct frame *out)
{
    uint32_t counted = r->left + r->want;

    if (!take_padding(r)) {
        return protocol_error(r, out);
    }
    r->step = READ_BODY;
    out->value = counted;
    out->padding = r->padding + r->want;
    out->end_stream = r->flags & FRAME_END_STREAM;
    return FRAME_DATA_BEGIN;
}

static bool depends_on_itself(const struct frame_reader *r, const uint8_t *field)
{
    return (be32_get(field) & FRAME_ID_MAX) == r->stream;
}

static int begin_block(struct frame_reader *r, struct frame *out)
{
    if (!take_padding(r)) {
        return protocol_error(r, out);
    }
    r->step = READ_BODY;
    r->block_stream = r->stream;
    r->block_ends_stream = r->flags & FRAME_END_STREAM;
    out->end_stream = r->block_ends_stream;
    out->self = (r->flags & FRAME_HAS_PRIORITY) &&
                depends_on_itself(r, r->small + (r->flags & FRAME_PADDED ? 1 : 0));
    return FRAME_BLOCK_BEGIN;
}

static int take_setting(struct frame_reader *r, struct frame *out)
{
    if (r->want == 0) {
        finish_frame(r);
        return r->flags & FRAME_ACK ? FRAME_SETTINGS_ACK : FRAME_SETTINGS_END;
    }
    out->id = be16_get(r->small);
    out->value = be32_get(r->small + 2);
    r->have = 0;
    r->want = r->left > 0 ? 6 : 0;
    return FRAME_ONE_SETTING;
}

static int take_goaway(struct frame_reader *r, struct frame *out)
{
    out->stream = be32_get(r->small) & FRAME_ID_MAX;
    out->value = be32_get(r->small + 4);
    finish_frame(r);
    return FRAME_GOING_AWAY;
}

static int take_window(struct frame_reader *r, struct frame *out)
{
    out->value = be32_get(r->small) & FRAME_WINDOW_MAX;
    finish_frame(r);
    return out->value > 0 ? FRAME_WINDOW : protocol_error(r, out);
}

static int take_fixed(struct frame_reader *r, struct frame *out)
{
    switch (r->type) {
    case FRAME_DATA:
        return begin_data(r, out);
    case FRAME_HEADERS:
        return begin_block(r, out);
    case FRAME_CONTINUATION:
        r->step = READ_BODY;
        return GO_ON;
    case FRAME_SETTINGS:
        return take_setting(r, out);
    case FRAME_GOAWAY:
        return take_goaway(r, out);
    case FRAME_WINDOW_UPDATE:
        return take_window(r, out);
    case FRAME_RST_STREAM:
        out->value = be32_get(r->small);
        finish_frame(r);
        return FRAME_STREAM_RESET;
    case FRAME_PING:
        out->opaque = be64_get(r->small);
        finish_frame(r);
        return r->flags & FRAME_ACK ? FRAME_PING_ANSWERED : FRAME_PING_ASKED;
    default: /* PRIORITY and whatever we do not know (RFC 9113 4.1) */
        out->self = r->type == FRAME_PRIORITY && depends_on_itself(r, r->small);
        finish_frame(r);
        return FRAME_IGNORED;
    }
}

static int read_fixed(struct frame_reader *r, struct slice *at, struct frame *out)
{
    if (!gather(r, at)) {
        return FRAME_MORE;
    }
    r->left -= r->want;
    return take_fixed(r, out);
}

static int end_body(struct frame_reader *r, struct frame *out)
{
    bool data = r->type == FRAME_DATA;

    out->end_stream = r->flags & FRAME_END_STREAM;
    finish_frame(r);
    return data ? FRAME_DATA_END : GO_ON;
}

/* A block's last piece is handed out even if it is empty; begun remembers that it was. */
static int read_block_piece(struct frame_reader *r, struct slice *at, struct frame *out)
{
    uint32_t body = r->left - r->padding;
    size_t n = MIN_OF((size_t)body, at->len);
    bool last = n == body && (r->flags & FRAME_END_HEADERS);

    if (r->begun || (body == 0 && !last)) {
        return end_body(r, out);
    }
    if (n == 0 && !last) {
        return FRAME_MORE;
    }
    out->piece = (struct slice){at->p, n};
    out->last = last;
    out->end_stream = r->block_ends_stream;
    r->left -= (uint32_t)n;
    r->begun = n == body;
    r->block_stream = last ? 0 : r->block_stream;
    advance(at, n);
    return FRAME_BLOCK_PIECE;
}

static int read_data_piece(struct frame_reader *r, struct slice *at, struct frame *out)
{
    uint32_t body = r->left - r->padding;
    size_t n = MIN_OF((size_t)body, at->len);

    if (body == 0) {
        return end_body(r, out);
    }
    if (n == 0) {
        return FRAME_MORE;
    }
    out->piece = (struct slice){at->p, n};
    r->left -= (uint32_t)n;
    advance(at, n);
    return FRAME_DATA_PIECE;
}

static int skip_rest(struct frame_reader *r, struct slice *at)
{
    size_t n = MIN_OF((size_t)r->left, at->len);

    r->left -= (uint32_t)n;
    advance(at, n);
    if (r->left > 0) {
        return FRAME_MORE;
    }
    next_frame(r);
    return GO_ON;
}

static int read_step(struct frame_reader *r, struct slice *at, struct frame *out)
{
    switch ((enum frame_read_step)r->step) {
    case READ_PREFACE:
        return read_preface(r, at);
    case READ_HEAD:
        return gather(r, at) ? start_frame(r, out) : FRAME_MORE;
    case READ_FIXED:
        return read_fixed(r, at, out);
    case READ_BODY:
        return r->type == FRAME_DATA ? read_data_piece(r, at, out) : read_block_piece(r, at, out);
    case READ_SKIP:
        return skip_rest(r, at);
    case READ_BROKEN:
        break;
    }
    return FRAME_BROKEN;
}

enum frame_event frame_next(struct frame_reader *r, struct slice *at, struct frame *out)
{
    int event = GO_ON;

    while (event == GO_ON) {
        *out = (struct frame){.debug = ""};
        event = read_step(r, at, out);
    }
    if (out->stream == 0) {
        out->stream = r->stream;
    }
    return (enum frame_event)event;
}

void frame_head_put(uint8_t out[static FRAME_HEAD_BYTES], uint32_t len, enum frame_type type,
                    uint8_t flags, uint32_t stream)
{
    be24_put(out, len);
    out[3] = (uint8_t)type;
    out[4] = flags;
    be32_put(out + 5, stream);
}

/* A frame of a head and up to 8 bytes of payload. */
static int put_small(struct bytes *out, enum frame_type type, uint8_t flags, uint32_t stream,
                     const uint8_t *payload, uint8_t len)
{
    uint8_t frame[FRAME_HEAD_BYTES + 8];

    frame_head_put(frame, len, type, flags, stream);
    if (len > 0) {
        memcpy(frame + FRAME_HEAD_BYTES, payload, len);
    }
    return bytes_add(out, frame, (size_t)FRAME_HEAD_BYTES + len);
}

static int put_u32(struct bytes *out, enum frame_type type, uint32_t stream, uint32_t value)
{
    uint8_t payload[4];

    be32_put(payload, value);
    return put_small(out, type, 0, stream, payload, sizeof(payload));
}

int frame_put_settings(struct bytes *out, const struct frame_pair *pairs, size_t count)
{
    uint8_t *p = bytes_reserve(out, FRAME_HEAD_BYTES + 6 * count);

    if (!p) {
        return -ERR_TOO_LARGE;
    }
    frame_head_put(p, (uint32_t)(6 * count), FRAME_SETTINGS, 0, 0);
    for (size_t i = 0; i < count; i++) {
        be16_put(p + FRAME_HEAD_BYTES + 6 * i, (uint16_t)pairs[i].id);
        be32_put(p + FRAME_HEAD_BYTES + 6 * i + 2, pairs[i].value);
    }
    bytes_commit(out, FRAME_HEAD_BYTES + 6 * count);
    return 0;
}

int frame_put_settings_ack(struct bytes *out)
{
    return put_small(out, FRAME_SETTINGS, FRAME_ACK, 0, NULL, 0);
}

int frame_put_ping(struct bytes *out, bool ack, uint64_t opaque)
{
    uint8_t payload[8];

    be64_put(payload, opaque);
    return put_small(out, FRAME_PING, ack ? FRAME_ACK : 0, 0, payload, sizeof(payload));
}

int frame_put_reset(struct bytes *out, uint32_t stream, uint32_t code)
{
    return put_u32(out, FRAME_RST_STREAM, stream, code);
}

int frame_put_window(struct bytes *out, uint32_t stream, uint32_t increment)
{
    return put_u32(out, FRAME_WINDOW_UPDATE, stream, increment);
}

int frame_put_goaway(struct bytes *out, uint32_t last, uint32_t code, const char *debug)
{
    size_t len = strlen(debug);
    uint8_t *p = bytes_reserve(out, FRAME_HEAD_BYTES + 8 + len);

    if (!p) {
        return -ERR_TOO_LARGE;
    }
    frame_head_put(p, (uint32_t)(8 + len), FRAME_GOAWAY, 0, 0);
    be32_put(p + FRAME_HEAD_BYTES, last);
    be32_put(p + FRAME_HEAD_BYTES + 4, code);
    memcpy(p + FRAME_HEAD_BYTES + 8, debug, len);
    bytes_commit(out, FRAME_HEAD_BYTES + 8 + len);
    return 0;
}

int frame_put_end(struct bytes *out, uint32_t stream)
{
    return put_small(out, FRAME_DATA, FRAME_END_STREAM, stream, NULL, 0);
}
