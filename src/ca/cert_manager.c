/* SPDX-License-Identifier: Apache-2.0 */
#include "ca/cert_manager.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/rand.h"
#include "ca/cert_fetch.h"

/* Idle: as recorded, reused after 1 s, not after 2 s. Whatever its use, a connection carries the token
 * that was in the file when it was dialled, and files change: it is not used for longer. */
enum { CONNECTION_IDLE_MS = 1500, CONNECTION_USE_MS = 10000 };

static struct log_scope scope = LOG_SCOPE("ca");

enum line_step {
    LINE_CLOSED,
    LINE_DIALING,
    LINE_OPEN,
    LINE_DRAINING /* its token is old or was refused: calls end, none begins */
};

struct cert_manager {
    struct task task; /* the line to the CA, and who may use it */
    struct timer idle;
    struct timer use;
    struct cert_manager_config config;
    struct map by_identity;
    struct list queue[CERT_PRIORITIES]; /* entries that want a fetch */
    struct list fetching;
    unsigned in_flight;
    unsigned on_line; /* of them, those that were sent */
    enum line_step line;
    bool token_refused; /* on this line */
    struct grpc_client *client;
    const struct message *metadata;
    struct rand_seq jitter;
};

enum entry_step {
    ENTRY_QUEUED,   /* in a queue of the manager */
    ENTRY_FETCHING, /* among the manager's fetching */
    ENTRY_RESTING   /* until the timer: renewal or retry */
};

struct entry {
    struct task task;
    struct timer timer;
    struct map_node by_identity;
    struct list in_queue; /* or in fetching */
    struct list waiters;
    struct cert_manager *manager;
    const struct identity *identity;
    enum entry_step step;
    enum cert_priority priority;
    struct credential *credential;
    struct cert_fetch *fetch;
    bool is_sent; /* the fetch; the manager counts it */
    struct diag error;
    uint64_t retry_ms;
    unsigned uses; /* workloads of this identity on the node */
};

struct cert_wait {
    struct mail there;
    struct mail back;
    struct list in_entry; /* manager's loop */
    struct cert_manager *manager;
    const struct identity *identity;
    enum cert_priority priority;
    struct loop *loop;
    struct task *task; /* NULL once abandoned; owner's loop */
    bool done;         /* owner's loop */
    struct credential *credential;
    int result;
    struct diag why;
};

/* ---- waiting, on the asker's loop */

static void wait_destroy(struct cert_wait *w)
{
    identity_unref(w->identity);
    credential_unref(w->credential);
    mem_free(w);
}

static void wait_deliver_back(struct mail *m)
{
    struct cert_wait *w = container_of(m, struct cert_wait, back);

    w->done = true;
    if (w->task) {
        task_wake(w->task, WAKE_JOB);
    } else {
        wait_destroy(w);
    }
}

static void wait_deliver_there(struct mail *m);

struct cert_wait *cert_wait_new(struct cert_manager *m, const struct identity *id,
                                enum cert_priority priority, struct task *t)
{
    struct cert_wait *w = mem_new(struct cert_wait);

    w->manager = m;
    w->identity = identity_ref(id);
    w->priority = priority;
    w->loop = t->loop;
    w->task = t;
    w->there.deliver = wait_deliver_there;
    w->back.deliver = wait_deliver_back;
    list_init(&w->in_entry);
    loop_post(m->task.loop, &w->there);
    return w;
}

int cert_wait_result(struct cert_wait *w, struct credential **out, struct diag *why)
{
    if (!w->done) {
        return -EAGAIN;
    }
    if (w->result < 0) {
        *why = w->why;
        return w->result;
    }
    *out = credential_ref(w->credential);
    return 0;
}

void cert_wait_free(struct cert_wait *w)
{
    if (w && w->done) {
        wait_destroy(w);
    } else if (w) {
        w->task = NULL; /* freed when the answer comes, which it always does */
    }
}

/* ---- entries */

static bool is_valid(const struct entry *e)
{
    return e->credential && credential_chain_facts(e->credential, 0)->not_after_s > clock_wall_s();
}

static void answer(struct entry *e, struct cert_wait *w)
{
    if (is_valid(e)) {
        w->credential = credential_ref(e->credential);
        w->result = 0;
    } else {
        w->why = e->error;
        w->result = surely_negative(e->error.code);
    }
    loop_post(w->loop, &w->back);
}

static void answer_all(struct entry *e)
{
    for (struct list *n; (n = list_take_first(&e->waiters));) {
        answer(e, container_of(n, struct cert_wait, in_entry));
    }
}

static void enter_queue(struct entry *e, enum cert_priority priority)
{
    timer_clear(&e->timer);
    list_remove(&e->in_queue);
    e->step = ENTRY_QUEUED;
    e->priority = priority;
    list_append(&e->manager->queue[priority], &e->in_queue);
    task_wake(&e->manager->task, WAKE_CHILD);
}

static void enter_rest(struct entry *e, uint64_t for_ms)
{
    list_remove(&e->in_queue);
    e->step = ENTRY_RESTING;
    timer_set(&e->timer, &e->task, for_ms);
    answer_all(e);
}

static void enter_fetch(struct entry *e)
{
    struct cert_manager *m = e->manager;
    struct cert_fetch_spec spec = {
        .identity = e->identity, .ttl_s = m->config.ttl_s, .impersonate = m->config.impersonate};

    list_remove(&e->in_queue);
    e->step = ENTRY_FETCHING;
    list_append(&m->fetching, &e->in_queue);
    m->in_flight++;
    e->fetch = cert_fetch_new(e->task.loop, m->config.jobs, &spec, &e->task);
}

/* Until renewal: half of the whole life, or half of what is left of one that came late. */
static uint64_t renew_in_ms(const struct credential *c)
{
    const struct cert_facts *f = credential_chain_facts(c, 0);
    int64_t now = clock_wall_s();
    int64_t half = f->not_before_s + (f->not_after_s - f->not_before_s) / 2;

    if (half > now) {
        return (uint64_t)(half - now) * 1000u;
    }
    int64_t left_ms = (f->not_after_s - now) * 1000 / 2;
    return left_ms > CERT_RENEW_MIN_MS ? (uint64_t)left_ms : CERT_RENEW_MIN_MS;
}

static uint64_t retry_in_ms(struct entry *e)
{
    uint64_t base = e->retry_ms;
    uint64_t spread = base / 5;

    e->retry_ms = MIN_OF(base * 2, (uint64_t)CERT_RETRY_MAX_MS);
    return base - spread + rand_seq_below(&e->manager->jitter, 2 * spread + 1);
}

static void fetched(struct entry *e, struct credential *take_c)
{
    credential_unref(e->credential);
    e->credential = take_c;
    e->error = (struct diag){0};
    if (!is_valid(e)) {
        (void)diag_note(&e->error, -ERR_CERTIFICATE, "the CA gave a certificate that has expired");
        enter_rest(e, retry_in_ms(e));
        return;
    }
    e->retry_ms = CERT_RETRY_FIRST_MS;
    uint64_t in_ms = renew_in_ms(take_c);
    log_debug(&scope, "certificate received", F_STR("identity", e->identity->uri),
              F_STR("serial", credential_chain_facts(take_c, 0)->serial),
              F_U64("renew_in_ms", in_ms));
    enter_rest(e, in_ms);
}

static void fetch_failed(struct entry *e, const struct diag *why)
{
    uint64_t in_ms = retry_in_ms(e);

    e->error = *why;
    if (is_valid(e)) { /* the last try comes exactly at expiry (contract 6.4 as recorded) */
        int64_t left_s = credential_chain_facts(e->credential, 0)->not_after_s - clock_wall_s();
        in_ms = MIN_OF(in_ms, (uint64_t)left_s * 1000u);
    }
    log_warn(&scope, "certificate not received", F_STR("identity", e->identity->uri), F_DIAG(why),
             F_U64("retry_in_ms", in_ms));
    enter_rest(e, in_ms);
}

static void drop_fetch(struct entry *e)
{
    e->manager->in_flight--;
    e->manager->on_line -= e->is_sent;
    e->is_sent = false;
    cert_fetch_free(e->fetch);
    e->fetch = NULL;
}

static void fetch_settle(struct entry *e)
{
    struct credential *c = NULL;
    struct diag why = {0};
    int r = cert_fetch_result(e->fetch, &c, &why);

    if (r == -EAGAIN) {
        if (cert_fetch_wants_connection(e->fetch)) {
            task_wake(&e->manager->task, WAKE_CHILD);
        }
        return;
    }
    e->manager->token_refused |= cert_fetch_was_unauthenticated(e->fetch);
    drop_fetch(e);
    task_wake(&e->manager->task, WAKE_CHILD);
    if (r < 0) {
        fetch_failed(e, &why);
    } else {
        fetched(e, c);
    }
}

static void entry_run(struct task *t, unsigned why)
{
    struct entry *e = container_of(t, struct entry, task);

    (void)why; /* every wake is a hint */
    switch (e->step) {
    case ENTRY_FETCHING:
        fetch_settle(e);
        break;
    case ENTRY_RESTING:
        if (timer_is_due(&e->timer)) {
            enter_queue(e, is_valid(e) ? CERT_BACKGROUND : CERT_REALTIME);
        }
        break;
    case ENTRY_QUEUED:
        break;
    }
}

static struct entry *entry_find(const struct cert_manager *m, const struct identity *id)
{
    for (struct map_node *n = map_find(&m->by_identity, identity_hash(id)); n;
         n = map_find_next(n)) {
        struct entry *e = container_of(n, struct entry, by_identity);
        if (identity_equal(e->identity, id)) {
            return e;
        }
    }
    return NULL;
}

static struct entry *entry_make(struct cert_manager *m, const struct identity *id,
                                enum cert_priority priority)
{
    struct entry *e = mem_new(struct entry);

    task_init(&e->task, m->task.loop, "cert entry", entry_run);
    e->manager = m;
    e->identity = identity_ref(id);
    e->retry_ms = CERT_RETRY_FIRST_MS;
    list_init(&e->in_queue);
    list_init(&e->waiters);
    map_insert(&m->by_identity, &e->by_identity, identity_hash(id));
    enter_queue(e, priority);
    return e;
}

static void entry_free(struct entry *e)
{
    struct cert_manager *m = e->manager;

    (void)diag_note(&e->error, -ERR_CANCELLED, "no workload of this identity is left on the node");
    credential_unref(e->credential);
    e->credential = NULL;
    answer_all(e);
    timer_clear(&e->timer);
    if (e->fetch) {
        drop_fetch(e);
    }
    list_remove(&e->in_queue);
    map_remove(&m->by_identity, &e->by_identity);
    task_fini(&e->task);
    identity_unref(e->identity);
    mem_free(e);
}

/* On the manager's loop. */
static void wait_deliver_there(struct mail *m)
{
    struct cert_wait *w = container_of(m, struct cert_wait, there);
    struct entry *e = entry_find(w->manager, w->identity);

    if (!e && w->manager->by_identity.count >= CERT_IDENTITIES_MAX) {
        w->result = FAIL(&w->why, -ERR_LIMIT, "too many identities on this node");
        loop_post(w->loop, &w->back);
        return;
    }
    e = e ? e : entry_make(w->manager, w->identity, w->priority);
    if (is_valid(e) || e->step == ENTRY_RESTING) {
        answer(e, w);
        return;
    }
    list_append(&e->waiters, &w->in_entry);
    if (e->step == ENTRY_QUEUED && w->priority > e->priority) {
        enter_queue(e, w->priority);
    }
}

/* ---- the manager */

static struct entry *next_queued(struct cert_manager *m)
{
    for (int p = CERT_REALTIME; p >= CERT_BACKGROUND; p--) {
        if (!list_is_empty(&m->queue[p])) {
            return container_of(m->queue[p].next, struct entry, in_queue);
        }
    }
    return NULL;
}

static void start_fetches(struct cert_manager *m)
{
    struct entry *e;

    while (m->in_flight < CERT_IN_FLIGHT_MAX && (e = next_queued(m))) {
        enter_fetch(e);
    }
}

static void line_enter(struct cert_manager *m, enum line_step next)
{
    timer_clear(&m->idle);
    timer_clear(&m->use);
    m->line = next;
    switch (next) {
    case LINE_CLOSED:
        grpc_client_free(m->client);
        m->client = NULL;
        break;
    case LINE_DIALING:
        m->config.dialer->start(m->config.dialer, &m->task);
        break;
    case LINE_OPEN:
        m->token_refused = false;
        timer_set(&m->idle, &m->task, CONNECTION_IDLE_MS);
        timer_set(&m->use, &m->task, CONNECTION_USE_MS);
        break;
    case LINE_DRAINING:
        break;
    }
}

/* Hands the line, or its failure (refusal not NULL), to every fetch that waits for one. How many. */
static unsigned serve_fetches(struct cert_manager *m, const struct diag *refusal)
{
    unsigned served = 0;

    list_for_each_safe (n, &m->fetching) {
        struct entry *e = container_of(n, struct entry, in_queue);
        if (!cert_fetch_wants_connection(e->fetch)) {
            continue;
        }
        served++;
        if (refusal) {
            cert_fetch_refuse(e->fetch, refusal);
        } else if (m->line == LINE_OPEN) {
            cert_fetch_send(e->fetch, m->client, m->metadata);
            e->is_sent = true;
            m->on_line++;
            timer_set(&m->idle, &m->task, CONNECTION_IDLE_MS);
        }
    }
    return served;
}

static void line_poll(struct cert_manager *m)
{
    struct diag why = {0};
    int r = m->config.dialer->poll(m->config.dialer, &m->task, &m->client, &m->metadata, &why);

    if (r == -EAGAIN) {
        return;
    }
    line_enter(m, r < 0 ? LINE_CLOSED : LINE_OPEN);
    if (r < 0) {
        (void)serve_fetches(m, &why);
    }
}

static void line_check(struct cert_manager *m)
{
    if (grpc_client_state(m->client) < 0) {
        line_enter(m, LINE_CLOSED);
    } else if (m->token_refused || timer_is_due(&m->use)) {
        line_enter(m, m->on_line > 0 ? LINE_DRAINING : LINE_CLOSED);
    } else if (timer_is_due(&m->idle)) {
        if (list_is_empty(&m->fetching)) {
            line_enter(m, LINE_CLOSED);
        } else {
            timer_set(&m->idle, &m->task, CONNECTION_IDLE_MS);
        }
    }
}

static void manager_run(struct task *t, unsigned why)
{
    struct cert_manager *m = container_of(t, struct cert_manager, task);

    (void)why; /* every wake is a hint */
    start_fetches(m);
    switch (m->line) {
    case LINE_OPEN:
        line_check(m);
        break;
    case LINE_DRAINING:
        if (m->on_line == 0 || grpc_client_state(m->client) < 0) {
            line_enter(m, LINE_CLOSED);
        }
        break;
    case LINE_DIALING:
        line_poll(m);
        break;
    case LINE_CLOSED:
        break;
    }
    unsigned waiting = serve_fetches(m, NULL);
    if (waiting > 0 && m->line == LINE_CLOSED) {
        line_enter(m, LINE_DIALING);
    }
}

struct cert_manager *cert_manager_new(struct loop *l, const struct cert_manager_config *config)
{
    struct cert_manager *m = mem_new(struct cert_manager);

    task_init(&m->task, l, "cert manager", manager_run);
    m->config = *config;
    map_init(&m->by_identity);
    list_init(&m->fetching);
    for (unsigned i = 0; i < CERT_PRIORITIES; i++) {
        list_init(&m->queue[i]);
    }
    rand_seq_init(&m->jitter, rand_u64());
    return m;
}

void cert_manager_free(struct cert_manager *m)
{
    if (!m) {
        return;
    }
    map_for_each (n, &m->by_identity) {
        entry_free(container_of(n, struct entry, by_identity));
    }
    map_fini(&m->by_identity);
    if (m->line == LINE_DIALING) {
        m->config.dialer->stop(m->config.dialer);
    }
    line_enter(m, LINE_CLOSED);
    task_fini(&m->task);
    mem_free(m);
}

struct use_change {
    struct mail mail;
    struct cert_manager *manager;
    const struct identity *identity;
    bool more;
};

static void use_deliver(struct mail *mail)
{
    struct use_change *u = container_of(mail, struct use_change, mail);
    struct entry *e = entry_find(u->manager, u->identity);

    if (!e && u->more && u->manager->by_identity.count < CERT_IDENTITIES_MAX) {
        e = entry_make(u->manager, u->identity, CERT_WARMUP);
    }
    if (e && u->more) {
        e->uses++;
    } else if (e && e->uses > 0 && --e->uses == 0) {
        entry_free(e);
        task_wake(&u->manager->task, WAKE_CHILD);
    }
    identity_unref(u->identity);
    mem_free(u);
}

static void use_change_post(struct cert_manager *m, const struct identity *id, bool more)
{
    struct use_change *u = mem_new(struct use_change);

    u->mail.deliver = use_deliver;
    u->manager = m;
    u->identity = identity_ref(id);
    u->more = more;
    loop_post(m->task.loop, &u->mail);
}

void cert_manager_use(struct cert_manager *m, const struct identity *id)
{
    use_change_post(m, id, true);
}

void cert_manager_unuse(struct cert_manager *m, const struct identity *id)
{
    use_change_post(m, id, false);
}

static const char *state_of(const struct entry *e)
{
    if (is_valid(e)) {
        return "Available";
    }
    return e->error.code < 0 ? "Unavailable" : "Initializing";
}

bool cert_manager_each(const struct cert_manager *m, struct cert_cursor *c, struct cert_view *out)
{
    struct map_node *n = c->at ? map_next(&m->by_identity, c->at) : map_first(&m->by_identity);

    if (!n) {
        return false;
    }
    c->at = n;
    struct entry *e = container_of(n, struct entry, by_identity);
    *out = (struct cert_view){.identity = e->identity,
                              .credential = is_valid(e) ? e->credential : NULL,
                              .state = state_of(e),
                              .error = &e->error};
    return true;
}
