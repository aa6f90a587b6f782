/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/pod.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "ztunnel/acceptor.h"
#include "ztunnel/dialer.h"
#include "ztunnel/dns_proxy.h"
#include "ztunnel/outbound.h"
#include "ztunnel/plaintext.h"
#include "ztunnel/tunnel.h"

enum {
    TICK_MS = 5000,
    CREDENTIAL_ERROR_MS =
        200,      /* a failure answers those who waited for it, then is asked about again */
    BACKLOG = 128 /* contract 7.9 */
};

static struct log_scope scope = LOG_SCOPE("pod");

static const struct {
    const char *name;
    uint16_t port;
    acceptor_open *open;
    enum pod_way way;
} ports[POD_PORTS] = {
    [POD_OUTBOUND] = {"outbound", PORT_OUTBOUND, outbound_open, POD_OUT},
    [POD_PLAINTEXT] = {"inbound plaintext", PORT_PLAINTEXT, plaintext_open, POD_IN},
    [POD_HBONE] = {"inbound", PORT_HBONE, tunnel_open, POD_IN},
};

void pod_info_copy(struct pod_info *out, const struct pod_info *from)
{
    *out = (struct pod_info){.uid = mem_strdup(from->uid),
                             .name = mem_strdup(from->name),
                             .ns = mem_strdup(from->ns),
                             .service_account = mem_strdup(from->service_account)};
}

void pod_info_fini(struct pod_info *i)
{
    mem_free(i->uid);
    mem_free(i->name);
    mem_free(i->ns);
    mem_free(i->service_account);
    *i = (struct pod_info){.uid = NULL};
}

/* ---- who waits */

void pod_wait_start(struct pod *p, struct pod_wait *w, struct task *t)
{
    if (!w->task) {
        w->task = t;
        list_append(&p->waiting, &w->in_row);
    }
}

void pod_wait_stop(struct pod_wait *w)
{
    if (w->task) {
        list_remove(&w->in_row);
        w->task = NULL;
    }
}

static void wake_waiting(struct pod *p)
{
    list_for_each (n, &p->waiting) {
        task_wake(container_of(n, struct pod_wait, in_row)->task, WAKE_CHILD);
    }
}

/* ---- connections */

void pod_conn_start(struct pod *p, struct pod_conn *c, const struct pod_conn_ops *ops)
{
    c->ops = ops;
    list_append(&p->conns, &c->in_pod);
    p->conn_count++;
    p->way_count[ops->way]++;
    if (!timer_is_armed(&p->tick)) {
        timer_set(&p->tick, &p->task, TICK_MS);
    }
}

void pod_conn_stop(struct pod *p, struct pod_conn *c)
{
    list_remove(&c->in_pod);
    p->conn_count--;
    p->way_count[c->ops->way]--;
    if (p->conn_count == 0 && p->step != POD_UP) {
        task_wake(&p->task, WAKE_CHILD);
    }
}

bool pod_is_full(const struct pod *p, enum pod_way way)
{
    return p->conn_count >= POD_CONNECTIONS_MAX ||
           p->way_count[way] >= POD_CONNECTIONS_MAX - POD_CONNECTIONS_KEPT;
}

static void each_account(struct pod *p)
{
    list_for_each (n, &p->conns) {
        struct pod_conn *c = container_of(n, struct pod_conn, in_pod);
        if (c->ops->account) {
            c->ops->account(c);
        }
    }
}

static void each_reconsider(struct pod *p)
{
    list_for_each (n, &p->conns) {
        struct pod_conn *c = container_of(n, struct pod_conn, in_pod);
        if (c->ops->reconsider) {
            c->ops->reconsider(c);
        }
    }
}

static void each_drain(struct pod *p)
{
    list_for_each (n, &p->conns) {
        struct pod_conn *c = container_of(n, struct pod_conn, in_pod);
        if (c->ops->drain) {
            c->ops->drain(c);
        }
    }
}

static void each_abort(struct pod *p, int why)
{
    list_for_each (n, &p->conns) {
        struct pod_conn *c = container_of(n, struct pod_conn, in_pod);
        c->ops->abort(c, why);
    }
}

/* ---- who we are */

/* The certificate is fetched before anybody asks and renewed for as long as the pod is here. */
static void use_identity(struct pod *p, const struct identity *id)
{
    if (id && identity_equal(id, p->used)) {
        return;
    }
    if (id) {
        cert_manager_use(p->plane->certs, id);
    }
    if (p->used) {
        cert_manager_unuse(p->plane->certs, p->used);
    }
    identity_unref(p->used);
    p->used = identity_ref(id);
}

/* A credential that is not the workload's is worse than none. */
static void self_changed(struct pod *p)
{
    const char *held = p->credential ? credential_identity(p->credential) : NULL;

    if (held && (!p->self || strcmp(held, p->self->identity->uri) != 0)) {
        p->credential = credential_unref(p->credential);
    }
    use_identity(p, p->self ? p->self->identity : p->used);
    wake_waiting(p);
}

static void look_at_world(struct pod *p)
{
    const struct world *w = plane_world(p->plane);

    if (!w || world_generation(w) == p->generation) {
        return;
    }
    p->generation = world_generation(w);
    bool decides = world_policy_generation(w) != p->policy_generation;
    p->policy_generation = world_policy_generation(w);
    const struct workload *now = world_self(w, p->plane->config->node_name, p->info.name,
                                            p->info.ns, p->info.service_account);
    if (now != p->self) {
        const struct workload *before = p->self;
        p->self = workload_ref(now);
        workload_unref(before);
        self_changed(p);
        decides = true; /* it names its policies */
    }
    if (decides) {
        each_reconsider(p);
    }
}

const struct workload *pod_self(struct pod *p)
{
    if (!p->self) {
        look_at_world(p);
    }
    return p->self;
}

static bool credential_is_valid(const struct credential *c)
{
    return c && credential_chain_facts(c, 0)->not_after_s > clock_wall_s();
}

/* Half of what is left: the manager renews at half of the whole, so by then it has a newer one. */
static uint64_t ask_again_ms(const struct pod *p)
{
    int64_t left = credential_chain_facts(p->credential, 0)->not_after_s - clock_wall_s();

    return loop_now_ms(p->plane->loop) + (left > 2 ? (uint64_t)left * 500u : 1000u);
}

static void credential_settle(struct pod *p)
{
    struct credential *fresh = NULL;
    int r = cert_wait_result(p->cert_wait, &fresh, &p->credential_error);

    if (r == -EAGAIN) {
        return;
    }
    cert_wait_free(p->cert_wait);
    p->cert_wait = NULL;
    if (r == 0) {
        credential_unref(p->credential);
        p->credential = fresh;
        p->credential_error = (struct diag){0};
        p->credential_renew_ms = ask_again_ms(p);
        self_changed(p); /* the workload may have become another meanwhile */
    } else {
        p->credential_error_ms = loop_now_ms(p->plane->loop);
        p->credential_renew_ms = p->credential_error_ms + 1000;
        wake_waiting(p);
    }
}

static void credential_ask(struct pod *p, enum cert_priority priority)
{
    if (!p->cert_wait && p->self) {
        p->cert_wait = cert_wait_new(p->plane->certs, p->self->identity, priority, &p->task);
    }
}

int pod_credential(struct pod *p, struct credential **out, struct diag *why)
{
    uint64_t now = loop_now_ms(p->plane->loop);

    if (credential_is_valid(p->credential)) {
        if (now >= p->credential_renew_ms) {
            credential_ask(p, CERT_BACKGROUND);
        }
        *out = p->credential;
        return 0;
    }
    if (p->credential_error.code < 0 && now < p->credential_error_ms + CREDENTIAL_ERROR_MS) {
        *why = p->credential_error;
        return p->credential_error.code;
    }
    credential_ask(p, CERT_REALTIME);
    return -EAGAIN;
}

/* ---- sockets */

/* The proxy itself: sockets of its own namespace carry no mark and share no port (contract 1.3.1). */
static bool is_own(const struct pod *p)
{
    return p->netns == NULL;
}

static struct sock_ask *ask_listen(struct pod *p, uint16_t port)
{
    const struct config *c = p->plane->config;
    struct ip any = {.family = c->common.ipv6 ? IP_V6 : IP_V4};
    struct sock_spec spec = {.role = SOCK_ROLE_LISTEN,
                             .family = (enum ip_family)any.family,
                             .at = {.ip = any, .port = port},
                             .mark = is_own(p) ? 0 : c->packet_mark,
                             .transparent = c->orig_src != ORIG_SRC_NEVER,
                             .reuse_port = c->port_reuse && !is_own(p),
                             .backlog = BACKLOG};

    /* Accepted sockets inherit keepalive: 15008 relies on PING instead (contract 3.1). */
    if (port != PORT_HBONE) {
        spec.keepalive = c->keepalive;
    }
    return sock_ask_new(p->plane->sockets, p->netns, &spec, &p->task);
}

struct sock_ask *pod_ask_connect(struct pod *p, enum ip_family family, const struct ip *source,
                                 struct task *owner)
{
    const struct config *c = p->plane->config;
    struct sock_spec spec = {.role = SOCK_ROLE_CONNECT,
                             .family = family,
                             .mark = is_own(p) ? 0 : c->packet_mark,
                             .keepalive = c->keepalive};

    if (source && !is_own(p) && c->orig_src != ORIG_SRC_NEVER) {
        spec.at.ip = *source;
        spec.transparent = true;
    }
    return sock_ask_new(p->plane->sockets, p->netns, &spec, owner);
}

/* 0 once everything listens. */
static int bind_all(struct pod *p, struct diag *why)
{
    int r = p->dns ? dns_proxy_bind(p->dns, why) : 0;

    if (r < 0) {
        return r;
    }
    for (unsigned i = 0; i < POD_PORTS; i++) {
        if (p->acceptors[i] || !p->asks[i]) {
            continue;
        }
        int fd = sock_ask_take(p->asks[i], why);
        if (fd == -EAGAIN) {
            return -EAGAIN;
        }
        if (fd < 0) {
            return fd;
        }
        p->acceptors[i] = acceptor_new(p, fd, ports[i].open, ports[i].way, why);
        if (!p->acceptors[i]) {
            return surely_negative(why->code);
        }
        sock_ask_free(p->asks[i]);
        p->asks[i] = NULL;
    }
    return 0;
}

static void close_listeners(struct pod *p)
{
    for (unsigned i = 0; i < POD_PORTS; i++) {
        acceptor_free(p->acceptors[i]);
        p->acceptors[i] = NULL;
        sock_ask_free(p->asks[i]);
        p->asks[i] = NULL;
    }
    dns_proxy_free(p->dns);
    p->dns = NULL;
}

/* ---- life */

static void destroy(struct pod *p)
{
    close_listeners(p);
    hbone_pool_free(p->pool);
    cert_wait_free(p->cert_wait);
    use_identity(p, NULL);
    credential_unref(p->credential);
    workload_unref(p->self);
    netns_unref(p->netns);
    timer_clear(&p->tick);
    timer_clear(&p->deadline);
    list_remove(&p->in_plane);
    task_fini(&p->task);
    pod_info_fini(&p->info);
    host_source_fini(&p->hosts);
    mem_free(p);
}

static void enter(struct pod *p, enum pod_step next)
{
    timer_clear(&p->deadline);
    p->step = next;
}

static void step_binding(struct pod *p)
{
    struct diag why = {0};
    int r = bind_all(p, &why);

    if (r == -EAGAIN) {
        return;
    }
    if (r < 0) {
        p->started(p, r, &why);
        destroy(p);
        return;
    }
    enter(p, POD_UP);
    log_debug(&scope, "listeners established", F_QUOTED("uid", p->info.uid));
    p->started(p, 0, &why);
    look_at_world(p);
    credential_ask(p, CERT_WARMUP);
}

static void step_up(struct pod *p)
{
    look_at_world(p);
    if (timer_is_due(&p->tick)) {
        timer_clear(&p->tick);
        each_account(p);
        if (p->conn_count > 0) {
            timer_set(&p->tick, &p->task, TICK_MS);
        }
    }
}

static void begin_end(struct pod *p, int why)
{
    enter(p, POD_ENDING);
    each_abort(p, why);
    hbone_pool_free(p->pool);
    p->pool = NULL;
}

static void step_draining(struct pod *p)
{
    step_up(p);
    if (p->conn_count > 0 && timer_is_due(&p->deadline)) {
        log_warn(&scope, "drain deadline passed, closing what is left",
                 F_QUOTED("pod", p->info.name), F_U64("connections", p->conn_count));
    } else if (p->conn_count > 0) {
        return;
    }
    begin_end(p, -ERR_DRAINED);
}

static void run(struct task *t, unsigned why)
{
    struct pod *p = container_of(t, struct pod, task);

    (void)why; /* every wake is a hint */
    if (p->cert_wait) {
        credential_settle(p);
    }
    if (p->step == POD_BINDING) {
        step_binding(p);
        return;
    }
    if (p->step == POD_UP) {
        step_up(p);
    }
    if (p->step == POD_DRAINING) {
        step_draining(p);
    }
    if (p->step == POD_ENDING && p->conn_count == 0) {
        p->stopped(p);
        destroy(p);
    }
}

struct pod *pod_start(struct plane *plane, const struct pod_spec *spec)
{
    struct pod *p = mem_new(struct pod);
    struct hbone_dialer dialer = {.open = pod_dial_secure, .arg = p};

    task_init(&p->task, plane->loop, "pod", run);
    p->plane = plane;
    pod_info_copy(&p->info, spec->info);
    p->netns = spec->netns ? netns_ref(spec->netns) : NULL;
    p->started = spec->started;
    p->stopped = spec->stopped;
    p->arg = spec->arg;
    list_init(&p->conns);
    list_init(&p->waiting);
    list_append(&plane->pods, &p->in_plane);
    budget_init(&p->budget, POD_BUDGET_BYTES, &plane->budget);
    host_source_init(&p->hosts);
    p->pool = hbone_pool_new(plane->hbone, &dialer, &p->budget);
    p->dns = plane->config->dns_proxy && !is_own(p) ? dns_proxy_new(p) : NULL;
    for (unsigned i = 0; i < POD_PORTS; i++) {
        p->asks[i] = i == POD_HBONE || !is_own(p) ? ask_listen(p, ports[i].port) : NULL;
    }
    task_wake(&p->task, WAKE_START);
    return p;
}

void pod_stop(struct pod *p, uint64_t drain_ms)
{
    for (unsigned i = 0; drain_ms > 0 && p->step == POD_UP && i < POD_PORTS; i++) {
        if (p->acceptors[i]) {
            acceptor_take_waiting(p->acceptors[i]);
        }
    }
    close_listeners(p);
    if (p->step == POD_ENDING) {
        return;
    }
    if (drain_ms == 0) {
        begin_end(p, -ERR_CANCELLED);
    } else if (p->step != POD_DRAINING) {
        enter(p, POD_DRAINING);
        timer_set(&p->deadline, &p->task, drain_ms);
        hbone_pool_drain(p->pool);
        each_drain(p);
    }
    task_wake(&p->task, WAKE_DRAIN);
}
