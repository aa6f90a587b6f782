/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/mem.h"
#include "common.pb-c.h"
#include "xds.pb-c.h"
#include "xds/request_int.h"
#include "xds/resource.h"

enum { METADATA_DEPTH = 8 };

/* protobuf-c has no const strings, but packing only reads them. */
static char *text_of(const char *s)
{
    return (char *)(uintptr_t)s;
}

static void struct_fill(Wire__Struct *out, const struct json *object, struct arena *a,
                        unsigned depth);

static void list_fill(Wire__ListValue *out, const struct json *array, struct arena *a,
                      unsigned depth);

/* The depth is bounded. */
static Wire__Value *value_make(const struct json *j, struct arena *a, unsigned depth)
{
    Wire__Value *v = arena_alloc(a, sizeof(*v));

    wire__value__init(v);
    switch (depth > METADATA_DEPTH ? JSON_KIND_NULL : json_kind(j)) {
    case JSON_KIND_NULL:
        v->kind_case = WIRE__VALUE__KIND_NULL_VALUE;
        break;
    case JSON_KIND_BOOL:
        v->kind_case = WIRE__VALUE__KIND_BOOL_VALUE;
        v->bool_value = json_bool(j, false);
        break;
    case JSON_KIND_INT:
    case JSON_KIND_REAL:
        v->kind_case = WIRE__VALUE__KIND_NUMBER_VALUE;
        v->number_value = json_num(j, 0);
        break;
    case JSON_KIND_STRING:
        v->kind_case = WIRE__VALUE__KIND_STRING_VALUE;
        v->string_value = text_of(json_str(j, ""));
        break;
    case JSON_KIND_ARRAY:
        v->kind_case = WIRE__VALUE__KIND_LIST_VALUE;
        v->list_value = arena_alloc(a, sizeof(*v->list_value));
        list_fill(v->list_value, j, a, depth + 1);
        break;
    case JSON_KIND_OBJECT:
        v->kind_case = WIRE__VALUE__KIND_STRUCT_VALUE;
        v->struct_value = arena_alloc(a, sizeof(*v->struct_value));
        struct_fill(v->struct_value, j, a, depth + 1);
        break;
    }
    return v;
}

static void list_fill(Wire__ListValue *out, const struct json *array, struct arena *a,
                      unsigned depth)
{
    wire__list_value__init(out);
    out->values = arena_array(a, json_count(array), sizeof(Wire__Value *));
    for (size_t i = 0; i < json_count(array); i++) {
        out->values[out->n_values++] = value_make(json_item(array, i), a, depth);
    }
}

static void struct_fill(Wire__Struct *out, const struct json *object, struct arena *a,
                        unsigned depth)
{
    wire__struct__init(out);
    out->fields = arena_array(a, json_count(object), sizeof(Wire__Struct__FieldsEntry *));
    for (struct json_iter it = {0}; json_each(object, &it);) {
        Wire__Struct__FieldsEntry *e = arena_alloc(a, sizeof(*e));
        wire__struct__fields_entry__init(e);
        e->key = text_of(it.key);
        e->value = value_make(it.value, a, depth);
        out->fields[out->n_fields++] = e;
    }
}

/* Appends a packed message; the sizes here are our own, so memory that is short is fatal. */
static void pack(struct bytes *out, const ProtobufCMessage *m)
{
    size_t len = protobuf_c_message_get_packed_size(m);
    uint8_t *to = bytes_reserve(out, len);

    if (!to && len > 0) {
        abort();
    }
    bytes_commit(out, len > 0 ? protobuf_c_message_pack(m, to) : 0);
}

void ads_node_pack(struct bytes *out, const char *id, const struct json *metadata)
{
    AUTO(arena) struct arena a = {0};
    Wire__Struct fields;
    Xds__Node node;

    xds__node__init(&node);
    struct_fill(&fields, metadata, &a, 0);
    node.id = text_of(id);
    node.metadata = &fields;
    pack(out, &node.base);
}

struct versions {
    Xds__DeltaDiscoveryRequest__InitialResourceVersionsEntry **at;
    size_t count;
    size_t room;
    struct arena *arena;
    const struct ads_first_request *q;
};

static void version_add(struct versions *v, const char *name, const char *version)
{
    if (v->q->is_rejected(v->q->arg, name)) {
        return;
    }
    Xds__DeltaDiscoveryRequest__InitialResourceVersionsEntry *e = arena_alloc(v->arena, sizeof(*e));
    xds__delta_discovery_request__initial_resource_versions_entry__init(e);
    e->key = text_of(name);
    e->value = text_of(version);
    v->at[v->count++] = e;
}

static void address_versions(struct versions *v, const struct world *w)
{
    struct world_cursor c = {0};

    v->at = arena_array(v->arena, world_workload_count(w) + world_service_count(w), sizeof(*v->at));
    for (const struct workload *x; (x = world_each_workload(w, &c));) {
        version_add(v, x->uid, x->version);
    }
    c = (struct world_cursor){0};
    for (const struct service *x; (x = world_each_service(w, &c));) {
        version_add(v, x->key, x->version);
    }
}

static void policy_versions(struct versions *v, const struct world *w)
{
    struct world_cursor c = {0};

    v->at = arena_array(v->arena, world_policy_count(w), sizeof(*v->at));
    for (const struct policy *x; (x = world_each_policy(w, &c));) {
        version_add(v, x->key, x->version);
    }
}

static void name_count(void *to, const char *name)
{
    (void)name;
    ((struct versions *)to)->room++;
}

static void name_add(void *to, const char *name)
{
    struct versions *v = to;

    if (v->count < v->room) {
        version_add(v, name, ""); /* no version is kept: what is there is sent again */
    }
}

static void other_versions(struct versions *v, const struct ads_interest *i, const char *type_url)
{
    if (i && i->sink && i->sink->names) {
        i->sink->names(i->sink_arg, type_url, name_count, v);
        v->at = arena_array(v->arena, v->room, sizeof(*v->at));
        i->sink->names(i->sink_arg, type_url, name_add, v);
    }
}

void ads_first_pack(struct bytes *out, const struct ads_first_request *q)
{
    AUTO(arena) struct arena a = {0};
    struct versions v = {.arena = &a, .q = q};
    Xds__DeltaDiscoveryRequest m;
    Xds__Node *node = xds__node__unpack(NULL, q->node->len, bytes_peek(q->node));

    xds__delta_discovery_request__init(&m);
    if (q->world && strcmp(q->type_url, XDS_TYPE_ADDRESS) == 0) {
        address_versions(&v, q->world);
    } else if (q->world && strcmp(q->type_url, XDS_TYPE_AUTHORIZATION) == 0) {
        policy_versions(&v, q->world);
    } else {
        other_versions(&v, q->interest, q->type_url);
    }
    m.node = node;
    m.type_url = text_of(q->type_url);
    m.initial_resource_versions = v.at;
    m.n_initial_resource_versions = v.count;
    pack(out, &m.base);
    xds__node__free_unpacked(node, NULL);
}

void ads_answer_pack(struct bytes *out, const char *type_url, const char *nonce, const char *error)
{
    Xds__DeltaDiscoveryRequest m;
    Wire__Status status;

    xds__delta_discovery_request__init(&m);
    wire__status__init(&status);
    m.type_url = text_of(type_url);
    m.response_nonce = text_of(nonce);
    if (error) {
        status.message = text_of(error); /* the code stays 0 (contract 5.4) */
        m.error_detail = &status;
    }
    pack(out, &m.base);
}
