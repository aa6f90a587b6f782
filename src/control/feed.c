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

#define GATEWAY_API  "gateway.networking.k8s.io"
#define SECURITY_API "security.istio.io"

/* Kinds that a definition makes may be missing. Of one that refuses nobody any more when it is missing,
 * a definition without our version is waited for; of others it is as good as none. */
enum need {
    BUILT_IN,
    POLICY,
    DEFINED,
    FOR_MENDING /* a role that does not let us see it holds up nobody */
};

static const struct {
    struct kube_resource resource; /* group, version, plural, namespaced */
    enum need need;
    const char *field_selector;
    const char *label_selector;
} kinds[INDEX_KINDS] = {
    [INDEX_NAMESPACE] = {{"", "v1", "namespaces", false}, BUILT_IN},
    [INDEX_NODE] = {{"", "v1", "nodes", false}, BUILT_IN},
    [INDEX_POD] = {{"", "v1", "pods", true}, BUILT_IN, "status.phase!=Failed"},
    [INDEX_SERVICE] = {{"", "v1", "services", true}, BUILT_IN},
    [INDEX_SLICE] = {{"discovery.k8s.io", "v1", "endpointslices", true}, BUILT_IN},
    [INDEX_AUTHORIZATION] = {{SECURITY_API, "v1", "authorizationpolicies", true}, POLICY},
    [INDEX_PEER] = {{SECURITY_API, "v1", "peerauthentications", true}, POLICY},
    [INDEX_CLASS] = {{GATEWAY_API, "v1", "gatewayclasses", false}, DEFINED},
    [INDEX_GATEWAY] = {{GATEWAY_API, "v1", "gateways", true}, DEFINED},
    [INDEX_HTTP_ROUTE] = {{GATEWAY_API, "v1", "httproutes", true}, DEFINED},
    [INDEX_GRPC_ROUTE] = {{GATEWAY_API, "v1", "grpcroutes", true}, DEFINED},
    [INDEX_TCP_ROUTE] = {{GATEWAY_API, "v1alpha2", "tcproutes", true}, DEFINED},
    [INDEX_GRANT] = {{GATEWAY_API, "v1beta1", "referencegrants", true}, DEFINED},
    [INDEX_AUTHENTICATION] = {{SECURITY_API, "v1", "requestauthentications", true}, POLICY},
    [INDEX_RULE] = {{"networking.istio.io", "v1", "destinationrules", true}, DEFINED},
    [INDEX_ACCOUNT] = {{"", "v1", "serviceaccounts", true},
                       FOR_MENDING,
                       NULL,
                       MANAGED_LABEL "=" WAYPOINT_MANAGED},
    [INDEX_DEPLOYMENT] = {{"apps", "v1", "deployments", true},
                          FOR_MENDING,
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

static void tell_absence(const struct feed *f, enum index_kind kind)
{
    const struct kube_resource *r = &kinds[kind].resource;

    if (kube_watch_is_absent(f->watches[kind])) {
        log_info(&scope, "the API server does not have this kind: there are none",
                 F_STR("kind", r->plural), F_STR("group", r->group), F_STR("version", r->version));
    }
}

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
        tell_absence(f, kind);
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

/* What gateways were made into is of use to mend it. */
static bool is_listed(const struct feed *f, enum index_kind kind)
{
    const struct kube_watch *w = f->watches[kind];

    return kube_watch_is_synced(w) ||
           (kinds[kind].need == FOR_MENDING && kube_watch_diag(w)->code < 0);
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
                                       .label_selector = kinds[k].label_selector,
                                       .by_definition =
                                           kinds[k].need == POLICY || kinds[k].need == DEFINED,
                                       .may_be_unserved = kinds[k].need == DEFINED};
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

const char *feed_kind(enum index_kind kind)
{
    return kinds[kind].resource.plural;
}

bool feed_waits_for(const struct feed *f, enum index_kind kind)
{
    return !f->is_synced && !is_listed(f, kind);
}

void feed_write_trouble(const struct feed *f, struct strbuf *out)
{
    for (unsigned k = 0; k < INDEX_KINDS; k++) {
        const struct diag *d = kube_watch_diag(f->watches[k]);
        if (d->code < 0) {
            strbuf_printf(out, "%s%s: %s", out->len > 0 ? "; " : "", kinds[k].resource.plural,
                          d->text);
        }
    }
}
