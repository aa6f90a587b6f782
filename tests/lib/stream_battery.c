/* SPDX-License-Identifier: Apache-2.0 */
#include "stream_battery.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

enum {
    STUCK_MS = 30000,  /* busy for so long, and not one byte got further */
    PIECES = 8,        /* of a vector or of lent memory */
    CLOSE_POINTS = 48, /* moments tried by the close test */
    CHUNK_MAX = 300000,
};

enum manner { MANNER_PLAIN, MANNER_VECTOR, MANNER_LENT };
enum flushing { FLUSH_EACH, FLUSH_LAST };

/* One end's application: sends what it was told to, reads up to a limit, notes how it went. */
struct actor {
    struct task task;
    struct stream *s; /* NULL once closed */
    enum manner manner;
    enum flushing flushing;
    unsigned seed;
    size_t write_size;
    size_t read_size;
    size_t to_send;
    size_t sent;
    size_t read_limit;
    size_t got;
    bool shuts; /* after the last byte */
    bool shut;
    bool flushed; /* since the last byte sent */
    bool ended;
    bool wrong; /* a byte was not the one that was sent */
    int read_failure;
    int write_failure;
    unsigned io_wakes;
    unsigned refusals;
    int *calls; /* shared by both ends: stream calls so far */
    int close_at;
    int close_why;
};

struct rig {
    const struct battery_kit *kit;
    struct loop *loop;
    struct actor a[2];
    int calls;
    int fds;
    int live;
    const size_t *counted; /* what settle_count waits for */
    size_t wanted;
};

static uint8_t byte_at(unsigned seed, size_t i)
{
    return (uint8_t)(i * 31 + i / 251 + i / 65537 + seed);
}

static uint8_t chunk[CHUNK_MAX];

/* Counts a stream call. False: this is the moment to close. */
static bool may_call(struct actor *a)
{
    if (a->s && (*a->calls)++ == a->close_at) {
        stream_close(a->s, a->close_why);
        a->s = NULL;
    }
    return a->s != NULL;
}

/* Cuts len bytes at p into pieces of uneven size. */
static int cut(struct iovec v[static PIECES], uint8_t *p, size_t len)
{
    int n = 0;

    while (len > 0) {
        size_t part = n + 1 < PIECES && len > 3 ? len / 3 : len;
        v[n++] = (struct iovec){p, part};
        p += part;
        len -= part;
    }
    return n;
}

static size_t fill(const struct actor *a, const struct iovec *v, int count, size_t most)
{
    size_t n = 0;

    for (int i = 0; i < count; i++) {
        for (size_t j = 0; j < v[i].iov_len && n < most; j++) {
            ((uint8_t *)v[i].iov_base)[j] = byte_at(a->seed, a->sent + n);
            n++;
        }
    }
    return n;
}

static ssize_t write_reserved(struct actor *a, size_t want)
{
    struct iovec v[PIECES];
    int count = stream_reserve(a->s, v, PIECES, want);

    if (count <= 0) {
        return count < 0 ? count : -EIO; /* room without pieces is a broken promise */
    }
    size_t n = fill(a, v, count, want > 1 ? want - want / 3 : 1); /* less than was lent */
    stream_commit(a->s, n);
    return (ssize_t)n;
}

static ssize_t write_some(struct actor *a)
{
    size_t want = a->to_send - a->sent < a->write_size ? a->to_send - a->sent : a->write_size;
    struct iovec v[PIECES] = {{chunk, want}};

    if (a->manner == MANNER_LENT && a->s->ops->reserve) {
        return write_reserved(a, want);
    }
    (void)fill(a, v, 1, want);
    if (a->manner == MANNER_VECTOR && a->s->ops->writev) {
        int count = cut(v, chunk, want);
        return a->s->ops->writev(a->s, v, count);
    }
    return stream_write(a->s, chunk, want);
}

static void check_bytes(struct actor *a, const struct iovec *v, int count, size_t len)
{
    size_t n = 0;

    for (int i = 0; i < count; i++) {
        for (size_t j = 0; j < v[i].iov_len && n < len; j++, n++) {
            a->wrong |= ((uint8_t *)v[i].iov_base)[j] != byte_at(a->seed ^ 1, a->got + n);
        }
    }
}

static ssize_t read_lent(struct actor *a, size_t most)
{
    struct iovec v[PIECES];
    int count = stream_peek(a->s, v, PIECES);
    size_t len = 0;

    if (count <= 0) {
        return count;
    }
    for (int i = 0; i < count; i++) {
        len += v[i].iov_len;
    }
    size_t n = len < most ? len : most;
    n = n > 1 ? n - n / 3 : n; /* uses less than was lent */
    check_bytes(a, v, count, n);
    stream_skip(a->s, n);
    return len > 0 ? (ssize_t)n : -EIO; /* pieces without bytes would spin */
}

static ssize_t read_some(struct actor *a)
{
    size_t left = a->read_limit - a->got;
    size_t room = left < a->read_size ? left : a->read_size;
    struct iovec v[PIECES] = {{chunk, room}};
    int count = 1;

    if (a->manner == MANNER_LENT && a->s->ops->peek) {
        return read_lent(a, room);
    }
    if (a->manner == MANNER_VECTOR && a->s->ops->readv) {
        count = cut(v, chunk, room);
    }
    ssize_t n = count > 1 ? a->s->ops->readv(a->s, v, count) : stream_read(a->s, chunk, room);
    if (n > 0) {
        check_bytes(a, v, count, (size_t)n);
    }
    return n;
}

/* True when the answer lets the actor go on. */
static bool went(struct actor *a, ssize_t r, int *failure)
{
    if (r == -EAGAIN) {
        a->refusals++;
    } else if (r < 0) {
        *failure = (int)r;
    }
    return r >= 0;
}

static bool send_flush(struct actor *a)
{
    if (!a->flushed && may_call(a)) {
        a->flushed = went(a, stream_flush(a->s), &a->write_failure);
    }
    return a->flushed;
}

static void act_send(struct actor *a)
{
    while (a->s && a->write_failure == 0 && a->sent < a->to_send) {
        if (a->flushing == FLUSH_EACH && a->sent > 0) {
            (void)send_flush(a); /* it is only a request to get on with it */
        }
        ssize_t n = may_call(a) ? write_some(a) : -EAGAIN;
        if (!a->s || !went(a, n, &a->write_failure)) {
            return;
        }
        if (n == 0 || (size_t)n > a->to_send - a->sent) {
            a->write_failure = -EBADMSG;
            return;
        }
        a->sent += (size_t)n;
        a->flushed = false;
    }
    if (a->s && a->write_failure == 0 && send_flush(a) && a->shuts && !a->shut && may_call(a)) {
        a->shut = went(a, stream_shut(a->s), &a->write_failure);
    }
}

static void act_receive(struct actor *a)
{
    while (a->s && a->read_failure == 0 && !a->ended && a->got < a->read_limit) {
        ssize_t n = may_call(a) ? read_some(a) : -EAGAIN;
        if (!a->s || !went(a, n, &a->read_failure)) {
            return;
        }
        a->ended = n == 0;
        a->got += (size_t)n;
    }
}

static void act(struct task *t, unsigned why)
{
    struct actor *a = container_of(t, struct actor, task);

    a->io_wakes += (why & WAKE_IO) != 0;
    act_send(a);
    act_receive(a);
}

static void nudge(struct actor *a)
{
    task_wake(&a->task, WAKE_START);
}

static bool rig_start(struct test *t, struct rig *g, const struct battery_kit *kit)
{
    struct stream *s[2] = {NULL, NULL};

    *g = (struct rig){.kit = kit, .fds = test_fd_count(), .live = kit->live ? kit->live() : 0};
    g->loop = loop_new(NULL);
    loop_stop_clock(g->loop); /* no promise here has a deadline, on however slow a machine */
    int r = kit->pair(kit->arg, g->loop, s);
    if (!test_int(t, __FILE__, __LINE__, "pair()", r, 0)) {
        loop_free(g->loop);
        return false;
    }
    for (unsigned i = 0; i < 2; i++) {
        struct actor *a = &g->a[i];
        *a = (struct actor){.s = s[i], .seed = i, .write_size = 8192, .read_size = 5000};
        a->read_limit = SIZE_MAX;
        a->flushed = true;
        a->calls = &g->calls;
        a->close_at = -1;
        task_init(&a->task, g->loop, "actor", act);
        stream_own(a->s, &a->task);
        nudge(a);
    }
    return true;
}

typedef bool until_fn(const struct rig *g);

static size_t progress(const struct rig *g)
{
    return g->a[0].sent + g->a[0].got + g->a[1].sent + g->a[1].got;
}

/* Turns until the condition holds. False: idle for longer than the kit's patience, so a wake was
 * lost, or busy with nothing. */
static bool settle(struct rig *g, until_fn *until)
{
    uint64_t busy = clock_mono_ms();
    uint64_t moved = busy;

    for (size_t before = progress(g); !until(g); before = progress(g)) {
        unsigned ran = loop_turn(g->loop, g->kit->patience_ms > 0 ? 5 : 0);
        uint64_t now = clock_mono_ms();
        busy = ran > 0 ? now : busy;
        moved = progress(g) != before ? now : moved;
        if ((ran == 0 && now - busy >= (uint64_t)g->kit->patience_ms) || now - moved > STUCK_MS) {
            return until(g);
        }
    }
    return true;
}

static bool is_counted(const struct rig *g)
{
    return *g->counted >= g->wanted;
}

/* What has to come before it can become quiet: a handshake takes its time on a busy machine. */
static bool settle_count(struct rig *g, const size_t *count, size_t wanted)
{
    g->counted = count;
    g->wanted = wanted;
    return settle(g, is_counted);
}

/* Until nothing happens any more, for as long as a test can wait for nothing. */
static void quiet(struct rig *g)
{
    uint64_t busy = clock_mono_ms();

    for (;;) {
        int wait_ms = g->kit->patience_ms > 0 ? 5 : 0;
        uint64_t now;
        busy = loop_turn(g->loop, wait_ms) > 0 ? clock_mono_ms() : busy;
        now = clock_mono_ms();
        if (now - busy >= (uint64_t)wait_ms * 3) {
            return;
        }
    }
}

/* Closes what is open and checks that nothing is left. */
static void rig_stop(struct test *t, struct rig *g)
{
    for (int i = 0; i < 2; i++) {
        task_fini(&g->a[i].task);
        stream_close(g->a[i].s, 0);
    }
    quiet(g);
    if (g->kit->done) {
        g->kit->done(g->kit->arg, g->loop);
    }
    loop_free(g->loop);
    (void)test_int(t, __FILE__, __LINE__, "descriptors afterwards", test_fd_count(), g->fds);
    if (g->kit->live) {
        (void)test_int(t, __FILE__, __LINE__, "objects afterwards", g->kit->live(), g->live);
    }
}

static bool both_done(const struct rig *g)
{
    return g->a[0].shut && g->a[0].ended && g->a[1].shut && g->a[1].ended;
}

/* CHECK that keeps going, so that the rig is always stopped. */
#define EXPECT(expr)                                                                               \
    do {                                                                                           \
        if (!(expr)) {                                                                             \
            test_fail(t, __FILE__, __LINE__, #expr);                                               \
        }                                                                                          \
    } while (0)
#define EXPECT_INT(got, want)                                                                      \
    (void)test_int(t, __FILE__, __LINE__, #got, (long long)(got), (long long)(want))

static void exchange(struct test *t, const struct battery_kit *kit, const struct actor *plan)
{
    size_t most = kit->window_max > 0 ? 100 * kit->window_max : SIZE_MAX; /* many times round */
    size_t to_send = plan->to_send < most ? plan->to_send : most;
    struct rig g;

    if (!rig_start(t, &g, kit)) {
        return;
    }
    for (int i = 0; i < 2; i++) {
        g.a[i].manner = plan->manner;
        g.a[i].flushing = plan->flushing;
        g.a[i].write_size = plan->write_size;
        g.a[i].read_size = plan->read_size;
        g.a[i].to_send = to_send;
        g.a[i].shuts = true;
    }
    EXPECT(settle(&g, both_done));
    for (int i = 0; i < 2; i++) {
        EXPECT_INT(g.a[i].got, to_send);
        EXPECT(!g.a[i].wrong);
        EXPECT_INT(g.a[i].read_failure, 0);
        EXPECT_INT(g.a[i].write_failure, 0);
        EXPECT(!(kit->has & BATTERY_EXACT_WAKES) || g.a[i].io_wakes <= g.a[i].refusals);
    }
    rig_stop(t, &g);
}

void battery_order(struct test *t, const struct battery_kit *kit)
{
    struct actor plan = {.write_size = 8192, .read_size = 5000};

    plan.to_send = kit->bulk_bytes > 0 ? kit->bulk_bytes : 1 << 20;
    exchange(t, kit, &plan);
    plan.flushing = FLUSH_LAST;
    exchange(t, kit, &plan);
    plan.to_send = 0;
    exchange(t, kit, &plan);
}

void battery_sizes(struct test *t, const struct battery_kit *kit)
{
    static const struct {
        size_t write;
        size_t read;
        size_t total;
    } cases[] = {
        {1, 1, 500},           {1, 7, 500},
        {7, 1, 500},           {1, 65536, 500},
        {100000, 1, 2000},     {16384, 16384, 200000},
        {16385, 4097, 200000}, {CHUNK_MAX, CHUNK_MAX, 2000000},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases) && !t->failed; i++) {
        struct actor plan = {.write_size = cases[i].write, .read_size = cases[i].read};
        plan.to_send = cases[i].total;
        exchange(t, kit, &plan);
    }
}

void battery_vectors(struct test *t, const struct battery_kit *kit)
{
    struct actor plan = {.manner = MANNER_VECTOR, .write_size = 40000, .read_size = 30000};

    plan.to_send = 1 << 20;
    exchange(t, kit, &plan);
    plan.write_size = 5;
    plan.read_size = 11;
    plan.to_send = 700;
    exchange(t, kit, &plan);
}

void battery_lending(struct test *t, const struct battery_kit *kit)
{
    struct actor plan = {.manner = MANNER_LENT, .write_size = 40000, .read_size = 30000};
    struct rig g;

    if (!rig_start(t, &g, kit)) {
        return;
    }
    for (int i = 0; i < 2; i++) { /* each loan has its way back */
        EXPECT_INT(g.a[i].s->ops->peek != NULL, g.a[i].s->ops->skip != NULL);
        EXPECT_INT(g.a[i].s->ops->reserve != NULL, g.a[i].s->ops->commit != NULL);
    }
    rig_stop(t, &g);
    plan.to_send = 1 << 20;
    exchange(t, kit, &plan);
    plan.write_size = 3;
    plan.read_size = 2;
    plan.to_send = 700;
    exchange(t, kit, &plan);
}

static bool second_ended(const struct rig *g)
{
    return g->a[1].ended;
}

static bool first_ended(const struct rig *g)
{
    return g->a[0].ended;
}

void battery_half_close(struct test *t, const struct battery_kit *kit)
{
    for (int side = 0; side < 2 && !t->failed; side++) {
        struct rig g;
        if (!rig_start(t, &g, kit)) {
            return;
        }
        struct actor *early = &g.a[side];
        struct actor *late = &g.a[!side];
        early->to_send = 10000;
        early->shuts = true;
        EXPECT(settle(&g, side == 0 ? second_ended : first_ended));
        EXPECT_INT(late->got, 10000);
        EXPECT(!early->ended);
        late->to_send = 500000; /* the answer to a request that is over */
        late->shuts = true;
        nudge(late);
        EXPECT(settle(&g, both_done));
        EXPECT_INT(early->got, 500000);
        EXPECT(!early->wrong && !late->wrong);
        rig_stop(t, &g);
    }
}

static bool all_arrived(const struct rig *g)
{
    return g->a[0].got == g->a[1].to_send && g->a[1].got == g->a[0].to_send;
}

/* Ping-pong: each message arrives while its sender waits for the answer. */
void battery_flush(struct test *t, const struct battery_kit *kit)
{
    struct rig g;

    if (!rig_start(t, &g, kit)) {
        return;
    }
    for (int i = 0; i < 60 && !t->failed; i++) {
        g.a[i % 2].to_send += (size_t)(1 + i * 7);
        nudge(&g.a[i % 2]);
        EXPECT(settle(&g, all_arrived));
    }
    EXPECT(!g.a[0].wrong && !g.a[1].wrong);
    rig_stop(t, &g);
}

void battery_pressure(struct test *t, const struct battery_kit *kit)
{
    size_t window = kit->window_max > 0 ? kit->window_max : 64 << 20;

    for (int side = 0; side < 2 && !t->failed; side++) {
        struct rig g;
        if (!rig_start(t, &g, kit)) {
            return;
        }
        struct actor *writer = &g.a[side];
        struct actor *reader = &g.a[!side];
        writer->flushing = FLUSH_LAST; /* a refused write has set its bytes moving by itself */
        writer->to_send = window + (1 << 20);
        writer->write_size = 65536;
        reader->read_limit = 0;
        reader->read_size = 65536;
        EXPECT(settle_count(&g, &writer->sent, 1));
        quiet(&g);
        EXPECT(writer->sent > 0 && writer->sent <= window);
        writer->to_send = writer->sent * 2 + 1000; /* so that it must be woken, and again */
        reader->read_limit = SIZE_MAX;
        nudge(reader);
        EXPECT(settle(&g, all_arrived));
        EXPECT(!reader->wrong);
        rig_stop(t, &g);
    }
}

void battery_wakes(struct test *t, const struct battery_kit *kit)
{
    struct rig g;

    if (!rig_start(t, &g, kit)) {
        return;
    }
    quiet(&g);
    for (int i = 0; i < 50 && !t->failed; i++) {
        struct actor *reader = &g.a[i % 2];
        struct actor *writer = &g.a[!(i % 2)];
        unsigned before = reader->io_wakes;
        writer->to_send++;
        nudge(writer); /* nobody but the stream wakes the reader */
        EXPECT(settle(&g, all_arrived));
        EXPECT(reader->io_wakes > before);
    }
    quiet(&g);
    unsigned idle = g.a[0].io_wakes + g.a[1].io_wakes;
    for (int i = 0; i < 20; i++) {
        (void)loop_turn(g.loop, 0);
    }
    EXPECT_INT(g.a[0].io_wakes + g.a[1].io_wakes, idle); /* silence wakes nobody */
    rig_stop(t, &g);
}

static void partial(struct test *t, const struct battery_kit *kit, enum manner manner)
{
    struct rig g;

    if (!rig_start(t, &g, kit)) {
        return;
    }
    struct actor *reader = &g.a[1];
    reader->manner = manner;
    reader->read_size = 10;
    reader->read_limit = 10; /* stops without having seen -EAGAIN */
    g.a[0].to_send = 1000;
    EXPECT(settle_count(&g, &reader->got, 10));
    quiet(&g);
    EXPECT_INT(reader->got, 10);
    while (reader->read_limit < 1000 && !t->failed) {
        reader->read_limit += 90;
        nudge(reader); /* its own wish: no wake is owed */
        EXPECT(settle_count(&g, &reader->got, reader->read_limit));
        quiet(&g);
        EXPECT_INT(reader->got, reader->read_limit);
    }
    reader->read_limit = SIZE_MAX;
    nudge(reader);
    quiet(&g);
    g.a[0].to_send += 5; /* and from the next refusal on, wakes are owed again */
    nudge(&g.a[0]);
    EXPECT(settle(&g, all_arrived));
    EXPECT(!reader->wrong);
    rig_stop(t, &g);
}

void battery_partial(struct test *t, const struct battery_kit *kit)
{
    partial(t, kit, MANNER_PLAIN);
    partial(t, kit, MANNER_LENT);
}

/* Whoever becomes the owner tries first and is woken from then on. */
void battery_owner(struct test *t, const struct battery_kit *kit)
{
    struct rig g;

    if (!rig_start(t, &g, kit)) {
        return;
    }
    quiet(&g); /* the reader was refused */
    struct actor heir = g.a[1];
    struct actor *old = &g.a[1];
    unsigned wakes = old->io_wakes;
    task_init(&heir.task, g.loop, "heir", act);
    stream_own(heir.s, &heir.task);
    nudge(&heir);
    quiet(&g);
    g.a[0].to_send = 100;
    nudge(&g.a[0]);
    EXPECT(settle_count(&g, &heir.got, 100));
    quiet(&g);
    EXPECT_INT(heir.got, 100);
    EXPECT_INT(old->io_wakes, wakes);
    stream_own(heir.s, NULL);
    unsigned heir_wakes = heir.io_wakes;
    g.a[0].to_send = 200;
    nudge(&g.a[0]);
    quiet(&g);
    EXPECT_INT(heir.got, 100);
    EXPECT_INT(heir.io_wakes, heir_wakes);
    stream_own(heir.s, &old->task);
    task_fini(&heir.task);
    old->got = heir.got;
    nudge(old);
    EXPECT(settle(&g, all_arrived));
    EXPECT(!heir.wrong && !old->wrong);
    rig_stop(t, &g);
}

void battery_end_stays(struct test *t, const struct battery_kit *kit)
{
    struct rig g;

    if (!rig_start(t, &g, kit)) {
        return;
    }
    g.a[0].to_send = 100;
    g.a[0].shuts = true;
    EXPECT(settle(&g, second_ended));
    EXPECT_INT(g.a[1].got, 100);
    for (int i = 0; i < 3 && g.a[1].s; i++) {
        EXPECT_INT(stream_read(g.a[1].s, chunk, 10), 0);
    }
    quiet(&g);
    EXPECT_INT(stream_read(g.a[1].s, chunk, 10), 0);
    rig_stop(t, &g);
}

static bool second_over(const struct rig *g)
{
    return g->a[1].read_failure < 0 || g->a[1].ended;
}

/* Whether nothing, unread data or a refused write is under way when the end comes. */
static void abort_with(struct test *t, const struct battery_kit *kit, size_t unread, bool full)
{
    struct rig g;

    if (!rig_start(t, &g, kit)) {
        return;
    }
    g.a[1].read_limit = 5;
    g.a[0].to_send = 5 + unread;
    g.a[0].read_limit = full ? 0 : SIZE_MAX;
    g.a[1].to_send = full ? 64 << 20 : 10;
    quiet(&g);
    stream_close(g.a[0].s, -ECONNRESET);
    g.a[0].s = NULL;
    g.a[1].read_limit = SIZE_MAX;
    nudge(&g.a[1]);
    EXPECT(settle(&g, second_over));
    EXPECT(g.a[1].got <= 5 + unread);
    if (kit->has & BATTERY_RESET) {
        EXPECT(!g.a[1].ended);
        for (int i = 0; i < 3; i++) { /* and it stays one */
            ssize_t n = stream_read(g.a[1].s, chunk, 10);
            EXPECT(n < 0 && n != -EAGAIN);
        }
        EXPECT(stream_diag(g.a[1].s)->text[0] != '\0');
    }
    rig_stop(t, &g);
}

void battery_abort(struct test *t, const struct battery_kit *kit)
{
    abort_with(t, kit, 0, false);
    abort_with(t, kit, 3000, false);
    abort_with(t, kit, 0, true);
    abort_with(t, kit, 3000, true);
}

static bool first_flushed(const struct rig *g)
{
    return g->a[0].flushed && g->a[0].sent == g->a[0].to_send && g->a[0].shut == g->a[0].shuts;
}

void battery_close_delivers(struct test *t, const struct battery_kit *kit)
{
    size_t len = kit->window_max > 0 && kit->window_max < 40000 ? kit->window_max / 2 : 20000;

    for (int shut = 0; shut < 2 && !t->failed; shut++) {
        struct rig g;
        if (!rig_start(t, &g, kit)) {
            return;
        }
        g.a[0].to_send = len;
        g.a[0].shuts = shut;
        g.a[1].read_limit = 100; /* most of it is still under way at the close */
        EXPECT(settle(&g, first_flushed));
        stream_close(g.a[0].s, 0);
        g.a[0].s = NULL;
        quiet(&g);
        g.a[1].read_limit = SIZE_MAX;
        nudge(&g.a[1]);
        EXPECT(settle(&g, second_over));
        EXPECT(!g.a[1].wrong);
        if (kit->has & BATTERY_DELIVERS) {
            EXPECT_INT(g.a[1].got, len);
            EXPECT(!shut || g.a[1].ended);
        }
        rig_stop(t, &g);
    }
}

static bool one_closed_other_over(const struct rig *g)
{
    for (int i = 0; i < 2; i++) {
        if (!g->a[i].s && (!g->a[!i].s || g->a[!i].ended || g->a[!i].read_failure < 0)) {
            return true;
        }
    }
    return both_done(g); /* the moment never came */
}

/* How many stream calls the exchange made. */
static int close_at(struct test *t, const struct battery_kit *kit, int at, int why)
{
    struct rig g;

    if (!rig_start(t, &g, kit)) {
        return 0;
    }
    for (int i = 0; i < 2; i++) {
        g.a[i].to_send = 6000;
        g.a[i].write_size = 700;
        g.a[i].read_size = 900;
        g.a[i].shuts = true;
        g.a[i].close_at = at;
        g.a[i].close_why = why;
    }
    EXPECT(settle(&g, one_closed_other_over));
    for (int i = 0; i < 2; i++) {
        EXPECT(!g.a[i].wrong && g.a[i].got <= 6000);
        /* after an abort, a clean end is true only behind everything that was to come */
        EXPECT(!(kit->has & BATTERY_RESET) || why == 0 || !g.a[i].ended || g.a[i].got == 6000);
    }
    rig_stop(t, &g);
    return g.calls;
}

void battery_close_anywhere(struct test *t, const struct battery_kit *kit)
{
    int calls = close_at(t, kit, -1, 0);
    int stride = calls / CLOSE_POINTS + 1;

    EXPECT(calls > 20);
    for (int at = 0; at < calls && !t->failed; at += stride) {
        (void)close_at(t, kit, at, 0);
        (void)close_at(t, kit, at, -ECONNRESET);
        if (t->failed) {
            printf("# closing at call %d of %d\n", at, calls);
        }
    }
}
