/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "xds/resource.h"
#include "xds/response_int.h"
#include "xds/waypoint.h"

enum {
    NAME_MAX_BYTES = 4096,
    ERRORS_MAX_BYTES =
        16 << 10,            /* of a NACK: a server that sends garbage gets the first of it back */
    REJECTED_MAX = 65536,    /* names remembered; beyond that a reconnect asks for less again */
    FIELD_OVERHEAD = 8 << 10 /* of a Resource around its payload */
};

/* Field numbers of contract 5.2. */
enum { RESPONSE_RESOURCES = 2, RESPONSE_TYPE_URL = 4, RESPONSE_NONCE = 5, RESPONSE_REMOVED = 6 };
enum { RESOURCE_VERSION = 1, RESOURCE_ANY = 2, RESOURCE_NAME = 3 };
enum { ANY_TYPE_URL = 1, ANY_VALUE = 2 };

const char *const ads_type_urls[ADS_TYPES] = {
    [ADS_ADDRESS] = XDS_TYPE_ADDRESS,     [ADS_AUTHORIZATION] = XDS_TYPE_AUTHORIZATION,
    [ADS_L7_POLICY] = XDS_TYPE_L7_POLICY, [ADS_L7_TRAFFIC] = XDS_TYPE_L7_TRAFFIC,
    [ADS_L7_ROUTE] = XDS_TYPE_L7_ROUTE,   [ADS_L7_BINDING] = XDS_TYPE_L7_BINDING,
};

struct rejected_name {
    struct map_node node;
    char name[];
};

void ads_names_init(struct ads_names *n)
{
    map_init(&n->by_name);
}

void ads_names_fini(struct ads_names *n)
{
    map_for_each (it, &n->by_name) {
        map_remove(&n->by_name, it);
        mem_free(container_of(it, struct rejected_name, node));
    }
    map_fini(&n->by_name);
}

static struct rejected_name *names_find(const struct ads_names *n, const char *name)
{
    for (struct map_node *it = map_find(&n->by_name, map_hash_str(name)); it;
         it = map_find_next(it)) {
        struct rejected_name *r = container_of(it, struct rejected_name, node);
        if (strcmp(r->name, name) == 0) {
            return r;
        }
    }
    return NULL;
}

bool ads_names_has(const struct ads_names *n, const char *name)
{
    return names_find(n, name) != NULL;
}

static void names_add(struct ads_names *n, const char *name)
{
    if (!names_find(n, name) && n->by_name.count < REJECTED_MAX) {
        size_t len = strlen(name) + 1;
        struct rejected_name *r = mem_alloc(sizeof(*r) + len);
        memcpy(r->name, name, len);
        map_insert(&n->by_name, &r->node, map_hash_str(name));
    }
}

static void names_remove(struct ads_names *n, const char *name)
{
    struct rejected_name *r = names_find(n, name);

    if (r) {
        map_remove(&n->by_name, &r->node);
        mem_free(r);
    }
}

void ads_response_init(struct ads_response *r, const struct ads_interest *interest,
                       const struct world *base, struct intern *pool, struct ads_names *rejected)
{
    *r = (struct ads_response){.interest = interest,
                               .pool = pool,
                               .rejected = rejected,
                               .delta = world_delta_new(base),
                               .errors = {.limit = ERRORS_MAX_BYTES}};
    pbstream_init(&r->stream, XDS_RESOURCE_MAX + FIELD_OVERHEAD);
}

void ads_response_fini(struct ads_response *r)
{
    pbstream_fini(&r->stream);
    world_delta_free(r->delta);
    mem_free(r->type_url);
    mem_free(r->nonce);
    strbuf_fini(&r->errors);
    *r = (struct ads_response){.delta = NULL};
}

static struct slice slice_of_field(const struct pb_field *f)
{
    return (struct slice){(const char *)f->bytes, f->len};
}

struct resource {
    char *name;
    char *version;
    struct slice value;
    struct slice type_url;
    bool has_any;
};

static void resource_release(struct resource x)
{
    mem_free(x.name);
    mem_free(x.version);
}
AUTO_DEFINE(resource, struct resource, resource_release);

static void text_replace(char **text, const struct pb_field *f)
{
    mem_free(*text);
    *text = mem_dup(f->bytes, f->len < NAME_MAX_BYTES ? f->len : NAME_MAX_BYTES);
}

static int any_walk(struct resource *x, const struct pb_field *any)
{
    struct pbwalk w;
    struct pb_field f;
    int r;

    x->has_any = true;
    pbwalk_init(&w, any->bytes, any->len);
    while ((r = pbwalk_next(&w, &f)) > 0) {
        if (f.number == ANY_TYPE_URL && f.wire == PB_BYTES) {
            x->type_url = slice_of_field(&f);
        } else if (f.number == ANY_VALUE && f.wire == PB_BYTES) {
            x->value = slice_of_field(&f);
        }
    }
    return r;
}

static int resource_walk(struct resource *x, const struct pb_field *field)
{
    struct pbwalk w;
    struct pb_field f;
    int r;

    pbwalk_init(&w, field->bytes, field->len);
    while ((r = pbwalk_next(&w, &f)) > 0) {
        if (f.wire != PB_BYTES) {
            continue;
        }
        switch (f.number) {
        case RESOURCE_VERSION:
            text_replace(&x->version, &f);
            break;
        case RESOURCE_NAME:
            text_replace(&x->name, &f);
            break;
        case RESOURCE_ANY:
            r = any_walk(x, &f);
            break;
        default: /* fields we do not use */
            break;
        }
        if (r < 0) {
            return r;
        }
    }
    return r;
}

static unsigned type_of(const struct ads_response *r, struct slice url)
{
    for (unsigned i = 0; i < r->interest->type_count; i++) {
        if (slice_is(url, r->interest->types[i])) {
            return i;
        }
    }
    return ADS_NO_TYPE;
}

static void refuse(struct ads_response *r, const char *name, const char *reason)
{
    strbuf_printf(&r->errors, "%s%s: %s", r->errors.len > 0 ? "; " : "", name, reason);
    r->refused++;
    names_add(r->rejected, name);
}

static int take_address(struct ads_response *r, const struct resource *x, struct diag *why)
{
    struct xds_address a;
    int result = xds_address_decode(&a, x->value, x->version, r->pool, why);

    if (result == 0 && a.workload) {
        (void)world_put_workload(r->delta, a.workload); /* false: it was known already */
    } else if (result == 0) {
        (void)world_put_service(r->delta, a.service); /* as above */
    }
    return result;
}

static int take_policy(struct ads_response *r, const struct resource *x, struct diag *why)
{
    const struct policy *p = NULL;
    int result = xds_policy_decode(&p, x->value, x->name, x->version, why);

    if (p) {
        (void)world_put_policy(r->delta, p); /* a broken one never replaces a good one */
    }
    return result;
}

static int take_payload(struct ads_response *r, const struct resource *x, unsigned type,
                        struct diag *why)
{
    const struct ads_interest *i = r->interest;

    if (type == ADS_NO_TYPE) {
        return FAIL(why, -ERR_UNSUPPORTED, "unknown resource type %.*s",
                    (int)(x->type_url.len < 60 ? x->type_url.len : 60), x->type_url.p);
    }
    if (strcmp(i->types[type], XDS_TYPE_ADDRESS) == 0) {
        return take_address(r, x, why);
    }
    if (strcmp(i->types[type], XDS_TYPE_AUTHORIZATION) == 0) {
        return take_policy(r, x, why);
    }
    return i->sink->put(i->sink_arg, i->types[type], x->name, x->value, why);
}

/* One resource. Refusals are collected; only what is no protobuf at all is an error. */
static int take_resource(struct ads_response *r, const struct pb_field *field)
{
    AUTO(resource) struct resource x = {.name = mem_strdup(""), .version = mem_strdup("")};
    struct diag why = {0};
    int result = resource_walk(&x, field);

    if (result < 0) {
        return result;
    }
    unsigned type = type_of(r, x.type_url);
    r->seen[x.has_any ? type : ADS_NO_TYPE]++;
    result = x.has_any ? take_payload(r, &x, type, &why)
                       : FAIL(&why, -ERR_SYNTAX, "XDS payload without resource");
    if (result < 0) {
        refuse(r, x.name, why.text);
    } else {
        r->accepted++;
        names_remove(r->rejected, x.name);
    }
    return 0;
}

static void take_removal(struct ads_response *r, const struct pb_field *f)
{
    AUTO(text) char *name = mem_dup(f->bytes, f->len < NAME_MAX_BYTES ? f->len : NAME_MAX_BYTES);
    unsigned type = type_of(r, slice_of(r->type_url));

    names_remove(r->rejected, name);
    if (type == ADS_NO_TYPE) {
        return;
    }
    /* Removing what is not there is fine. */
    if (strcmp(r->type_url, XDS_TYPE_AUTHORIZATION) == 0) {
        (void)world_remove_policy(r->delta, name);
    } else if (strcmp(r->type_url, XDS_TYPE_ADDRESS) == 0) {
        (void)world_remove_address(r->delta, name);
    } else {
        r->interest->sink->remove(r->interest->sink_arg, r->type_url, name);
    }
}

static int take_field(struct ads_response *r, const struct pb_field *f)
{
    if (f->wire != PB_BYTES) {
        return 0;
    }
    switch (f->number) {
    case RESPONSE_RESOURCES:
        return take_resource(r, f);
    case RESPONSE_TYPE_URL:
        text_replace(&r->type_url, f);
        return 0;
    case RESPONSE_NONCE:
        text_replace(&r->nonce, f);
        return 0;
    case RESPONSE_REMOVED:
        take_removal(r, f);
        return 0;
    default: /* fields we do not use */
        return 0;
    }
}

int ads_response_feed(struct ads_response *r, const void *piece, size_t len, struct diag *why)
{
    const uint8_t *in = piece;
    struct pb_field f;
    int result;

    r->bytes += len;
    while ((result = pbstream_next(&r->stream, &in, &len, &f)) > 0) {
        result = take_field(r, &f);
        if (result < 0) {
            break;
        }
    }
    return result < 0 ? FAIL(why, result, "DeltaDiscoveryResponse does not decode") : 0;
}

int ads_response_end(struct ads_response *r, unsigned *out_type, struct diag *why)
{
    int result = pbstream_end(&r->stream);

    if (result < 0) {
        return FAIL(why, result, "DeltaDiscoveryResponse ends within a field");
    }
    *out_type = type_of(r, slice_of(r->type_url));
    for (unsigned i = 0; i < r->interest->type_count; i++) {
        if (*out_type != ADS_NO_TYPE && i != *out_type && r->seen[i] > 0) {
            return FAIL(why, -ERR_SYNTAX, "a response of type %s holds resources of another",
                        r->type_url);
        }
    }
    return 0;
}
