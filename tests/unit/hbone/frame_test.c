/* SPDX-License-Identifier: Apache-2.0 */
#include "hbone/frame.h"

#include <string.h>

#include "base/mem.h"
#include "t.h"

/* Events as text: cheap to compare, whatever portions the input came in. */
struct story {
    char text[4096];
    size_t len;
    struct slice piece_text;
};

static void tell(struct story *s, const char *what, uint32_t a, uint32_t b)
{
    int n = snprintf(s->text + s->len, sizeof(s->text) - s->len, "%s(%u,%u) ", what, a, b);

    s->len += n > 0 ? (size_t)n : 0;
}

static void tell_piece(struct story *s, const struct frame *f)
{
    for (size_t i = 0; i < f->piece.len && s->len + 2 < sizeof(s->text); i++) {
        s->text[s->len++] = f->piece.p[i];
    }
    if (f->last) {
        s->text[s->len++] = '!';
    }
}

static void tell_event(struct story *s, enum frame_event e, const struct frame *f)
{
    switch (e) {
    case FRAME_DATA_BEGIN:
        tell(s, "data", f->stream, f->value);
        break;
    case FRAME_DATA_PIECE:
    case FRAME_BLOCK_PIECE:
        tell_piece(s, f);
        break;
    case FRAME_DATA_END:
        tell(s, f->end_stream ? " END" : " end", f->stream, 0);
        break;
    case FRAME_BLOCK_BEGIN:
        tell(s, f->self ? "self" : "block", f->stream, f->end_stream);
        break;
    case FRAME_ONE_SETTING:
        tell(s, "set", f->id, f->value);
        break;
    case FRAME_SETTINGS_END:
        tell(s, "settings", 0, 0);
        break;
    case FRAME_SETTINGS_ACK:
        tell(s, "ack", 0, 0);
        break;
    case FRAME_PING_ASKED:
        tell(s, "ping", (uint32_t)(f->opaque >> 32), (uint32_t)f->opaque);
        break;
    case FRAME_PING_ANSWERED:
        tell(s, "pong", (uint32_t)(f->opaque >> 32), (uint32_t)f->opaque);
        break;
    case FRAME_STREAM_RESET:
        tell(s, "reset", f->stream, f->value);
        break;
    case FRAME_GOING_AWAY:
        tell(s, "goaway", f->stream, f->value);
        break;
    case FRAME_WINDOW:
        tell(s, "window", f->stream, f->value);
        break;
    case FRAME_IGNORED:
        tell(s, f->self ? "ignored self" : "ignored", f->stream, 0);
        break;
    case FRAME_STRANGE:
        tell(s, "strange", 0, 0);
        break;
    case FRAME_BROKEN:
        tell(s, "broken", f->value, 0);
        break;
    case FRAME_MORE:
        break;
    }
}

/* Feeds input in portions of the given size, each in memory of its own. */
static void read_in(struct story *s, const uint8_t *p, size_t len, size_t portion, bool preface)
{
    struct frame_reader r;
    enum frame_event e = FRAME_MORE;

    memset(s, 0, sizeof(*s));
    frame_reader_init(&r, preface);
    for (size_t at = 0; at < len && e != FRAME_BROKEN && e != FRAME_STRANGE; at += portion) {
        size_t n = len - at < portion ? len - at : portion;
        uint8_t *copy = mem_dup(p + at, n);
        struct slice input = {(const char *)copy, n};
        struct frame f;

        do {
            e = frame_next(&r, &input, &f);
            tell_event(s, e, &f);
        } while (e != FRAME_MORE && e != FRAME_BROKEN && e != FRAME_STRANGE);
        mem_free(copy);
    }
}

static size_t unhex(const char *hex, uint8_t *out)
{
    size_t n = 0;

    for (; hex[0]; hex++) {
        unsigned v;
        if (hex[0] != ' ' && sscanf(hex, "%2x", &v) == 1) {
            out[n++] = (uint8_t)v;
            hex++;
        }
    }
    return n;
}

static const struct {
    const char *hex;
    const char *story;
} frames[] = {
    {"000005 00 01 00000001 68656c6c6f", "data(1,5) hello END(1,0) "},
    {"000000 00 00 00000003", "data(3,0)  end(3,0) "},
    {"000009 00 08 00000001 03 68656c6c6f 000000", "data(1,9) hello end(1,0) "},
    {"000001 00 09 00000001 00", "data(1,1)  END(1,0) "},
    {"000002 00 08 00000001 0200", "broken(1,0) "},
    {"000000 00 08 00000001", "broken(1,0) "},
    {"000001 00 00 00000000 61", "broken(1,0) "},
    {"000003 01 04 80000001 616263", "block(1,0) abc!"},
    {"000000 01 05 00000001", "block(1,1) !"},
    {"000003 01 00 00000001 616263 000002 09 04 00000001 6465", "block(1,0) abcde!"},
    {"000000 01 00 00000001 000000 09 00 00000001 000001 09 04 00000001 65", "block(1,0) e!"},
    {"000003 01 00 00000001 616263 000000 09 04 00000001", "block(1,0) abc!"},
    {"000009 01 2c 00000005 01 00000003 10 6162 00", "block(5,0) ab!"},
    {"000008 01 24 00000005 00000005 10 616263", "self(5,0) abc!"},
    {"000004 01 24 00000005 00000005", "broken(1,0) "},
    {"000003 01 00 00000001 616263 000002 09 04 00000003 6465", "block(1,0) abcbroken(1,0) "},
    {"000003 01 00 00000001 616263 000008 06 00 00000000 0000000000000000",
     "block(1,0) abcbroken(1,0) "},
    {"000000 09 04 00000001", "broken(1,0) "},
    {"000000 01 04 00000000", "broken(1,0) "},
    {"000005 02 00 00000003 00000001 10", "ignored(3,0) "},
    {"000005 02 00 00000003 80000003 10", "ignored self(3,0) "},
    {"000004 02 00 00000003 00000001", "broken(1,0) "},
    {"000004 03 00 00000003 00000063", "reset(3,99) "},
    {"000004 03 00 00000000 00000063", "broken(1,0) "},
    {"000003 03 00 00000001 000000", "broken(1,0) "},
    {"00000c 04 00 00000000 0003 000000c8 0004 00400000",
     "set(3,200) set(4,4194304) settings(0,0) "},
    {"000000 04 00 00000000", "settings(0,0) "},
    {"000000 04 01 00000000", "ack(0,0) "},
    {"000006 04 01 00000000 000300000001", "broken(1,0) "},
    {"000005 04 00 00000000 0003000000", "broken(1,0) "},
    {"000000 04 00 00000001", "broken(1,0) "},
    {"000005 05 04 00000001 0000000282", "broken(1,0) "},
    {"000008 06 00 00000000 0000000100000002", "ping(1,2) "},
    {"000008 06 01 00000000 0000000100000002", "pong(1,2) "},
    {"000007 06 00 00000000 00000001000000", "broken(1,0) "},
    {"00000b 07 00 00000000 80000005 0000000b 616263 000000 04 01 00000000",
     "goaway(5,11) ack(0,0) "},
    {"000007 07 00 00000000 00000005000000", "broken(1,0) "},
    {"000004 08 00 00000000 80000001", "window(0,1) "},
    {"000004 08 00 00000007 7fffffff", "window(7,2147483647) "},
    {"000004 08 00 00000007 00000000", "broken(1,0) "},
    {"000003 0a ff 00000001 78797a 000000 04 01 00000000", "ignored(1,0) ack(0,0) "},
    {"100000 00 00 00000001 61", "data(1,1048576) a"},
    {"100001 00 00 00000001 61", "broken(6,0) "},
    {"485454502f312e3120343030204261", "broken(6,0) "},
};

TEST(frames_are_read_alike_in_any_portions)
{
    static struct story s;
    uint8_t input[256];

    for (size_t i = 0; i < ARRAY_LEN(frames); i++) {
        size_t len = unhex(frames[i].hex, input);

        for (size_t portion = len; portion > 0; portion--) {
            read_in(&s, input, len, portion, false);
            CHECK_STR(s.text, frames[i].story);
        }
    }
}

TEST(the_preface_is_taken_in_any_portions_and_nothing_else_is)
{
    static struct story s;
    uint8_t input[64];

    memcpy(input, frame_preface, FRAME_PREFACE_BYTES);
    size_t len = FRAME_PREFACE_BYTES + unhex("000000 04 01 00000000", input + FRAME_PREFACE_BYTES);
    for (size_t portion = 1; portion <= len; portion++) {
        read_in(&s, input, len, portion, true);
        CHECK_STR(s.text, "ack(0,0) ");
    }
    for (size_t wrong = 0; wrong < FRAME_PREFACE_BYTES; wrong++) {
        input[wrong] ^= 0x20;
        read_in(&s, input, len, 5, true);
        CHECK_STR(s.text, "strange(0,0) ");
        input[wrong] ^= 0x20;
    }
}

/* Five that are not the last, then the last: fine. One more: too many. */
TEST(continuations_are_counted_per_block)
{
    static struct story s;
    uint8_t input[512];

    for (int more = 5; more <= 6; more++) {
        size_t len = 0;

        for (int block = 0; block < 3; block++) {
            len += unhex("000001 01 00 00000001 61", input + len);
            for (int i = 0; i < more; i++) {
                len += unhex("000001 09 00 00000001 62", input + len);
            }
            len += unhex("000001 09 04 00000001 63", input + len);
        }
        read_in(&s, input, len, len, false);
        CHECK_STR(s.text, more == 5 ? "block(1,0) abbbbbc!block(1,0) abbbbbc!block(1,0) abbbbbc!"
                                    : "block(1,0) abbbbbbroken(11,0) ");
    }
}

TEST(what_is_written_is_read_back)
{
    static struct story s;
    struct bytes out;
    const struct frame_pair pairs[] = {{SETTING_ENABLE_PUSH, 0}, {SETTING_MAX_FRAME_SIZE, 1 << 20}};

    bytes_init(&out, 4096);
    CHECK_INT(frame_put_settings(&out, pairs, 2), 0);
    CHECK_INT(frame_put_settings_ack(&out), 0);
    CHECK_INT(frame_put_ping(&out, false, 7), 0);
    CHECK_INT(frame_put_ping(&out, true, 8), 0);
    CHECK_INT(frame_put_reset(&out, 5, RESET_CANCEL), 0);
    CHECK_INT(frame_put_window(&out, 9, 1234), 0);
    CHECK_INT(frame_put_goaway(&out, 11, RESET_ENHANCE_YOUR_CALM, "too_many"), 0);
    CHECK_INT(frame_put_end(&out, 3), 0);
    read_in(&s, bytes_peek(&out), out.len, 3, false);
    CHECK_STR(s.text, "set(2,0) set(5,1048576) settings(0,0) ack(0,0) ping(0,7) pong(0,8) "
                      "reset(5,8) window(9,1234) goaway(11,11) data(3,0)  END(3,0) ");
    bytes_fini(&out);
    bytes_init(&out, 8);
    CHECK_INT(frame_put_ping(&out, false, 7), -ERR_TOO_LARGE);
    CHECK_INT(frame_put_goaway(&out, 1, 1, ""), -ERR_TOO_LARGE);
    CHECK_INT(frame_put_settings(&out, pairs, 2), -ERR_TOO_LARGE);
    CHECK_INT(out.len, 0);
    bytes_fini(&out);
}
