/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Live hand-over in the middle of transfers: applications on both sides of a tunnel over TCP or over
 * mutual TLS, relays between; again and again one end is taken apart, the TLS session below included,
 * and put together in another hbone_loop, as another process would. Every byte must come back, in
 * order, and every end must stay what it was.
 */
#include "hbone/handover.h"

#include <string.h>

#include "base/mem.h"
#include "pki.h"
#include "relay_task.h"
#include "t.h"
#include "tcp_pair.h"
#include "tls/tls_stream.h"

enum { FLOWS = 5, MESSAGE = 3 << 20, PIECE = 40000, BLOB_MAX = 256 << 20, TURNS_MAX = 200000 };

struct app { /* sends MESSAGE bytes, reads what comes back */
    struct task task;
    struct stream *s;
    size_t sent;
    size_t got;
    size_t slow; /* reads at most so much a turn; 0: all */
    bool shut;
    bool ended;
    bool wrong;
    int failure;
};

struct echo {
    struct task task;
    struct stream *s;
    struct pump pump;
    bool over;
};

struct rig {
    struct loop *loop;
    struct tls_ctx *ctx; /* NULL: without TLS; likewise the next four */
    struct jobs *jobs;
    struct tls_loop *tls;
    struct credential *near_credential;
    struct credential *far_credential;
    struct hbone_loop *client;
    struct hbone_loop *server;
    struct hbone_pool *pool;
    struct hbone_server *tunnel;
    struct task acceptor;
    struct endpoint at;
    int listener;
    struct app apps[FLOWS];
    struct echo echoes[FLOWS];
    struct relay_task *near[FLOWS]; /* NULL once over */
    struct relay_task *far[FLOWS];
    unsigned far_count;
    int results[2 * FLOWS];
    unsigned over;
};

static uint8_t byte_at(unsigned flow, size_t i)
{
    return (uint8_t)(i * 7 + i / 253 + flow * 91);
}

static void app_send(struct app *a, unsigned flow)
{
    static uint8_t piece[PIECE];

    while (a->sent < MESSAGE) {
        size_t n = MESSAGE - a->sent < PIECE ? MESSAGE - a->sent : PIECE;

        for (size_t i = 0; i < n; i++) {
            piece[i] = byte_at(flow, a->sent + i);
        }
        ssize_t r = stream_write(a->s, piece, n);
        if (r < 0) {
            return;
        }
        a->sent += (size_t)r;
    }
    a->shut = a->shut || (stream_flush(a->s) == 0 && stream_shut(a->s) == 0);
}

static void app_receive(struct app *a, unsigned flow)
{
    static uint8_t piece[PIECE];
    size_t most = a->slow ? a->slow : SIZE_MAX;

    while (!a->ended && most > 0) {
        ssize_t r = stream_read(a->s, piece, most < PIECE ? most : PIECE);

        if (r < 0) {
            a->failure = r == -EAGAIN ? a->failure : (int)r;
            return;
        }
        for (ssize_t i = 0; i < r; i++) {
            a->wrong |= piece[i] != byte_at(flow, a->got + (size_t)i);
        }
        a->ended = r == 0;
        a->got += (size_t)r;
        most -= (size_t)r;
    }
    if (a->slow) {
        task_wake_late(&a->task, WAKE_IO);
    }
}

static struct rig *the_rig; /* what tasks without a way back to it use */

static void app_run(struct task *task, unsigned why)
{
    struct app *a = container_of(task, struct app, task);
    unsigned flow = (unsigned)(a - the_rig->apps);

    (void)why;
    app_send(a, flow);
    app_receive(a, flow);
}

static void echo_run(struct task *task, unsigned why)
{
    struct echo *e = container_of(task, struct echo, task);

    (void)why;
    if (e->over) {
        return;
    }
    int r = pump_run(&e->pump, e->s, e->s, task->loop, 100000);
    if (r == PUMP_AGAIN) {
        task_wake(task, WAKE_IO);
    }
    e->over = r == PUMP_FINISHED || r < 0;
}

static void near_over(void *arg, int result, struct relay_stats stats, const struct diag *d)
{
    struct relay_task **slot = arg;

    (void)stats;
    (void)d;
    *slot = NULL;
    the_rig->results[the_rig->over++] = result;
}

static void accept_all(struct task *task, unsigned why)
{
    struct rig *g = container_of(task, struct rig, acceptor);
    struct hbone_request *r = NULL;

    (void)why;
    while (g->tunnel && hbone_server_next(g->tunnel, &r) == 1) {
        unsigned i = g->far_count++;
        struct echo *e = &g->echoes[i];
        struct stream *ends[2];

        unix_pair(g->loop, ends);
        e->s = ends[1];
        pump_init(&e->pump, e->s, e->s);
        task_init(&e->task, g->loop, "echo", echo_run);
        stream_own(e->s, &e->task);
        task_wake(&e->task, WAKE_START);
        g->far[i] =
            relay_task_new(g->loop, ends[0], hbone_request_accept(r, (struct slice){NULL, 0}),
                           near_over, &g->far[i]);
    }
}

static struct stream *below[2];

static const char *const expected[] = {"spiffe://cluster.local/ns/shop/sa/web"};

static void need_tls(struct rig *g)
{
    struct pki_cert root = pki_root(PKI_P256);

    g->near_credential = pki_credential(&root, "client");
    g->far_credential = pki_credential(&root, "web");
    pki_free(&root);
    g->jobs = jobs_new(1, 100, 100, NULL);
    if (tls_ctx_new(&g->ctx, NULL, NULL) == 0) {
        g->tls = tls_loop_new(g->loop, g->jobs, g->ctx, NULL);
    }
}

static void free_tls(struct rig *g)
{
    tls_loop_free(g->tls);
    jobs_free(g->jobs);
    tls_ctx_free(g->ctx);
    g->near_credential = credential_unref(g->near_credential);
    g->far_credential = credential_unref(g->far_credential);
}

static void secure_both(struct rig *g, struct stream *ends[2])
{
    struct handshake_spec near = {.role = TLS_MESH_CLIENT,
                                  .credential = g->near_credential,
                                  .expect = expected,
                                  .expect_count = 1};
    struct handshake_spec far = {.role = TLS_MESH_SERVER, .credential = g->far_credential};

    ends[0] = tls_stream_new(g->tls, ends[0], &near, 1);
    ends[1] = tls_stream_new(g->tls, ends[1], &far, 2);
}

/* The session below a tunnel, if it is one, goes the same way. */
static bool move_session(struct rig *g, struct stream **s)
{
    struct stream *tcp = NULL;
    struct bytes blob;

    if (!g->tls) {
        return true;
    }
    bytes_init(&blob, BLOB_MAX);
    bool good = tls_stream_export(*s, &blob, &tcp) == 0 &&
                tls_stream_import(g->tls, tcp, bytes_peek(&blob), blob.len, s, NULL) == 0;
    bytes_fini(&blob);
    return good;
}

static struct stream *open_below(void *arg, const struct hbone_target *target)
{
    struct rig *g = arg;

    (void)target;
    tcp_pair(g->loop, below);
    if (g->tls) {
        secure_both(g, below);
    }
    g->tunnel = hbone_server_new(g->server, below[1], &g->acceptor, NULL);
    task_wake(&g->acceptor, WAKE_START);
    return below[0];
}

static void rig_start(struct rig *g, bool secure)
{
    struct hbone_dialer dialer = {.open = open_below, .arg = g};
    struct hbone_target target = {.gateway = {.ip = {.family = IP_V4, .bytes = {10, 0, 0, 2}}},
                                  .local = "spiffe://cluster.local/ns/shop/sa/client",
                                  .expect = expected,
                                  .expect_count = 1,
                                  .source = {.family = IP_V4, .bytes = {10, 0, 0, 1}},
                                  .head = {.authority = {"10.0.0.2:80", 11}}};

    memset(g, 0, sizeof(*g));
    the_rig = g;
    g->loop = loop_new(NULL);
    loop_stop_clock(g->loop);
    if (secure) {
        need_tls(g);
    }
    g->client = hbone_loop_new(g->loop, NULL, NULL);
    g->server = hbone_loop_new(g->loop, NULL, NULL);
    task_init(&g->acceptor, g->loop, "acceptor", accept_all);
    g->pool = hbone_pool_new(g->client, &dialer, NULL);
    for (unsigned i = 0; i < FLOWS; i++) {
        struct stream *ends[2];

        unix_pair(g->loop, ends);
        g->apps[i].s = ends[0];
        g->apps[i].slow = i == 0 ? 3000 : 0;
        task_init(&g->apps[i].task, g->loop, "app", app_run);
        stream_own(ends[0], &g->apps[i].task);
        task_wake(&g->apps[i].task, WAKE_START);
        g->near[i] =
            relay_task_new(g->loop, ends[1], hbone_dial(g->pool, &target), near_over, &g->near[i]);
    }
}

static void rig_stop(struct rig *g)
{
    for (unsigned i = 0; i < FLOWS; i++) {
        task_fini(&g->apps[i].task);
        stream_close(g->apps[i].s, 0);
        if (g->echoes[i].s) {
            task_fini(&g->echoes[i].task);
            stream_close(g->echoes[i].s, 0);
            pump_fini(&g->echoes[i].pump);
        }
    }
    hbone_pool_free(g->pool);
    if (g->tunnel) {
        hbone_server_close(g->tunnel, 0);
    }
    for (int i = 0; i < 10; i++) {
        loop_turn(g->loop, 0);
        loop_advance(g->loop, 1000);
    }
    task_fini(&g->acceptor);
    hbone_loop_free(g->client);
    hbone_loop_free(g->server);
    free_tls(g);
    loop_free(g->loop);
}

/* What one end's streams become on the way. */
struct luggage {
    struct relay_parts parts[FLOWS];
    uint32_t ids[FLOWS];
    struct bytes alone[FLOWS]; /* streams that are over */
    struct bytes tunnel;
    struct stream *below;
};

static bool pack(struct luggage *l, struct relay_task *relays[FLOWS])
{
    for (unsigned i = 0; i < FLOWS; i++) {
        bytes_init(&l->alone[i], BLOB_MAX);
        if (!relays[i]) {
            continue;
        }
        relay_task_take_apart(relays[i], &l->parts[i]);
        l->ids[i] = hbone_stream_id(l->parts[i].legs.far);
        if (l->ids[i] == 0 && hbone_stream_export(l->parts[i].legs.far, &l->alone[i]) < 0) {
            return false;
        }
    }
    bytes_init(&l->tunnel, BLOB_MAX);
    return true;
}

static struct stream *find_handed(const struct hbone_handed *h, uint32_t id)
{
    for (unsigned i = 0; i < h->count; i++) {
        if (h->streams[i].id == id) {
            return h->streams[i].stream;
        }
    }
    return NULL;
}

static bool unpack(struct rig *g, struct luggage *l, struct relay_task *relays[FLOWS],
                   struct hbone_loop *home, const struct hbone_handed *h)
{
    bool good = true;

    for (unsigned i = 0; i < FLOWS; i++) {
        struct relay_parts *p = &l->parts[i];

        if (relays[i] && l->ids[i] == 0) {
            good = good && hbone_stream_import(home, bytes_peek(&l->alone[i]), l->alone[i].len,
                                               NULL, &p->legs.far) == 0;
        } else if (relays[i]) {
            p->legs.far = find_handed(h, l->ids[i]);
            good = good && p->legs.far;
        }
        if (relays[i] && good) {
            relays[i] = relay_task_assemble(g->loop, p, near_over, &relays[i]);
        }
        bytes_fini(&l->alone[i]);
    }
    bytes_fini(&l->tunnel);
    return good;
}

/* The server's end becomes another process'. */
static bool move_server(struct rig *g)
{
    struct luggage l = {.below = NULL};
    static struct hbone_handed handed;
    struct hbone_loop *home = hbone_loop_new(g->loop, NULL, NULL);

    if (!pack(&l, g->far) || hbone_server_export(g->tunnel, &l.tunnel, &l.below) < 0 ||
        !move_session(g, &l.below) ||
        hbone_server_import(home, l.below, bytes_peek(&l.tunnel), l.tunnel.len, &g->acceptor, NULL,
                            &g->tunnel, &handed) < 0 ||
        !unpack(g, &l, g->far, home, &handed)) {
        return false;
    }
    hbone_loop_free(g->server);
    g->server = home;
    return true;
}

static bool move_client(struct rig *g)
{
    struct luggage l = {.below = NULL};
    static struct hbone_handed handed;
    struct hbone_loop *home = hbone_loop_new(g->loop, NULL, NULL);
    struct hbone_dialer dialer = {.open = open_below, .arg = g};
    struct hbone_pool *pool = hbone_pool_new(home, &dialer, NULL);
    struct stream *none = NULL;

    if (!pack(&l, g->near) || hbone_pool_export(g->pool, &l.tunnel, &l.below) != 1 ||
        !move_session(g, &l.below) ||
        hbone_pool_import(pool, l.below, bytes_peek(&l.tunnel), l.tunnel.len, &handed) < 0 ||
        !unpack(g, &l, g->near, home, &handed) ||
        hbone_pool_export(g->pool, &l.tunnel, &none) != 0) {
        return false;
    }
    hbone_pool_free(g->pool);
    hbone_loop_free(g->client);
    g->pool = pool;
    g->client = home;
    return true;
}

static bool all_here(const struct rig *g)
{
    for (unsigned i = 0; i < FLOWS; i++) {
        if (!g->apps[i].ended) {
            return false;
        }
    }
    return g->over == 2 * FLOWS;
}

/* Moves an end every step turns; which: bit 0 the server's, bit 1 the client's. */
static void transfer(struct test *t, int step, unsigned which, bool secure)
{
    static struct rig g;
    int moves = 0;
    bool good = true;
    int before = test_fd_count();

    rig_start(&g, secure);
    for (int i = 1; i < TURNS_MAX && good && !all_here(&g); i++) {
        loop_turn(g.loop, 1);
        if (g.far_count == FLOWS && i % step == 0) {
            good = (!(which & 1) || move_server(&g)) && (!(which & 2) || move_client(&g));
            moves++;
        }
    }
    bool done = all_here(&g);
    rig_stop(&g);
    CHECK(good);
    CHECK(done);
    for (unsigned i = 0; i < FLOWS; i++) {
        CHECK_INT(g.apps[i].got, MESSAGE);
        CHECK(!g.apps[i].wrong);
        CHECK_INT(g.results[i], 0);
        CHECK_INT(g.results[FLOWS + i], 0);
    }
    CHECK(moves >= 3);
    CHECK_INT(test_fd_count(), before);
}

TEST(a_server_moves_in_the_middle_of_transfers)
{
    transfer(t, 17, 1, false);
}

TEST(a_pool_moves_in_the_middle_of_transfers)
{
    transfer(t, 17, 2, false);
}

TEST(both_ends_move_with_every_turn)
{
    transfer(t, 1, 3, false);
}

TEST(both_ends_move_with_their_tls_sessions)
{
    transfer(t, 17, 3, true);
}

/* One served tunnel with some bytes waiting, as a blob. */
static bool make_blob(struct rig *g, struct bytes *out, struct stream **out_below)
{
    struct luggage l = {.below = NULL};

    rig_start(g, false);
    for (int i = 0; i < 60 || g->far_count < FLOWS; i++) {
        loop_turn(g->loop, 0);
    }
    bool good = pack(&l, g->far) && hbone_server_export(g->tunnel, out, out_below) == 0;
    g->tunnel = NULL;
    for (unsigned i = 0; i < FLOWS; i++) {
        g->far[i] = NULL;
        stream_close(l.parts[i].legs.near, 0);
        pump_fini(&l.parts[i].relay.out);
        pump_fini(&l.parts[i].relay.in);
        bytes_fini(&l.alone[i]);
    }
    return good;
}

static int import_copy(struct rig *g, const uint8_t *blob, size_t len)
{
    static struct hbone_handed handed;
    struct hbone_server *s = NULL;
    struct stream *ends[2];

    unix_pair(g->loop, ends);
    stream_close(ends[1], 0);
    int r = hbone_server_import(g->server, ends[0], blob, len, &g->acceptor, NULL, &s, &handed);
    for (unsigned i = 0; i < handed.count; i++) {
        stream_close(handed.streams[i].stream, -ERR_CANCELLED);
    }
    if (r == 0) {
        hbone_server_close(s, -ERR_CANCELLED);
    }
    return r;
}

TEST(a_blob_of_another_version_or_cut_is_refused_whole)
{
    static struct rig g;
    struct bytes blob;
    struct stream *secure = NULL;
    bool good, other, cut = true, longer;

    bytes_init(&blob, BLOB_MAX);
    good = make_blob(&g, &blob, &secure);
    uint8_t *p = blob.p + blob.head;
    p[3]++;
    other = import_copy(&g, p, blob.len) == -ERR_VERSION;
    p[3] -= 2;
    other = other && import_copy(&g, p, blob.len) == -ERR_VERSION;
    p[3]++;
    for (size_t len = 0; len < blob.len && cut; len += len < 600 ? 1 : 4001) {
        uint8_t *part = mem_dup(p, len); /* so that a step too far is seen */
        cut = import_copy(&g, part, len) == -ERR_SYNTAX;
        mem_free(part);
    }
    good = good && import_copy(&g, p, blob.len) == 0;
    uint8_t *more = mem_alloc(blob.len + 1);
    memcpy(more, p, blob.len);
    longer = import_copy(&g, more, blob.len + 1) == -ERR_SYNTAX;
    mem_free(more);
    stream_close(secure, 0);
    bytes_fini(&blob);
    for (int i = 0; i < TURNS_MAX && g.over < FLOWS; i++) { /* the near ends see the tunnel go */
        loop_turn(g.loop, 1);
    }
    rig_stop(&g);
    CHECK(good);
    CHECK(other);
    CHECK(cut);
    CHECK(longer);
}

TEST(a_tunnel_with_an_unanswered_request_stays_where_it_is)
{
    struct loop *l = loop_new(NULL);
    struct hbone_loop *home = hbone_loop_new(l, NULL, NULL);
    struct hbone_head head = {.authority = {"10.0.0.2:80", 11}};
    struct hbone_request *r = NULL;
    struct task nobody;
    struct stream *ends[2], *under = NULL;
    struct bytes blob;

    task_init(&nobody, l, "nobody", app_run);
    nobody.run = NULL; /* wakes fall flat */
    unix_pair(l, ends);
    struct hbone_server *s = hbone_server_new(home, ends[1], &nobody, NULL);
    struct stream *dialled = hbone_dial_once(home, ends[0], &head, NULL);
    bytes_init(&blob, BLOB_MAX);
    int early = hbone_server_export(s, &blob, &under);
    for (int i = 0; i < 100; i++) {
        loop_turn(l, 0);
    }
    int taken = hbone_server_next(s, &r);
    int asked = hbone_server_export(s, &blob, &under);
    stream_close(hbone_request_accept(r, (struct slice){NULL, 0}), 0);
    blob.limit = 50;
    int narrow = hbone_server_export(s, &blob, &under);
    size_t left = blob.len;
    blob.limit = BLOB_MAX;
    int free_now = hbone_server_export(s, &blob, &under);
    stream_close(under, 0);
    stream_close(dialled, 0);
    bytes_fini(&blob);
    for (int i = 0; i < 10; i++) {
        loop_turn(l, 0);
        loop_advance(l, 1000);
    }
    hbone_loop_free(home);
    loop_free(l);
    CHECK_INT(early, -EAGAIN);
    CHECK_INT(taken, 1);
    CHECK_INT(asked, -EAGAIN);
    CHECK_INT(narrow, -ERR_TOO_LARGE);
    CHECK_INT(left, 0);
    CHECK_INT(free_now, 0);
}
