/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole tunnel, either role, beside a full nghttp2 session that reads the same bytes. What nghttp2
 * refuses ends our tunnel, too; what we hand to the application, nghttp2 has seen with the same header
 * fields and the same data. The first input byte chooses the role and the portions of reading.
 *
 * Where recordings of the real proxy are milder than nghttp2 they win, and the oracle looks away:
 * priorities, frames for streams that have ended, ENABLE_PUSH of a server, a server that takes extended
 * CONNECT back, a CONNECT without :authority.
 *
 * Before the first input each kind of disagreement is made on purpose, and has to be noticed.
 */
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "hbone/frame.h"
#include "hbone/handover.h"
#include "hbone/pool.h"
#include "hbone/server.h"
#include "io/loop.h"

enum { STREAMS = 64, DATA_MAX = 1 << 16 };

struct seen { /* one stream, as one of the two saw it */
    uint32_t id;
    char authority[512];
    char forwarded[512];
    uint8_t *data;
    size_t len;
    bool ended;
    bool forwards; /* the field was there: the first one counts */
    unsigned status;
};

struct side {
    struct seen streams[STREAMS];
    unsigned count;
};

/* What lies below our tunnel: the input, in portions. */
struct feed {
    struct stream s;
    const uint8_t *p;
    size_t left;
    size_t portion;
    bool open;
};

static ssize_t feed_read(struct stream *s, void *into, size_t room)
{
    struct feed *f = container_of(s, struct feed, s);
    size_t n = f->portion < room ? f->portion : room;

    n = n < f->left ? n : f->left;
    if (n == 0) {
        return -EAGAIN;
    }
    memcpy(into, f->p, n);
    f->p += n;
    f->left -= n;
    return (ssize_t)n;
}

static ssize_t feed_write(struct stream *s, const void *from, size_t len)
{
    (void)s;
    (void)from;
    return (ssize_t)len;
}

static int feed_nothing(struct stream *s)
{
    (void)s;
    return 0;
}

static void feed_close(struct stream *s, int why)
{
    (void)why;
    container_of(s, struct feed, s)->open = false;
}

static const struct stream_ops feed_ops = {.name = "feed",
                                           .read = feed_read,
                                           .write = feed_write,
                                           .flush = feed_nothing,
                                           .shut = feed_nothing,
                                           .close = feed_close};

static struct seen *find(struct side *s, uint32_t id, bool make)
{
    for (unsigned i = 0; i < s->count; i++) {
        if (s->streams[i].id == id) {
            return &s->streams[i];
        }
    }
    if (!make || s->count == STREAMS) {
        return NULL;
    }
    struct seen *n = &s->streams[s->count++];
    memset(n, 0, sizeof(*n));
    n->id = id;
    return n;
}

static void add_data(struct seen *s, const uint8_t *p, size_t len)
{
    if (!s || len == 0) {
        return;
    }
    size_t n = DATA_MAX - s->len < len ? DATA_MAX - s->len : len;
    s->data = s->data ? s->data : mem_alloc(DATA_MAX);
    memcpy(s->data + s->len, p, n);
    s->len += n;
}

static void side_clear(struct side *s)
{
    for (unsigned i = 0; i < s->count; i++) {
        mem_free(s->streams[i].data);
    }
    s->count = 0;
}

/* ours */

struct ours {
    struct task task;
    struct hbone_server *server;
    struct stream *streams[STREAMS];
    unsigned count;
    int end; /* of the server; -EAGAIN while it lives */
    struct side seen;
};

static struct loop *loop;

static void keep(char *out, size_t room, struct slice s)
{
    size_t n = s.len < room - 1 ? s.len : room - 1;

    if (n > 0) {
        memcpy(out, s.p, n);
    }
    out[n] = '\0';
}

static void take_request(struct ours *o, struct hbone_request *r)
{
    const struct hbone_head *h = hbone_request_head(r);

    if (!slice_is(h->method, "CONNECT") || !h->authority.p || o->count == STREAMS) {
        hbone_request_refuse(r, 400);
        return;
    }
    char authority[512], forwarded[512];
    keep(authority, sizeof(authority), h->authority);
    keep(forwarded, sizeof(forwarded), h->forwarded);
    struct stream *s = hbone_request_accept(r, (struct slice){NULL, 0});
    if (hbone_stream_id(s) != 0) {
        struct seen *n = find(&o->seen, hbone_stream_id(s), true);
        if (n) {
            memcpy(n->authority, authority, sizeof(authority));
            memcpy(n->forwarded, forwarded, sizeof(forwarded));
        }
    }
    stream_own(s, &o->task);
    o->streams[o->count++] = s;
}

static void read_stream(struct ours *o, unsigned i)
{
    uint8_t buf[4096];
    struct seen *n = find(&o->seen, o->seen.streams[i].id, false);
    ssize_t r = 0;

    while (n && (r = stream_read(o->streams[i], buf, sizeof(buf))) > 0) {
        add_data(n, buf, (size_t)r);
    }
    if (n && r == 0) {
        n->ended = true;
    }
}

static void run_ours(struct task *task, unsigned why)
{
    struct ours *o = container_of(task, struct ours, task);
    struct hbone_request *r = NULL;

    (void)why;
    while (o->server && (o->end = hbone_server_next(o->server, &r)) == 1) {
        take_request(o, r);
    }
    for (unsigned i = 0; i < o->count && i < o->seen.count; i++) {
        read_stream(o, i);
    }
}

/* theirs */

struct theirs {
    nghttp2_session *session;
    struct side seen;
    bool broken;
    bool unsure; /* a stream was refused on grounds of its own: stop comparing streams */
};

static int on_header(nghttp2_session *s, const nghttp2_frame *f, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *arg)
{
    struct theirs *t = arg;
    struct slice n = {(const char *)name, name_len}, v = {(const char *)value, value_len};
    struct seen *st = find(&t->seen, (uint32_t)f->hd.stream_id, true);

    (void)s;
    (void)flags;
    if (st && slice_is(n, ":authority")) {
        keep(st->authority, sizeof(st->authority), v);
    } else if (st && slice_is(n, "forwarded") && f->headers.cat == NGHTTP2_HCAT_REQUEST &&
               !st->forwards) {
        keep(st->forwarded, sizeof(st->forwarded), v);
        st->forwards = true;
    } else if (st && slice_is(n, ":status")) {
        st->status = (unsigned)atoi((const char *)value);
    }
    return 0;
}

static int on_chunk(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *p, size_t len,
                    void *arg)
{
    struct theirs *t = arg;

    (void)s;
    (void)flags;
    add_data(find(&t->seen, (uint32_t)id, true), p, len);
    return 0;
}

static ssize_t no_data(nghttp2_session *s, int32_t id, uint8_t *buf, size_t len, uint32_t *flags,
                       nghttp2_data_source *source, void *arg)
{
    (void)s;
    (void)id;
    (void)buf;
    (void)len;
    (void)flags;
    (void)source;
    (void)arg;
    return NGHTTP2_ERR_DEFERRED;
}

static nghttp2_nv field(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
                        strlen(value), NGHTTP2_NV_FLAG_NONE};
}

static int on_frame(nghttp2_session *s, const nghttp2_frame *f, void *arg)
{
    struct theirs *t = arg;

    if (f->hd.type == NGHTTP2_HEADERS && f->headers.cat == NGHTTP2_HCAT_REQUEST) {
        nghttp2_nv ok = field(":status", "200");
        nghttp2_data_provider later = {.read_callback = no_data};

        (void)nghttp2_submit_response(s, f->hd.stream_id, &ok, 1, &later);
    }
    if ((f->hd.type == NGHTTP2_HEADERS || f->hd.type == NGHTTP2_DATA) &&
        (f->hd.flags & NGHTTP2_FLAG_END_STREAM)) {
        struct seen *st = find(&t->seen, (uint32_t)f->hd.stream_id, true);
        if (st) {
            st->ended = true;
        }
    }
    return 0;
}

/* Frames for streams that have ended are a matter of the recordings. */
static int on_invalid(nghttp2_session *s, const nghttp2_frame *f, int code, void *arg)
{
    struct theirs *t = arg;

    (void)s;
    (void)code;
    (void)f;
    t->unsure = true;
    return 0;
}

/* Is there a header of a kind that nghttp2 judges harder? Looked up in the raw input, for nghttp2 does
 * not say which frame it was that broke a closed stream. */
static bool is_milder(const uint8_t *p, size_t len, bool preface)
{
    struct frame_reader r;
    struct slice at = {(const char *)p, len};
    struct frame f;
    uint32_t ended[STREAMS];
    unsigned count = 0;

    frame_reader_init(&r, preface);
    for (;;) {
        enum frame_event e = frame_next(&r, &at, &f);

        if (e == FRAME_MORE || e == FRAME_BROKEN || e == FRAME_STRANGE) {
            return false;
        }
        if ((e == FRAME_BLOCK_BEGIN || e == FRAME_IGNORED) && f.self) {
            return true; /* depends on itself */
        }
        if (e == FRAME_ONE_SETTING && !preface && f.id == SETTING_ENABLE_PUSH) {
            return true; /* of a server */
        }
        for (unsigned i = 0; i < count; i++) {
            if (ended[i] == f.stream && (e == FRAME_DATA_BEGIN || e == FRAME_BLOCK_BEGIN)) {
                return true;
            }
        }
        bool over = (e == FRAME_DATA_END && f.end_stream) || e == FRAME_STREAM_RESET ||
                    (e == FRAME_BLOCK_BEGIN && f.end_stream);
        if (over && count < STREAMS) {
            ended[count++] = f.stream;
        }
    }
}

static nghttp2_session *make_session(struct theirs *t, bool server)
{
    nghttp2_session_callbacks *c = NULL;
    nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 4 << 20},
                                         {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, 1 << 20},
                                         {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 200}};
    nghttp2_session *s = NULL;

    nghttp2_session_callbacks_new(&c);
    nghttp2_session_callbacks_set_on_header_callback(c, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_chunk);
    nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(c, on_invalid);
    if (server) {
        nghttp2_session_server_new(&s, c, t);
    } else {
        nghttp2_session_client_new(&s, c, t);
    }
    nghttp2_session_callbacks_del(c);
    (void)nghttp2_submit_settings(s, NGHTTP2_FLAG_NONE, settings, server ? 3 : 2);
    (void)nghttp2_session_set_local_window_size(s, NGHTTP2_FLAG_NONE, 0, 16 << 20);
    return s;
}

/* Sends what it wants to; true if that includes a GOAWAY for an error. */
static bool drain(nghttp2_session *s)
{
    const uint8_t *p;
    ssize_t n;
    bool goaway = false;

    while ((n = nghttp2_session_mem_send(s, &p)) > 0) {
        goaway |= n >= 17 && p[3] == NGHTTP2_GOAWAY && memcmp(p + 13, "\0\0\0\0", 4) != 0;
    }
    return goaway || n < 0;
}

static void run_theirs(struct theirs *t, const uint8_t *p, size_t len, bool server,
                       const char *authority)
{
    t->session = make_session(t, server);
    if (!server) {
        nghttp2_nv nv[] = {field(":method", "CONNECT"), field(":authority", authority)};
        nghttp2_data_provider later = {.read_callback = no_data};

        (void)nghttp2_submit_request(t->session, NULL, nv, 2, &later, NULL);
    }
    (void)drain(t->session);
    for (size_t at = 0; at < len && !t->broken; at += 512) { /* answers go out in between */
        size_t n = len - at < 512 ? len - at : 512;
        ssize_t r = nghttp2_session_mem_recv(t->session, p + at, n);

        t->broken = drain(t->session) || r < 0;
    }
    nghttp2_session_del(t->session);
}

/* What is done to our side before it is compared, and how often that was noticed. */
enum bend {
    BEND_NOTHING,
    BEND_END_UNSEEN, /* of the tunnel: as if we had not refused */
    BEND_AUTHORITY,
    BEND_FORWARDED,
    BEND_DATA,
    BEND_MORE_DATA,
    BEND_END_OF_STREAM,
    BEND_STREAM,
    BENDS
};
static bool rehearsing;
static enum bend bend;
static unsigned noticed;

static void bend_ours(struct ours *o)
{
    struct seen *s = &o->seen.streams[0];

    switch (bend) {
    case BEND_END_UNSEEN:
        o->end = -EAGAIN;
        break;
    case BEND_AUTHORITY:
        s->authority[0] ^= 1;
        break;
    case BEND_FORWARDED:
        s->forwarded[0] ^= 1;
        break;
    case BEND_DATA:
        s->data[0] ^= 1;
        break;
    case BEND_MORE_DATA:
        s->len++;
        break;
    case BEND_END_OF_STREAM:
        s->ended = true;
        break;
    case BEND_STREAM:
        s->id += 2;
        break;
    case BEND_NOTHING:
    case BENDS:
        break;
    }
}

static void check(bool holds, const char *what)
{
    noticed += !holds;
    if (!holds && !rehearsing) {
        fprintf(stderr, "%s\n", what);
        abort();
    }
}

/* What ours saw of each stream, theirs must have seen. */
static void compare(struct side *ours, struct theirs *t)
{
    for (unsigned i = 0; i < ours->count; i++) {
        struct seen *a = &ours->streams[i];
        struct seen *b = find(&t->seen, a->id, false);

        if (!b) {
            check(t->broken || t->unsure || t->seen.count == STREAMS, "a stream of ours alone");
            continue;
        }
        check(strcmp(a->authority, b->authority) == 0, "another authority");
        check(strcmp(a->forwarded, b->forwarded) == 0, "another forwarded");
        size_t n = a->len < b->len ? a->len : b->len;
        check(n == 0 || memcmp(a->data, b->data, n) == 0, "other data");
        check(a->len <= b->len || t->broken || t->unsure, "more data");
        check(!a->ended || b->ended || t->broken || t->unsure, "an end of ours alone");
    }
}

static void settle(void)
{
    for (int i = 0; i < 64 && loop_turn(loop, 0) > 0; i++) {
    }
}

static const char authority[] = "10.0.0.2:80";

static void begin(struct ours *o, struct theirs *t)
{
    memset(o, 0, sizeof(*o));
    memset(t, 0, sizeof(*t));
    o->end = -EAGAIN;
    task_init(&o->task, loop, "ours", run_ours);
}

static void run_server(const uint8_t *p, size_t len, size_t portion)
{
    struct feed f = {.s.ops = &feed_ops, .p = p, .left = len, .portion = portion, .open = true};
    static struct ours o;
    static struct theirs t;
    struct hbone_loop *home = hbone_loop_new(loop, NULL, NULL);

    begin(&o, &t);
    o.server = hbone_server_new(home, &f.s, &o.task, NULL);
    task_wake(&o.task, WAKE_START);
    do {
        settle();
    } while (f.left > 0 && f.open && o.end == -EAGAIN);
    bend_ours(&o);
    run_theirs(&t, p, len, true, authority);
    bool excused = is_milder(p, len, true);
    check(!t.broken || o.end != -EAGAIN || excused, "nghttp2 refuses, we do not");
    compare(&o.seen, &t);
    for (unsigned i = 0; i < o.count; i++) {
        stream_close(o.streams[i], i % 2 ? -ERR_CANCELLED : 0);
    }
    hbone_server_close(o.server, 0);
    task_fini(&o.task);
    f.left = 0;
    loop_advance(loop, 5000);
    settle();
    hbone_loop_free(home);
    side_clear(&o.seen);
    side_clear(&t.seen);
}

static void run_client(const uint8_t *p, size_t len, size_t portion)
{
    struct feed f = {.s.ops = &feed_ops, .p = p, .left = len, .portion = portion, .open = true};
    static struct ours o;
    static struct theirs t;
    struct hbone_loop *home = hbone_loop_new(loop, NULL, NULL);
    struct hbone_head head = {.authority = {authority, sizeof(authority) - 1}};

    begin(&o, &t);
    o.streams[o.count++] = hbone_dial_once(home, &f.s, &head, NULL);
    stream_own(o.streams[0], &o.task);
    memcpy(find(&o.seen, 1, true)->authority, authority, sizeof(authority));
    memcpy(find(&t.seen, 1, true)->authority, authority, sizeof(authority));
    task_wake(&o.task, WAKE_START);
    do {
        settle();
    } while (f.left > 0 && f.open);
    run_theirs(&t, p, len, false, authority);
    bool excused = is_milder(p, len, false);
    struct seen *b = find(&t.seen, 1, false);
    int ready = hbone_dial_ready(o.streams[0]);
    check(!t.broken || hbone_stream_id(o.streams[0]) == 0 || excused, "nghttp2 refuses, we do not");
    check(ready != 0 || excused || (b && b->status == 200), "an answer of ours alone");
    if (ready == 0) {
        compare(&o.seen, &t);
    }
    stream_close(o.streams[0], 0);
    task_fini(&o.task);
    f.left = 0;
    loop_advance(loop, 5000);
    settle();
    hbone_loop_free(home);
    side_clear(&o.seen);
    side_clear(&t.seen);
}

/* Whole frames only: in the middle of one the two may differ in what they know already. */
static size_t whole_frames(const uint8_t *p, size_t len)
{
    size_t at = 0;

    while (len - at >= FRAME_HEAD_BYTES) {
        size_t n = FRAME_HEAD_BYTES + ((size_t)p[at] << 16 | (size_t)p[at + 1] << 8 | p[at + 2]);

        if (n > len - at) {
            break;
        }
        at += n;
    }
    return at;
}

static void run_both(const uint8_t *data, size_t size)
{
    static const uint8_t hello[] = {0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0};

    bool server = data[0] & 1;
    size_t portion = (size_t)1 << (data[0] >> 4);
    size_t head = server ? FRAME_PREFACE_BYTES : 0;
    size_t body = whole_frames(data + 1, size - 1);
    size_t len = head + sizeof(hello) + body;
    uint8_t *input = mem_alloc(len);
    memcpy(input, frame_preface, head);
    memcpy(input + head, hello, sizeof(hello));
    memcpy(input + head + sizeof(hello), data + 1, body);
    if (server) {
        run_server(input, len, portion);
    } else {
        run_client(input, len, portion);
    }
    mem_free(input);
}

/* A request with some data; behind it, for bad, DATA on stream 0. */
static void rehearse(void)
{
    static const uint8_t input[] = "\x81\0\0\x27\1\4\0\0\0\1\2\7CONNECT\1\x0b"
                                   "10.0.0.2:80\0\x09"
                                   "forwarded\5for=a\0\0\5\0\0\0\0\0\1hello\0\0\1\0\0\0\0\0\0x";
    enum { BAD = sizeof(input) - 1, GOOD = BAD - FRAME_HEAD_BYTES - 1 };

    rehearsing = true;
    run_both(input, BAD);
    bool calm = noticed == 0;
    for (bend = BEND_NOTHING; bend < BENDS; bend++) {
        noticed = 0;
        run_both(input, bend == BEND_END_UNSEEN ? BAD : GOOD);
        calm = calm && (noticed > 0) == (bend != BEND_NOTHING);
        if (!calm) {
            fprintf(stderr, "disagreement %d: noticed %u times\n", bend, noticed);
            abort();
        }
    }
    bend = BEND_NOTHING;
    rehearsing = false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 1 << 17) {
        return 0;
    }
    if (!loop) {
        loop = loop_new(NULL);
        rehearse();
    }
    run_both(data, size);
    return 0;
}
