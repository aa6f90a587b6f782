/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any JSON as objects of any kind, put twice in either order: what is published decodes again, the
 * second index publishes what the first one does, and when all objects are gone nothing is left.
 *
 * Input: JSON values one after the other, each behind one octet that says of which kind it is.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "control/index.h"
#include "xds/ads_type.h"
#include "xds/waypoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OBJECTS = 16 };

struct object {
    enum index_kind kind;
    struct json *json;
};

struct rig {
    struct mesh mesh;
    struct catalog *catalogs[ADS_TYPES];
    struct catalog *addresses;
    struct catalog *policies;
    struct index *index;
};

static void rig_open(struct rig *r)
{
    r->mesh = (struct mesh){.cluster_id = "c",
                            .trust_domain = "t",
                            .root_ns = "r",
                            .system_ns = "r",
                            .domain = "d",
                            .revision = "v"};
    for (unsigned t = 0; t < ADS_TYPES; t++) {
        r->catalogs[t] = catalog_new(ads_type_urls[t], t != ADS_AUTHORIZATION);
    }
    r->addresses = r->catalogs[ADS_ADDRESS];
    r->policies = r->catalogs[ADS_AUTHORIZATION];
    r->index = index_new(&r->mesh, r->catalogs);
}

static void rig_close(struct rig *r)
{
    index_free(r->index);
    for (unsigned t = 0; t < ADS_TYPES; t++) {
        catalog_free(r->catalogs[t]);
    }
}

static void settle(struct rig *r)
{
    while (index_settle(r->index, 3)) {
    }
}

static void check_decodes(const struct rig *r)
{
    AUTO(intern) struct intern *pool = intern_new();

    for (const struct catalog_entry *e = catalog_after(r->addresses, 0); e;
         e = catalog_next(r->addresses, e)) {
        struct xds_address a = {NULL, NULL};
        if (!catalog_is_gone(e)) {
            int x = xds_address_decode(&a, catalog_value(e), e->version, pool, NULL);
            assert(x == 0 || x == -ERR_LIMIT || x == -ERR_SYNTAX); /* names that are empty */
        }
        workload_unref(a.workload);
        service_unref(a.service);
    }
    for (const struct catalog_entry *e = catalog_after(r->policies, 0); e;
         e = catalog_next(r->policies, e)) {
        const struct policy *p = NULL;
        if (!catalog_is_gone(e)) {
            assert(xds_policy_decode(&p, catalog_value(e), e->name, "", NULL) == 0);
        }
        policy_unref(p);
    }
}

/* What a waypoint is told, it reads. Values that no schema would let in may be refused, by name. */
static void check_l7(const struct rig *r)
{
    for (unsigned t = ADS_L7_POLICY; t < ADS_TYPES; t++) {
        for (const struct catalog_entry *e = catalog_after(r->catalogs[t], 0); e;
             e = catalog_next(r->catalogs[t], e)) {
            const struct l7_binding *b = NULL;
            const struct l7_route *route = NULL;
            const struct l7_policy *p = NULL;
            const struct l7_traffic *traffic = NULL;
            struct slice value = catalog_value(e);
            if (catalog_is_gone(e)) {
                continue;
            }
            if (t == ADS_L7_ROUTE) { /* what cannot be read was left out */
                assert(xds_l7_route_decode(&route, value, e->name, "", NULL) == 0);
            } else if (t == ADS_L7_BINDING) {
                (void)xds_l7_binding_decode(&b, value, e->name, "", NULL); /* a port twice */
            } else if (t == ADS_L7_POLICY) {
                (void)xds_l7_policy_decode(&p, value, e->name, "", NULL); /* too large */
            } else {
                (void)xds_l7_traffic_decode(&traffic, value, e->name, "", NULL); /* ranges */
            }
            l7_binding_unref(b);
            l7_route_unref(route);
            l7_policy_unref(p);
            l7_traffic_unref(traffic);
        }
    }
}

static void check_words(struct rig *r)
{
    struct index_write w;

    while (index_next_write(r->index, &w)) {
        assert(w.body && w.manager && w.resource < WRITE_RESOURCES);
        json_unref(w.body);
    }
}

static void check_same(const struct catalog *a, const struct catalog *b)
{
    assert(catalog_count(a) == catalog_count(b));
    for (const struct catalog_entry *e = catalog_after(a, 0); e; e = catalog_next(a, e)) {
        const struct catalog_entry *f = catalog_find(b, slice_of(e->name));
        assert(catalog_is_gone(e) ||
               (f && !catalog_is_gone(f) && slice_equal(catalog_value(e), catalog_value(f))));
    }
}

static const char *text_at(const struct json *j, const char *path)
{
    return json_str_at(j, path, "");
}

/* No name holds a slash, which the API server sees to: "a/b" of "c" is "b" of "c/a" here. */
static bool is_same_object(const struct object *a, const struct object *b)
{
    AUTO(strbuf) struct strbuf one = {0};
    AUTO(strbuf) struct strbuf two = {0};

    strbuf_printf(&one, "%s/%s", text_at(a->json, "metadata.namespace"),
                  text_at(a->json, "metadata.name"));
    strbuf_printf(&two, "%s/%s", text_at(b->json, "metadata.namespace"),
                  text_at(b->json, "metadata.name"));
    return a->kind == b->kind && strcmp(one.p, two.p) == 0;
}

/* Of equal names the last one stays, whatever the order: so there are none. */
static bool is_new(const struct object *all, unsigned count, const struct object *o)
{
    for (unsigned i = 0; i < count; i++) {
        if (is_same_object(&all[i], o)) {
            return false;
        }
    }
    return true;
}

static unsigned read_objects(struct object *out, const uint8_t *data, size_t size)
{
    unsigned count = 0;

    while (size > 1 && count < OBJECTS) {
        struct object o = {.kind = (enum index_kind)(data[0] % INDEX_KINDS)};
        const uint8_t *end = memchr(data + 1, '\n', size - 1);
        size_t len = end ? (size_t)(end - data) - 1 : size - 1;
        if (json_parse(&o.json, (const char *)data + 1, len, NULL, NULL) == 0 &&
            is_new(out, count, &o)) {
            out[count++] = o;
        } else {
            json_unref(o.json);
        }
        size_t used = end ? len + 2 : size;
        data += used;
        size -= used;
    }
    return count;
}

/* Two endpoints of a slice with one address: the last one counts, and they may be pods of one another's
 * services; order of objects does not matter for that, so nothing is excluded. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct object objects[OBJECTS];
    unsigned count = read_objects(objects, data, size);
    struct rig a;
    struct rig b;
    struct index_status s;

    rig_open(&a);
    rig_open(&b);
    for (unsigned i = 0; i < count; i++) {
        index_put(a.index, objects[i].kind, objects[i].json);
        settle(&a);
        index_put(b.index, objects[count - i - 1].kind, objects[count - i - 1].json);
    }
    settle(&b);
    index_tick(a.index, UINT64_MAX);
    index_tick(b.index, UINT64_MAX);
    check_decodes(&a);
    check_l7(&a);
    for (unsigned t = 0; t < ADS_TYPES; t++) {
        check_same(a.catalogs[t], b.catalogs[t]);
    }
    check_words(&a);
    while (index_next_status(a.index, &s)) {
        assert(s.message[0] != '\0');
    }
    for (unsigned i = 0; i < count; i++) {
        index_remove(a.index, objects[i].kind, text_at(objects[i].json, "metadata.namespace"),
                     text_at(objects[i].json, "metadata.name"));
        json_unref(objects[i].json);
    }
    settle(&a);
    index_tick(a.index, UINT64_MAX);
    for (unsigned t = 0; t < ADS_TYPES; t++) {
        assert(catalog_count(a.catalogs[t]) == 0);
    }
    check_words(&a);
    rig_close(&a);
    rig_close(&b);
    return 0;
}
