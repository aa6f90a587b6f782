/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/published.h"

#include <string.h>

#include "base/mem.h"
#include "cli/api.h"
#include "cli/span.h"
#include "codec/base64.h"
#include "codec/json.h"
#include "kube/resource.h"
#include "tls/jwks.h"
#include "xds/resource.h"
#include "xds/waypoint.h"

static const struct kube_resource resource = {"ambit.io", "v1", "published", true};

struct reading {
    struct published *out;
    struct world_delta *delta;
    struct intern *pool;
};

void published_free(struct published *p)
{
    if (!p) {
        return;
    }
    for (size_t i = 0; i < p->gateway_count; i++) {
        l7_delta_free(p->gateways[i].making);
        (void)l7_unref(p->gateways[i].l7); /* NULL */
        mem_free(p->gateways[i].name);
    }
    (void)world_unref(p->world); /* NULL */
    mem_free(p->gateways);
    mem_free(p);
}

/* ---- gateways */

static struct published_gateway *find_gateway(const struct published *p, const char *name)
{
    for (size_t i = 0; i < p->gateway_count; i++) {
        if (strcmp(p->gateways[i].name, name) == 0) {
            return &p->gateways[i];
        }
    }
    return NULL;
}

const struct published_gateway *published_gateway(const struct published *p, const char *name)
{
    return find_gateway(p, name);
}

static struct published_gateway *need_gateway(struct published *p, const char *name)
{
    struct published_gateway *g = find_gateway(p, name);

    if (g) {
        return g;
    }
    p->gateways = mem_resize(p->gateways, (p->gateway_count + 1) * sizeof(*p->gateways));
    g = &p->gateways[p->gateway_count++];
    AUTO(l7) const struct l7 *empty = l7_new(NULL, &jwks_maker);
    *g = (struct published_gateway){.name = mem_strdup(name), .making = l7_delta_new(empty)};
    return g;
}

/* Names of layer 7 begin with the gateway's: "ns/name/...". */
static bool gateway_of(const char *resource_name, struct strbuf *out)
{
    const char *first = strchr(resource_name, '/');
    const char *second = first ? strchr(first + 1, '/') : NULL;

    if (second) {
        strbuf_add(out, resource_name, (size_t)(second - resource_name));
    }
    return second != NULL;
}

/* An answer without them may not be the proxies'. */
static void put_flaws(unsigned flaws, struct strbuf *out)
{
    if (flaws > 0) {
        strbuf_printf(out, "; without %u resource%s that this version of ambit cannot read", flaws,
                      span_plural(flaws));
    }
}

void published_layer4(const struct published *p, struct strbuf *out)
{
    strbuf_puts(out, "as the control plane publishes it");
    put_flaws(p->flaws, out);
}

void published_replicas(const struct published_gateway *g, struct strbuf *out)
{
    strbuf_puts(out, "as the control plane publishes it; ");
    if (g->replicas == 0) {
        strbuf_puts(out, "no replica of the waypoint is connected");
    } else {
        strbuf_printf(out, "%u of %u replica%s run%s this version", g->current, g->replicas,
                      span_plural(g->replicas), g->replicas == 1 ? "s" : "");
    }
    put_flaws(g->flaws, out);
}

/* ---- resources */

static int put_address(struct reading *r, struct slice bytes)
{
    struct xds_address a = {.workload = NULL};
    int e = xds_address_decode(&a, bytes, "", r->pool, NULL);

    if (e == 0 && a.workload) {
        (void)world_put_workload(r->delta, a.workload); /* whether it is new does not matter */
    } else if (e == 0) {
        (void)world_put_service(r->delta, a.service); /* likewise */
    }
    return e;
}

static int put_policy(struct reading *r, const char *name, struct slice bytes)
{
    const struct policy *p = NULL;
    int e = xds_policy_decode(&p, bytes, name, "", NULL);

    if (p) {
        (void)world_put_policy(r->delta, p); /* a broken one too: its subjects are denied */
    }
    return e;
}

static int put(struct reading *r, const char *type, const char *name, struct slice bytes)
{
    AUTO(strbuf) struct strbuf gateway = {0};
    enum l7_type l7;

    if (strcmp(type, XDS_TYPE_ADDRESS) == 0) {
        return put_address(r, bytes);
    }
    if (strcmp(type, XDS_TYPE_AUTHORIZATION) == 0) {
        return put_policy(r, name, bytes);
    }
    if (!xds_l7_type_of(type, &l7) || !gateway_of(name, &gateway)) {
        return -ERR_UNSUPPORTED;
    }
    return xds_l7_put(need_gateway(r->out, strbuf_text(&gateway))->making, l7, name, bytes, NULL);
}

/* The count that a resource belongs to; one of a type that is not known is a waypoint's. */
static unsigned *flaws_of(struct reading *r, const char *type, const char *name)
{
    AUTO(strbuf) struct strbuf gateway = {0};
    bool layer4 = strcmp(type, XDS_TYPE_ADDRESS) == 0 || strcmp(type, XDS_TYPE_AUTHORIZATION) == 0;

    return !layer4 && gateway_of(name, &gateway)
               ? &need_gateway(r->out, strbuf_text(&gateway))->flaws
               : &r->out->flaws;
}

static void take_item(struct reading *r, const struct json *item)
{
    const char *type = json_str_at(item, "type", "");
    const char *name = json_str_at(item, "name", "");
    const char *text = json_str_at(item, "value", "");
    size_t len = strlen(text);
    size_t room = len / 4 * 3 + 2;
    char *bytes = mem_alloc(room);
    int n = base64_decode(bytes, room, text, len);

    if (n < 0 || put(r, type, name, (struct slice){bytes, (size_t)n}) < 0) {
        (*flaws_of(r, type, name))++;
    }
    mem_free(bytes);
}

static void take_replicas(struct reading *r, const struct json *list)
{
    for (size_t i = 0; i < r->out->gateway_count; i++) {
        r->out->gateways[i].replicas = 0; /* every answer has all */
        r->out->gateways[i].current = 0;
    }
    for (size_t i = 0; i < json_count(list); i++) {
        const struct json *one = json_item(list, i);
        struct published_gateway *g = find_gateway(r->out, json_str_at(one, "gateway", ""));
        if (g) {
            g->replicas++;
            g->current += json_bool_at(one, "current", false);
        }
    }
}

static void take(struct reading *r, const struct json *answer)
{
    const struct json *items = json_get(answer, "items");

    for (size_t i = 0; i < json_count(items); i++) {
        take_item(r, json_item(items, i));
    }
    take_replicas(r, json_get(answer, "replicas"));
}

static void finish(struct reading *r)
{
    r->out->world = world_next(r->delta);
    r->delta = NULL;
    for (size_t i = 0; i < r->out->gateway_count; i++) {
        struct published_gateway *g = &r->out->gateways[i];
        g->l7 = l7_next(g->making);
        g->making = NULL;
    }
}

struct published *published_of(const struct json *answers)
{
    struct published *p = mem_new(struct published);
    AUTO(intern) struct intern *pool = intern_new();
    const struct world *empty = world_new(NULL);
    struct reading r = {.out = p, .delta = world_delta_new(empty), .pool = pool};

    (void)world_unref(empty); /* NULL */
    for (size_t i = 0; i < json_count(answers); i++) {
        take(&r, json_item(answers, i));
    }
    finish(&r);
    return p;
}

/* ---- asking */

static int ask_blocking(struct api *api, const char *ns, struct json *answers, struct diag *why)
{
    struct kube_ask ask = {.verb = KUBE_LIST, .resource = &resource, .ns = ns};
    struct json *answer = NULL;
    int e = api_call_blocking(api, &ask, &answer, why);

    if (e == -ERR_NOT_FOUND) {
        return FAIL(why, -ERR_UNSUPPORTED,
                    "this API server is not that of a stand-alone control plane, which alone "
                    "publishes what it tells proxies");
    }
    if (e == 0 && answer) {
        json_append(answers, answer);
    }
    return e;
}

int published_read_blocking(struct cli *c, const char *const *namespaces, size_t count,
                            struct published **out, struct diag *why)
{
    AUTO(api) struct api *api = NULL;
    AUTO(json) struct json *answers = json_new_array();
    int e = api_open_blocking(c, &api, why);

    for (size_t i = 0; e == 0 && i < (count > 0 ? count : 1); i++) {
        e = ask_blocking(api, count > 0 ? namespaces[i] : "", answers, why);
    }
    if (e == 0) {
        *out = published_of(answers);
    }
    return e;
}
