/* SPDX-License-Identifier: Apache-2.0 */
/* The small pure parts: times, negotiation, schemas, permissions, protobuf bodies. */
#include <stdlib.h>
#include <string.h>

#include "apiserver/accept.h"
#include "apiserver/api.h"
#include "apiserver/check.h"
#include "apiserver/kind.h"
#include "apiserver/meta.h"
#include "apiserver/permit.h"
#include "apiserver/proto.h"
#include "apiserver/schema.h"
#include "base/mem.h"
#include "codec/base64.h"
#include "codec/json.h"
#include "codec/pbwrite.h"
#include "t.h"

TEST(times_go_out_and_come_back)
{
    static const int64_t seconds[] = {0, 951782399, 951782400, 1764080768, 4102444799};
    char text[TIME_TEXT];

    for (size_t i = 0; i < ARRAY_LEN(seconds); i++) {
        meta_format_time(seconds[i], text, sizeof(text));
        CHECK_INT(meta_parse_time(text), seconds[i]);
    }
    CHECK_STR(text, "2099-12-31T23:59:59Z");
    CHECK_INT(meta_parse_time("2026-11-25T14:26:00.123456Z"),
              meta_parse_time("2026-11-25T14:26:00Z"));
    CHECK_INT(meta_parse_time("2026-11-25 14:26:00Z"), -1);
    CHECK_INT(meta_parse_time("2026-13-25T14:26:00Z"), -1);
    CHECK_INT(meta_parse_time(""), -1);
}

TEST(the_client_gets_the_form_it_likes_best)
{
    enum { ALL = FORM_OBJECT | FORM_TABLE | FORM_METADATA };
    static const struct {
        const char *header;
        unsigned offered;
        int result;
        enum form form;
    } cases[] = {
        {"", ALL, 0, FORM_OBJECT},
        {"*/*", ALL, 0, FORM_OBJECT},
        {"application/json;as=Table;v=v1;g=meta.k8s.io,application/json", ALL, 0, FORM_TABLE},
        {"application/json;as=Table;v=v1;g=meta.k8s.io,application/json", FORM_OBJECT, 0,
         FORM_OBJECT},
        {"application/json;as=Table;v=v9;g=meta.k8s.io", ALL, -ERR_VERSION, FORM_OBJECT},
        {"application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", ALL, 0, FORM_METADATA},
        {"application/vnd.kubernetes.protobuf,application/json", ALL, 0, FORM_OBJECT},
        {"application/vnd.kubernetes.protobuf", ALL, -ERR_NOT_FOUND, FORM_OBJECT},
        {"text/html", ALL, -ERR_NOT_FOUND, FORM_OBJECT},
        {"text/html,*/*", ALL, 0, FORM_OBJECT},
        {"application/json;q=0", ALL, -ERR_NOT_FOUND, FORM_OBJECT},
        {"application/json;q=0.1,application/json;as=Table;v=v1;g=meta.k8s.io;q=0.9", ALL, 0,
         FORM_TABLE},
        {"application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", FORM_DISCOVERY, 0,
         FORM_DISCOVERY},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        enum form form = FORM_OBJECT;
        CHECK_INT(accept_choose(slice_of(cases[i].header), cases[i].offered, &form),
                  cases[i].result);
        CHECK_INT(form, cases[i].form);
    }
}

TEST(every_kind_has_a_schema_that_reads)
{
    for (size_t i = 0; i < kind_count; i++) {
        AUTO(schema) struct schema *s = NULL;
        struct diag why = {0};
        CHECK_INT(schema_parse(kind_list[i].schema, &why, &s), 0);
    }
}

TEST(a_broken_schema_is_refused_with_its_place)
{
    static const char *const broken[] = {
        "a:{b", "a:[string", "a:<", "a:(x|y", "a:nothing", "a:int(1..", ":string", "a:[{b}]@", "}"};

    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        struct schema *s = NULL;
        struct diag why = {0};
        CHECK_INT(schema_parse(broken[i], &why, &s), -ERR_SYNTAX);
        CHECK(strncmp(why.text, "schema: expected ", 17) == 0);
    }
}

TEST(an_object_is_pruned_completed_and_judged_by_its_schema)
{
    static const char text[] =
        "{\"a\":{\"n\":70000,\"unknown\":1,\"s\":null},\"list\":[{\"p\":1},{\"x\":2}],"
        "\"m\":{\"k\":5},\"e\":\"C\",\"junk\":{}}";
    AUTO(schema) struct schema *s = NULL;
    AUTO(json) struct json *o = NULL;
    AUTO(strbuf) struct strbuf out = {0};
    struct unknown_fields unknown = {0};
    struct faults faults = {0};
    struct diag why = {0};

    CHECK_INT(schema_parse("a:{n:int(1..65535) s d=std} list:[{p!:int q=v}] m:<string> e:(A|B) "
                           "made:{x=y}+ need!",
                           &why, &s),
              0);
    CHECK_INT(json_parse(&o, text, strlen(text), NULL, NULL), 0);
    check_object(s, o, CHECK_WHOLE, &unknown, &faults);
    json_print(o, JSON_PRINT_SORTED, &out);
    size_t unknowns = unknown.count;
    AUTO(strbuf) struct strbuf said = {0};
    for (size_t i = 0; i < unknown.count; i++) {
        strbuf_printf(&said, "%s ", unknown.at[i]);
    }
    for (size_t i = 0; i < faults.count; i++) {
        strbuf_printf(&said, "%s:%d ", faults.at[i].field, (int)faults.at[i].kind);
    }
    unknown_fields_fini(&unknown);
    faults_fini(&faults);
    CHECK_INT(unknowns, 3);
    CHECK_STR(strbuf_text(&said), "a.unknown list[1].x junk a.n:1 list[1].p:0 m.k:6 e:2 need:0 ");
    CHECK_STR(strbuf_text(&out), "{\"a\":{\"d\":\"std\",\"n\":70000},\"e\":\"C\",\"list\":[{\"p\":"
                                 "1,\"q\":\"v\"},{\"q\":\"v\"}],"
                                 "\"m\":{\"k\":5},\"made\":{\"x\":\"y\"}}");
}

TEST(a_node_may_touch_what_is_its_own_and_nothing_else)
{
    static const struct {
        const char *verb, *group, *resource, *sub, *name, *node;
        bool allowed;
    } cases[] = {
        {"list", "", "namespaces", "", "", NULL, true},
        {"watch", "", "services", "", "", NULL, true},
        {"list", "discovery.k8s.io", "endpointslices", "", "", NULL, true},
        {"list", "", "pods", "", "", NULL, false},
        {"list", "", "pods", "", "", "b", false},
        {"list", "", "pods", "", "", "a", true},
        {"watch", "", "pods", "", "", "a", true},
        {"patch", "", "pods", "status", "p", NULL, true}, /* the object decides */
        {"deletecollection", "", "pods", "", "", NULL, false},
        {"patch", "", "nodes", "status", "a", NULL, true},
        {"patch", "", "nodes", "status", "b", NULL, false},
        {"delete", "", "nodes", "", "a", NULL, false},
        {"get", "", "configmaps", "", "istio-ca-root-cert", NULL, true},
        {"get", "", "configmaps", "", "other", NULL, false},
        {"list", "", "configmaps", "", "", NULL, false},
        {"get", "", "secrets", "", "istio-ca-root-cert", NULL, false},
        {"create", "", "namespaces", "", "", NULL, false},
        {"patch", "security.istio.io", "authorizationpolicies", "", "x", NULL, false},
        {"create", "authentication.k8s.io", "tokenreviews", "", "", NULL, false},
        {"create", "authentication.k8s.io", "selfsubjectreviews", "", "", NULL, true},
        {"create", "", "serviceaccounts", "token", "x", NULL, true}, /* the pod decides */
        {"create", "", "serviceaccounts", "", "x", NULL, false},
    };
    const struct api_user node = {.name = "system:node:a", .node = "a"};
    const struct api_user admin = {.name = "admin", .is_admin = true};
    const struct api_user somebody = {.name = "workload"};
    const struct api_user nobody = {
        .name = "system:anonymous", .is_anonymous = true, .is_admin = true};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct permit_question q = {
            cases[i].verb, cases[i].group, cases[i].resource, cases[i].sub, "",
            cases[i].name, cases[i].node};
        if (permit_allows(&node, &q) != cases[i].allowed) {
            CHECK_STR(cases[i].resource, cases[i].allowed ? "allowed" : "denied");
        }
        CHECK(permit_allows(&admin, &q));
        CHECK(!permit_allows(&nobody, &q));
        CHECK(!permit_allows(&somebody, &q) || strstr(cases[i].resource, "selfsubject"));
    }
}

static struct json *recorded_bodies(void)
{
    size_t len = 0;
    char *text = test_vector("apiserver/kubectl135-protobuf-bodies.json", &len);
    struct json *all = NULL;

    if (json_parse(&all, text, len, NULL, NULL) < 0) {
        all = NULL;
    }
    free(text);
    return all;
}

TEST(protobuf_bodies_of_kubectl_are_read)
{
    AUTO(json) struct json *all = recorded_bodies();
    const struct json *bodies = json_get(all, "bodies");
    AUTO(strbuf) struct strbuf seen = {0};

    for (size_t i = 0; i < json_count(bodies); i++) {
        const char *text = json_str_at(json_item(bodies, i), "base64", "");
        char raw[4096];
        int n = base64_decode(raw, sizeof(raw), text, strlen(text));
        AUTO(json) struct json *o = NULL;
        struct diag why = {0};
        CHECK(n > 0);
        CHECK_INT(proto_decode((struct slice){raw, (size_t)n}, &why, &o), 0);
        CHECK_STR(json_str_at(o, "kind", ""), json_str_at(json_item(bodies, i), "kind", "?"));
        CHECK_STR(json_str_at(o, "apiVersion", ""),
                  json_str_at(json_item(bodies, i), "apiVersion", "?"));
        json_print(o, JSON_PRINT_SORTED, &seen);
        strbuf_putc(&seen, '\n');
    }
    CHECK(json_count(bodies) >= 6);
    CHECK(
        strstr(strbuf_text(&seen),
               "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"made\"}}"));
    CHECK(strstr(strbuf_text(&seen),
                 "\"spec\":{\"ports\":[{\"name\":\"80-8080\",\"port\":80,\"protocol\":"
                 "\"TCP\",\"targetPort\":8080}],\"selector\":{\"app\":\"csvc\"},"
                 "\"type\":\"ClusterIP\"}"));
    CHECK(strstr(strbuf_text(&seen),
                 "\"resourceAttributes\":{\"namespace\":\"shop\",\"resource\":\"pods\","));
}

TEST(protobuf_that_is_cut_or_unknown_is_refused)
{
    AUTO(json) struct json *all = recorded_bodies();
    const char *text = json_str_at(json_item(json_get(all, "bodies"), 2), "base64", "");
    char raw[4096];
    int n = base64_decode(raw, sizeof(raw), text, strlen(text));
    unsigned refused = 0;

    CHECK(n > 0);
    for (size_t len = 0; len < (size_t)n; len++) {
        AUTO(json) struct json *o = NULL;
        struct diag why = {0};
        refused += proto_decode((struct slice){raw, len}, &why, &o) < 0;
    }
    /* Between two fields a cut cannot be seen; there are few such places. */
    CHECK(refused > (unsigned)n - 8);
}

/* Typed clients of kinds that have no table: the answer names the way that works. */
TEST(protobuf_of_another_kind_is_told_what_helps)
{
    AUTO(strbuf) struct strbuf body = {0};
    AUTO(json) struct json *o = NULL;
    struct diag why = {0};

    strbuf_add(&body, "k8s", 4);
    size_t type = pb_open(&body, 1);
    pb_put_text(&body, 1, "apps/v1");
    pb_put_text(&body, 2, "Deployment");
    pb_close(&body, type);
    pb_close(&body, pb_open(&body, 2));
    CHECK_INT(proto_decode((struct slice){body.p, body.len}, &why, &o), -ERR_UNSUPPORTED);
    CHECK(strstr(why.text, "Deployment is not read as protobuf"));
    CHECK(strstr(why.text, "--dry-run=client -o yaml | kubectl apply -f -`"));
}
