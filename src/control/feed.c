/* SPDX-License-Identifier: Apache-2.0 */
#include "control/feed.h"

#include "base/log.h"
#include "base/mem.h"
#include "codec/json.h"
#include "control/reconcile.h"
#include "kube/kube_watch.h"
#include "kube/resource.h"
#include "xds/ads_server.h"

static struct log_scope scope = LOG_SCOPE("feed");

#define GATEWAY_API "gateway.networking.k8s.io"

static const struct {
    struct kube_resource resource;
    const char *field_selector;
    const char *label_selector;
} kinds[INDEX_KINDS] = {
    [INDEX_NAMESPACE] = {{.group = "", .version = "v1", .plural = "namespaces"}, NULL},
    [INDEX_NODE] = {{.group = "", .version = "v1", .plural = "nodes"}, NULL},
    [INDEX_POD] = {{.group = "", .version = "v1", .plural = "pods", .namespaced = true},
                   "status.phase!=Failed"},
    [INDEX_SERVICE] = {{.group = "", .version = "v1", .plural = "services", .namespaced = true},
                       NULL},
    [INDEX_SLICE] = {{.group = "discovery.k8s.io",
                      .version = "v1",
                      .plural = "endpointslices",
                      .namespaced = true},
                     NULL},
    [INDEX_AUTHORIZATION] = {{.group = "security.istio.io",
                              .version = "v1",
                              .plural = "authorizationpolicies",
                              .namespaced = true},
                             NULL},
    [INDEX_PEER] = {{.group = "security.istio.io",
                     .version = "v1",
                     .plural = "peerauthentications",
                     .namespaced = true},
                    NULL},
    [INDEX_CLASS] = {{.group = GATEWAY_API, .version = "v1", .plural = "gatewayclasses"}, NULL},
    [INDEX_GATEWAY] =
        {{.group = GATEWAY_API, .version = "v1", .plural = "gateways", .namespaced = true}, NULL},
    [INDEX_HTTP_ROUTE] =
        {{.group = GATEWAY_API, .version = "v1", .plural = "httproutes", .namespaced = true}, NULL},
    [INDEX_GRPC_ROUTE] =
        {{.group = GATEWAY_API, .version = "v1", .plural = "grpcroutes", .namespaced = true}, NULL},
    [INDEX_TCP_ROUTE] =
        {{.group = GATEWAY_API, .version = "v1alpha2", .plural = "tcproutes", .namespaced = true},
         NULL},
    [INDEX_GRANT] = {{.group = GATEWAY_API,
                      .version = "v1beta1",
                      .plural = "referencegrants",
                      .namespaced = true},
                     NULL},
    [INDEX_AUTHENTICATION] = {{.group = "security.istio.io",
                               .version = "v1",
                               .plural = "requestauthentications",
                               .namespaced = true},
                              NULL},
    [INDEX_RULE] = {{.group = "networking.istio.io",
                     .version = "v1",
                     .plural = "destinationrules",
                     .namespaced = true},
                    NULL},
    [INDEX_ACCOUNT] =
        {{.group = "", .version = "v1", .plural = "serviceaccounts", .namespaced = true},
         NULL,
         MANAGED_LABEL "=" WAYPOINT_MANAGED},
    [INDEX_DEPLOYMENT] =
        {{.group = "apps", .version = "v1", .plural = "deployments", .namespaced = true},
         NULL,
         MANAGED_LABEL "=" WAYPOINT_MANAGED},
};

struct feed {
    struct task task;
    struct timer turning;
    struct loop *loop;
    struct index *index;
    struct ads_server *ads;
    struct task *owner;
    struct kube_watch *watches[INDEX_KINDS];
    bool is_synced;
};

static void take(struct feed *f, enum index_kind kind, const struct kube_event *e)
{
    switch (e->type) {
    case KUBE_ADDED:
    case KUBE_MODIFIED:
        index_put(f->index, kind, e->object);
        break;
    case KUBE_DELETED:
        index_remove(f->index, kind, json_str_at(e->object, "metadata.namespace", ""),
                     json_str_at(e->object, "metadata.name", ""));
        break;
    case KUBE_SYNCED:
        return;
    }
}

/* True: there may be more. */
static bool drain(struct feed *f, enum index_kind kind)
{
    struct kube_event e;
    unsigned n = 0;

    while (n < FEED_EVENTS && kube_watch_next(f->watches[kind], &e) == 1) {
        take(f, kind, &e);
        json_unref(e.object);
        n++;
    }
    return n == FEED_EVENTS;
}

/* A kind without a definition in the cluster has no objects. What gateways were made into is of use
 * to mend it; a role that does not let us see it holds up nobody. */
static bool is_listed(const struct feed *f, enum index_kind kind)
{
    const struct kube_watch *w = f->watches[kind];
    int code = kube_watch_diag(w)->code;
    bool is_needed = kind != INDEX_ACCOUNT && kind != INDEX_DEPLOYMENT;

    return kube_watch_is_synced(w) || code == -ERR_NOT_FOUND || (!is_needed && code < 0);
}

static bool all_listed(const struct feed *f)
{
    for (unsigned k = 0; k < INDEX_KINDS; k++) {
        if (!is_listed(f, (enum index_kind)k)) {
            return false;
        }
    }
    return true;
}

/* Node proxies acknowledge in a burst: looked at now and then, not at each of ten thousand. */
static void hear(struct feed *f)
{
    timer_clear(&f->turning);
    if (!index_is_turning(f->index)) {
        return;
    }
    struct index_heard h = {.published = ads_server_published(f->ads),
                            .acknowledged = ads_server_acknowledged(f->ads)};
    index_hear(f->index, &h, loop_now_ms(f->loop));
    if (index_is_turning(f->index)) {
        timer_set(&f->turning, &f->task, FEED_HEAR_MS);
    }
}

static void run(struct task *t, unsigned why)
{
    struct feed *f = container_of(t, struct feed, task);
    bool more = false;

    (void)why; /* every wake is a hint */
    for (unsigned k = 0; k < INDEX_KINDS; k++) {
        more |= drain(f, (enum index_kind)k);
    }
    more |= index_settle(f->index, INDEX_SETTLE_UNITS);
    ads_server_changed(f->ads);
    hear(f);
    more |= !index_is_settled(f->index);
    if (!f->is_synced && !more && all_listed(f)) {
        f->is_synced = true;
        index_live(f->index);
        log_info(&scope, "the cluster is known", F_U64("pods", index_count(f->index, INDEX_POD)),
                 F_U64("services", index_count(f->index, INDEX_SERVICE)),
                 F_U64("policies", index_count(f->index, INDEX_AUTHORIZATION)));
    }
    task_wake(f->owner, WAKE_CHILD);
    if (more) {
        task_wake(t, WAKE_START);
    }
}

struct feed *feed_new(struct loop *l, struct kube_client *client, struct index *index,
                      struct ads_server *ads, struct task *owner)
{
    struct feed *f = mem_new(struct feed);

    f->loop = l;
    f->index = index;
    f->ads = ads;
    f->owner = owner;
    task_init(&f->task, l, "feed", run);
    for (unsigned k = 0; k < INDEX_KINDS; k++) {
        struct kube_watch_options o = {.resource = &kinds[k].resource,
                                       .field_selector = kinds[k].field_selector,
                                       .label_selector = kinds[k].label_selector};
        f->watches[k] = kube_watch_new(client, &o, &f->task);
    }
    return f;
}

void feed_free(struct feed *f)
{
    if (!f) {
        return;
    }
    for (unsigned k = 0; k < INDEX_KINDS; k++) {
        kube_watch_free(f->watches[k]);
    }
    timer_clear(&f->turning);
    task_fini(&f->task);
    mem_free(f);
}

bool feed_is_synced(const struct feed *f)
{
    return f->is_synced;
}

void feed_write_trouble(const struct feed *f, struct strbuf *out)
{
    for (unsigned k = 0; k < INDEX_KINDS; k++) {
        const struct diag *d = kube_watch_diag(f->watches[k]);
        if (d->code < 0 && d->code != -ERR_NOT_FOUND) {
            strbuf_printf(out, "%s%s: %s", out->len > 0 ? "; " : "", kinds[k].resource.plural,
                          d->text);
        }
    }
}
