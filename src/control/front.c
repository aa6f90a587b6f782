/* SPDX-License-Identifier: Apache-2.0 */
#include "control/front.h"

#include "base/log.h"
#include "base/mem.h"
#include "control/feed.h"
#include "control/review.h"

static struct log_scope scope = LOG_SCOPE("front");

struct front {
    struct task task;
    struct loop *loop;
    struct front_options o;
    struct grpc_server *grpc;
    struct list visitors;
    struct list gone;
    struct front_stats stats;
};

struct visitor {
    struct task task;
    struct timer limit;
    struct front *front;
    struct list in_front;
    struct grpc_call *call; /* NULL once it went on or away */
    struct review *review;
    bool for_ca;
    bool has_cluster;
};

/* ---- one visitor */

static void leave(struct visitor *v)
{
    timer_clear(&v->limit);
    list_remove(&v->in_front);
    list_append(&v->front->gone, &v->in_front);
    task_wake(&v->front->task, WAKE_CHILD);
}

static struct grpc_call *take_call(struct visitor *v)
{
    struct grpc_call *call = v->call;

    grpc_call_own(call, NULL);
    v->call = NULL;
    return call;
}

static void refuse(struct visitor *v, unsigned code, const char *text)
{
    grpc_call_refuse(take_call(v), code, text);
    leave(v);
}

static void to_discovery(struct visitor *v, const struct caller *c)
{
    AUTO(identity)
    const struct identity *id = identity_new(v->front->o.trust_domain, c->ns, c->account);
    struct ca_caller who = {.ns = c->ns, .account = c->account};
    struct ads_caller caller = {.ns = c->ns,
                                .account = c->account,
                                .identity = id->uri,
                                .is_proxy = v->front->o.is_proxy(v->front->o.arg, &who)};

    ads_server_add(v->front->o.ads, take_call(v), &caller);
}

static void to_ca(struct visitor *v, const struct caller *c)
{
    struct ca_caller caller = {.ns = c->ns,
                               .account = c->account,
                               .pod_name = c->pod_name,
                               .pod_uid = c->pod_uid,
                               .has_cluster = v->has_cluster};

    ca_service_add(v->front->o.ca, take_call(v), &caller);
}

static void refuse_stranger(struct visitor *v, const struct diag *why)
{
    log_info(&scope, "a caller was refused", F_STR("for", v->for_ca ? "ca" : "xds"), F_DIAG(why));
    v->front->stats.unauthenticated++;
    refuse(v, GRPC_UNAUTHENTICATED,
           v->for_ca ? "request authenticate failure" : "authentication failure");
}

static void run_visitor(struct task *t, unsigned why)
{
    struct visitor *v = container_of(t, struct visitor, task);
    struct caller caller = {.ns = NULL};
    struct diag reason = {0};

    if (!v->call) {
        return;
    }
    if ((why & WAKE_TIMER) && timer_is_due(&v->limit)) {
        refuse(v, GRPC_UNAVAILABLE, "the API server does not answer");
        return;
    }
    int r = review_result(v->review, &caller, &reason);
    if (r == -EAGAIN) {
        return;
    }
    if (r == -ERR_DENIED) {
        refuse_stranger(v, &reason);
    } else if (r < 0) {
        log_warn(&scope, "a credential could not be reviewed", F_DIAG(&reason));
        refuse(v, GRPC_UNAVAILABLE, "the API server does not answer");
    } else {
        if (v->for_ca) {
            to_ca(v, &caller);
        } else {
            to_discovery(v, &caller);
        }
        leave(v);
    }
    caller_fini(&caller);
}

static void visitor_free(struct visitor *v)
{
    timer_clear(&v->limit);
    list_remove(&v->in_front);
    review_free(v->review);
    if (v->call) {
        grpc_call_close(take_call(v));
    }
    task_fini(&v->task);
    mem_free(v);
}

/* ---- coming in */

/* The token of "Bearer TOKEN", the scheme written so and not otherwise; empty: none. */
static struct slice bearer(const struct message *m)
{
    struct slice value;
    struct slice scheme;
    struct slice token;

    if (!message_find(m, "authorization", &value) ||
        !slice_cut(slice_trim(value), ' ', &scheme, &token) || !slice_is(scheme, "Bearer")) {
        return (struct slice){"", 0};
    }
    token = slice_trim(token);
    return token.len <= REVIEW_TOKEN_BYTES ? token : (struct slice){"", 0};
}

static void admit(struct front *d, struct grpc_call *take_c, struct slice token, bool for_ca,
                  bool has_cluster)
{
    struct visitor *v = mem_new(struct visitor);

    v->front = d;
    v->call = take_c;
    v->for_ca = for_ca;
    v->has_cluster = has_cluster;
    list_append(&d->visitors, &v->in_front);
    d->stats.visitors++;
    task_init(&v->task, d->loop, "visitor", run_visitor);
    timer_set(&v->limit, &v->task, FRONT_REVIEW_MS);
    v->review = review_new(d->o.client, token, &v->task);
}

static void receive(struct front *d, struct grpc_call *take_c)
{
    const struct message *m = grpc_call_metadata(take_c);
    struct slice cluster = {"", 0};
    struct slice token = bearer(m);
    bool for_ca = slice_is(grpc_call_path(take_c), CA_METHOD);

    (void)message_find(m, "clusterid", &cluster); /* absent is as good as empty */
    if (!for_ca && !slice_is(grpc_call_path(take_c), ADS_METHOD)) {
        grpc_call_refuse(take_c, GRPC_UNIMPLEMENTED, "unknown method");
        return;
    }
    if (!feed_is_synced(d->o.feed)) {
        d->stats.refused_early++;
        grpc_call_refuse(take_c, GRPC_UNAVAILABLE,
                         "server is not ready to serve: the cluster is "
                         "not known yet");
        return;
    }
    if (token.len == 0 || (cluster.len > 0 && !slice_is(cluster, d->o.cluster_id))) {
        d->stats.unauthenticated++;
        grpc_call_refuse(take_c, GRPC_UNAUTHENTICATED,
                         for_ca ? "request authenticate failure" : "authentication failure");
        return;
    }
    if (d->stats.visitors >= FRONT_VISITORS_MAX) {
        grpc_call_refuse(take_c, GRPC_RESOURCE_EXHAUSTED, "too many callers at once");
        return;
    }
    admit(d, take_c, token, for_ca, cluster.len > 0);
}

static void run(struct task *t, unsigned why)
{
    struct front *d = container_of(t, struct front, task);
    struct grpc_call *call = NULL;
    struct list *n;

    (void)why; /* every wake is a hint */
    while ((n = list_take_first(&d->gone))) {
        visitor_free(container_of(n, struct visitor, in_front));
        d->stats.visitors--;
    }
    while (grpc_server_next(d->grpc, &call) == 1) {
        receive(d, call);
    }
}

struct front *front_new(struct loop *l, const struct grpc_server_options *grpc,
                        const struct front_options *options)
{
    struct front *d = mem_new(struct front);

    d->loop = l;
    d->o = *options;
    list_init(&d->visitors);
    list_init(&d->gone);
    task_init(&d->task, l, "front", run);
    d->grpc = grpc_server_new(l, grpc, &d->task);
    return d;
}

int front_listen(struct front *d, int take_fd, struct diag *why)
{
    return grpc_server_listen(d->grpc, take_fd, why);
}

void front_free(struct front *d)
{
    if (!d) {
        return;
    }
    list_for_each_safe (n, &d->visitors) {
        visitor_free(container_of(n, struct visitor, in_front));
    }
    list_for_each_safe (n, &d->gone) {
        visitor_free(container_of(n, struct visitor, in_front));
    }
    grpc_server_free(d->grpc);
    task_fini(&d->task);
    mem_free(d);
}

const struct front_stats *front_stats(const struct front *d)
{
    return &d->stats;
}
