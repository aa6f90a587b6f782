/* SPDX-License-Identifier: Apache-2.0 */
/* What the server says of its kinds to clients that ask for a schema. */
#include "apiserver/openapi.h"

#include <string.h>

#include "apiserver/kind.h"
#include "codec/json.h"
#include "codec/pbwalk.h"
#include "rig.h"
#include "t.h"

#define PROTOBUF "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"

/* Keys hold dots, so they are given one by one; NULL ends them. */
static const struct json *at(const struct json *j, const char *const *keys)
{
    for (size_t i = 0; keys[i]; i++) {
        j = json_get(j, keys[i]);
    }
    return j;
}
#define AT(j, ...) at(j, (const char *const[]){__VA_ARGS__, NULL})

static bool names(const struct json *gvks, const struct kind *k, const char *version)
{
    for (size_t i = 0; i < json_count(gvks); i++) {
        const struct json *one = json_item(gvks, i);
        if (strcmp(json_str_at(one, "group", "?"), k->group) == 0 &&
            strcmp(json_str_at(one, "kind", "?"), k->name) == 0 &&
            strcmp(json_str_at(one, "version", "?"), version) == 0) {
            return true;
        }
    }
    return false;
}

/* How many definitions are of this kind in this version. */
static unsigned described(const struct json *definitions, const struct kind *k, const char *version)
{
    unsigned n = 0;

    for (struct json_iter it = {0}; json_each(definitions, &it);) {
        n += names(json_get(it.value, "x-kubernetes-group-version-kind"), k, version);
    }
    return n;
}

TEST(every_kind_that_is_served_is_described_once_in_each_version)
{
    struct rig g = {0};

    rig_start(&g);
    CHECK_INT(rig_call(&g, "GET /openapi/v2", NULL, NULL), 200);
    AUTO(json) struct json *two = json_ref(g.body);
    CHECK_STR(json_str_at(two, "swagger", ""), "2.0");
    CHECK_INT(rig_call(&g, "GET /openapi/v3", NULL, NULL), 200);
    AUTO(json) struct json *index = json_ref(g.body);
    for (size_t i = 0; i < kind_count; i++) {
        const struct kind *k = &kind_list[i];
        unsigned wanted = kind_is(k, KIND_INTERNAL) ? 0 : 1;
        for (size_t v = 0; k->versions[v]; v++) {
            AUTO(strbuf) struct strbuf name = {0};
            AUTO(strbuf) struct strbuf call = {0};
            strbuf_puts(&name, k->group[0] != '\0' ? "apis/" : "api/");
            kind_api_version(k, k->versions[v], &name);
            CHECK_INT(described(json_get(two, "definitions"), k, k->versions[v]), wanted);
            const char *url =
                json_str(AT(index, "paths", strbuf_text(&name), "serverRelativeURL"), "");
            CHECK_INT(url[0] != '\0', wanted);
            strbuf_printf(&call, "GET /openapi/v3/%s", strbuf_text(&name));
            CHECK_INT(rig_call(&g, strbuf_text(&call), NULL, NULL), wanted ? 200 : 404);
            CHECK_INT(described(AT(g.body, "components", "schemas"), k, k->versions[v]), wanted);
        }
    }
    rig_stop(&g);
}

TEST(a_field_is_described_as_the_server_checks_it)
{
    struct rig g = {0};

    rig_start(&g);
    CHECK_INT(rig_call(&g, "GET /openapi/v3/apis/security.istio.io/v1", NULL, NULL), 200);
    const struct json *spec = AT(g.body, "components", "schemas",
                                 "security.istio.io.AuthorizationPolicy", "properties", "spec");
    CHECK_STR(json_str_at(spec, "type", ""), "object");
    CHECK_STR(json_str_at(spec, "properties.action.type", ""), "string");
    CHECK_INT(json_count(json_at(spec, "properties.action.enum")), 4);
    CHECK_STR(json_str_at(spec, "properties.action.description", ""),
              "One of: ALLOW, DENY, AUDIT, CUSTOM.");
    CHECK_STR(json_str_at(spec,
                          "properties.rules.items.properties.from.items.properties.source."
                          "properties.ipBlocks.items.type",
                          ""),
              "string");
    CHECK(json_has_str(json_at(spec, "properties.rules.items.properties.when.items.required"),
                       "key"));
    CHECK(!json_get(json_at(spec, "properties"), "bogus"));
    CHECK_INT(rig_call(&g, "GET /openapi/v3/api/v1", NULL, NULL), 200);
    const struct json *service =
        AT(g.body, "components", "schemas", "core.Service", "properties", "spec", "properties");
    const struct json *ports = json_get(service, "ports");
    CHECK_STR(json_str(json_get(ports, "x-kubernetes-patch-merge-key"), ""), "port");
    CHECK(json_has_str(json_get(ports, "x-kubernetes-list-map-keys"), "protocol"));
    CHECK_INT(json_int_at(ports, "items.properties.port.maximum", 0), 65535);
    CHECK_STR(json_str_at(ports, "items.properties.protocol.default", ""), "TCP");
    CHECK_STR(json_str(json_get(json_at(ports, "items.properties.targetPort"), "$ref"), ""),
              "#/components/schemas/IntOrString");
    CHECK_INT(json_count(AT(g.body, "components", "schemas", "IntOrString", "oneOf")), 2);
    CHECK_STR(json_str_at(service, "selector.additionalProperties.type", ""), "string");
    CHECK_STR(json_str(json_get(json_get(service, "selector"), "x-kubernetes-map-type"), ""),
              "atomic");
    /* of what nothing here knows it says that anything may be there */
    const struct json *open = json_get(service, "sessionAffinityConfig");
    CHECK(open && !json_get(open, "type"));
    CHECK(json_bool(json_get(open, "x-kubernetes-preserve-unknown-fields"), false));
    rig_stop(&g);
}

/* kubectl looks there for what a write may be asked, and for the kind behind a resource. */
TEST(operations_name_their_kind_and_their_parameters)
{
    struct rig g = {0};

    rig_start(&g);
    CHECK_INT(rig_call(&g, "GET /openapi/v3/api/v1", NULL, NULL), 200);
    const struct json *pod = AT(g.body, "paths", "/api/v1/namespaces/{namespace}/pods/{name}");
    const struct json *kind = json_get(json_get(pod, "patch"), "x-kubernetes-group-version-kind");
    CHECK_STR(json_str_at(kind, "kind", ""), "Pod");
    bool validates = false;
    const struct json *parameters = json_at(pod, "patch.parameters");
    for (size_t i = 0; i < json_count(parameters); i++) {
        validates |=
            strcmp(json_str_at(json_item(parameters, i), "name", ""), "fieldValidation") == 0;
    }
    CHECK(validates);
    CHECK(json_get(AT(g.body, "paths", "/api/v1/pods"), "get"));
    CHECK(!json_get(AT(g.body, "paths", "/api/v1/pods"), "post"));
    CHECK(!json_get(AT(g.body, "paths", "/api/v1/namespaces/{name}/status"), "delete"));
    rig_stop(&g);
}

/* Walks a message as deep as its fields are known, and compares the number of definitions. */
TEST(protobuf_says_what_json_says)
{
    struct rig g = {.accept = NULL};
    struct pb_field definitions;
    struct pb_field one;
    struct pb_field named;
    struct pbwalk w;
    size_t n = 0;

    rig_start(&g);
    CHECK_INT(rig_call(&g, "GET /openapi/v2", NULL, NULL), 200);
    AUTO(json) struct json *json = json_ref(g.body);
    g.accept = PROTOBUF;
    CHECK_INT(rig_call(&g, "GET /openapi/v2?timeout=32s", NULL, NULL), 200);
    CHECK_STR(g.out.content_type, "application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
    CHECK_MEM(g.text,
              "\x0a\x03"
              "2.0",
              5);
    CHECK_INT(pbwalk_find(g.text, g.out.body.len, 9, &definitions), 1);
    pbwalk_init(&w, definitions.bytes, definitions.len);
    while (pbwalk_next(&w, &one) == 1) {
        AUTO(strbuf) struct strbuf name = {0};
        struct pb_field schema;
        struct pb_field properties;
        struct pbwalk fields;
        struct pb_field field;
        size_t count = 0;
        CHECK_INT(pbwalk_find(one.bytes, one.len, 1, &named), 1);
        strbuf_add(&name, named.bytes, named.len);
        CHECK_INT(pbwalk_find(one.bytes, one.len, 2, &schema), 1);
        CHECK_INT(pbwalk_find(schema.bytes, schema.len, 25, &properties), 1);
        pbwalk_init(&fields, properties.bytes, properties.len);
        while (pbwalk_next(&fields, &field) == 1) {
            count++;
        }
        CHECK_INT(count, json_count(AT(json, "definitions", strbuf_text(&name), "properties")));
        n++;
    }
    CHECK_INT(n, json_count(json_get(json, "definitions")));
    CHECK(n > 20);
    rig_stop(&g);
}

TEST(a_client_that_has_the_document_is_told_so)
{
    static const char *const calls[] = {"GET /openapi/v2", "GET /openapi/v3/api/v1"};
    struct rig g = {0};
    char etag[40];

    rig_start(&g);
    for (size_t i = 0; i < 2; i++) {
        g.etag = NULL;
        CHECK_INT(rig_call(&g, calls[i], NULL, NULL), 200);
        CHECK(g.out.body.len > 1000);
        memcpy(etag, g.out.etag, sizeof(etag));
        g.etag = etag;
        CHECK_INT(rig_call(&g, calls[i], NULL, NULL), 304);
        CHECK_INT(g.out.body.len, 0);
        g.etag = "\"other\"";
        CHECK_INT(rig_call(&g, calls[i], NULL, NULL), 200);
    }
    rig_stop(&g);
}

TEST(what_is_not_there_is_refused)
{
    static const struct {
        const char *call;
        const char *accept;
        unsigned status;
    } rows[] = {
        {"GET /openapi", NULL, 404},
        {"GET /openapi/v4", NULL, 404},
        {"GET /openapi/v2/more", NULL, 404},
        {"GET /openapi/v3/api/v2", NULL, 404},
        {"GET /openapi/v3/apis/ambit.internal/v1", NULL, 404},
        {"GET /openapi/v3/apis/apps", NULL, 404},
        {"GET /openapi/v3/apis/apps/v1/more", NULL, 404},
        {"POST /openapi/v2", NULL, 405},
        {"GET /openapi/v2", "application/vnd.kubernetes.protobuf", 406},
        {"GET /openapi/v3", PROTOBUF, 406},
        {"GET /openapi/v2", PROTOBUF ", application/json", 200},
    };
    struct rig g = {0};

    rig_start(&g);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        g.accept = rows[i].accept;
        CHECK_INT(rig_call(&g, rows[i].call, NULL, NULL), rows[i].status);
    }
    rig_stop(&g);
}
