/* SPDX-License-Identifier: Apache-2.0 */
/* What a user reads in the status of what is wrong names the field as the object has it, and what to write. */
#include <string.h>

#include "codec/yaml.h"
#include "control/reconcile.h"
#include "control/route_status.h"
#include "control/translate_l7.h"
#include "control/translate_policy.h"
#include "t.h"

static struct json *read(const char *text)
{
    AUTO(json) struct json *all = NULL;

    return yaml_parse_all(&all, text, strlen(text), NULL) < 0 ? NULL : json_ref(json_item(all, 0));
}

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* ---- routes */

static void find(void *arg, const struct json *ref, struct l7_backend *out, struct arena *a)
{
    (void)arg;
    (void)a;
    out->ns = "shop";
    out->hostname = "web.shop.svc.cluster.local";
    out->port = (uint16_t)json_int_at(ref, "port", 0);
}

/* "": the rule is good. */
static void refusal(enum l7_route_kind kind, const char *text, struct strbuf *out)
{
    AUTO(arena) struct arena a = {0};
    AUTO(json) struct json *rule = read(text);
    AUTO(l7_route) const struct l7_route *made = NULL;
    struct backend_finder finder = {find, NULL};
    struct diag why = {.code = 0};
    struct l7_route from;

    translate_route_rule(&from, kind, rule, &finder, &a);
    from.ns = "shop";
    from.hostname = "web.shop.svc.cluster.local";
    if (l7_route_new(&made, &from, &why) < 0) {
        route_field_write(kind, rule, why.text, out);
    }
}

#define FILTERS                                                                                    \
    "filters: [{type: Unknown}, {type: RequestHeaderModifier, requestHeaderModifier: {set: []}}, "

TEST(rules_of_routes_are_refused_in_their_own_words)
{
    static const struct {
        enum l7_route_kind kind;
        const char *rule;
        const char *said;
    } cases[] = {
        {L7_HTTP_ROUTE, "{matches: [{}, {path: {type: Exact, value: x}}]}",
         "matches[1].path.value: 'x'"},
        {L7_HTTP_ROUTE, "{matches: [{headers: [{name: a, value: b}, {name: 'a b', value: c}]}]}",
         "matches[0].headers[1].name: 'a b'"},
        {L7_HTTP_ROUTE,
         "{matches: [{queryParams: [{type: RegularExpression, name: q, value: '('}]}]}",
         "matches[0].queryParams[0].value: regular expression"},
        {L7_GRPC_ROUTE, "{matches: [{method: {type: RegularExpression, service: '('}}]}",
         "matches[0].method: regular expression"},
        {L7_HTTP_ROUTE, "{" FILTERS "{type: RequestRedirect, requestRedirect: {statusCode: 200}}]}",
         "filters[2].requestRedirect.statusCode: 200 is not"},
        {L7_HTTP_ROUTE,
         "{" FILTERS "{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, "
         "replaceFullPath: 'a b'}}}]}",
         "filters[2].urlRewrite.path.replaceFullPath: 'a b'"},
        {L7_HTTP_ROUTE,
         "{matches: [{path: {type: Exact, value: /a}}], " FILTERS
         "{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: "
         "/b}}}]}",
         "filters[2].urlRewrite.path: ReplacePrefixMatch needs a prefix in every match"},
        {L7_HTTP_ROUTE, "{" FILTERS "{type: URLRewrite, urlRewrite: {hostname: 'a b'}}]}",
         "filters[2].urlRewrite.hostname: 'a b'"},
        {L7_HTTP_ROUTE, "{" FILTERS "{type: CORS, cors: {allowOrigins: ['http://a*b*c']}}]}",
         "filters[2].cors.allowOrigins[0]: 'http://a*b*c'"},
        {L7_HTTP_ROUTE,
         "{" FILTERS
         "{type: RequestMirror, requestMirror: {backendRef: {name: v, port: 80}, percent: 101}}]}",
         "filters[2].requestMirror.percent: 101 of 100"},
        {L7_HTTP_ROUTE,
         "{" FILTERS "{type: RequestMirror, requestMirror: {backendRef: {name: v}}}]}",
         "filters[2].requestMirror.backendRef.port: is 0"},
        {L7_HTTP_ROUTE,
         "{" FILTERS "{type: ResponseHeaderModifier, responseHeaderModifier: {add: [{name: 'a b', "
         "value: c}]}}]}",
         "filters[2].responseHeaderModifier.add 'a b'"},
        {L7_HTTP_ROUTE, "{backendRefs: [{name: v, port: 80}, {name: w}]}",
         "backendRefs[1].port: is 0"},
        {L7_HTTP_ROUTE,
         "{backendRefs: [{name: v, port: 80, " FILTERS
         "{type: RequestHeaderModifier, requestHeaderModifier: {remove: ['']}}]}]}",
         "backendRefs[0].filters[2].requestHeaderModifier.remove[0]: is no header name"},
        {L7_HTTP_ROUTE,
         "{backendRefs: [{name: v, port: 80, filters: [{type: RequestHeaderModifier, "
         "requestHeaderModifier: "
         "{remove: ['']}}]}]}",
         "backendRefs[0].filters[0].requestHeaderModifier.remove[0]: is no header name"},
        {L7_HTTP_ROUTE, "{retry: {attempts: 1, codes: [503, 5030]}}",
         "retry.codes[1]: 5030 is no status"},
        {L7_HTTP_ROUTE, "{matches: [{path: {value: /}}]}", ""},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(strbuf) struct strbuf text = {0};
        refusal(cases[i].kind, cases[i].rule, &text);
        if (!begins(strbuf_text(&text), cases[i].said) ||
            (*cases[i].said == '\0' && text.len > 0)) {
            CHECK_STR(strbuf_text(&text), cases[i].said);
        }
    }
}

/* ---- policies at layer 4 */

TEST(values_of_policies_are_refused_in_their_own_words)
{
    static const struct mesh mesh = {.cluster_id = "c",
                                     .trust_domain = "cluster.local",
                                     .root_ns = "istio-system",
                                     .system_ns = "istio-system",
                                     .domain = "cluster.local",
                                     .revision = ""};
    static const char *const cases[][2] = {
        {"{rules: [{}, {to: [{operation: {ports: ['80', http]}}]}]}",
         "spec.rules[1].to[0].operation.ports[1]: 'http' is no port"},
        {"{rules: [{from: [{source: {namespaces: [a]}}, {source: {notIpBlocks: [10.0.0.300]}}]}]}",
         "spec.rules[0].from[1].source.notIpBlocks[0]: '10.0.0.300' is no address and no CIDR "
         "block"},
        {"{rules: [{when: [{key: source.namespace, values: [a]}, {key: destination.port, "
         "notValues: ['80', x]}]}]}",
         "spec.rules[0].when[1].notValues[1]: 'x' is no port"},
        {"{rules: [{from: [{source: {serviceAccounts: ['']}}]}]}",
         "spec.rules[0].from[0].source.serviceAccounts[0]: '' is no service account"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(arena) struct arena a = {0};
        AUTO(json) struct json *o = read("{metadata: {name: p, namespace: shop}}");
        struct policy_condition c;
        struct policy p;
        json_set(o, "spec", read(cases[i][0]));
        (void)translate_policy(&p, &c, o, &mesh, &a);
        if (!strstr(c.message, cases[i][1])) {
            CHECK_STR(c.message, cases[i][1]);
        }
    }
}

/* ---- gateways */

static const struct json *condition(const struct json *list, const char *type)
{
    for (size_t i = 0; i < json_count(list); i++) {
        if (strcmp(json_str_at(json_item(list, i), "type", ""), type) == 0) {
            return json_item(list, i);
        }
    }
    return NULL;
}

TEST(a_gateway_that_is_none_says_what_to_write)
{
    static const struct {
        const char *spec;
        const char *reason;
        bool accepted;
        const char *listener; /* what the first one is told */
    } cases[] = {
        {"{listeners: [{name: m, port: 15008, protocol: HBON}]}", "ListenersNotValid", false,
         "protocol \"HBON\" is unsupported; spec.listeners[0].protocol: write HBONE instead of "
         "HBON"},
        {"{listeners: [{name: m, port: 15008, protocol: hbone}]}", "ListenersNotValid", false,
         "protocol \"hbone\" is unsupported; spec.listeners[0].protocol: write HBONE instead of "
         "hbone"},
        {"{listeners: [{name: m, port: 15009, protocol: HBONE}]}", "Accepted", true,
         "Expected a single listener on port 15008 with protocol \"HBONE\"; "
         "spec.listeners[0].port: write 15008 "
         "instead of 15009"},
        {"{listeners: [{name: u, port: 53, protocol: UDP}, {name: m, port: 15008, protocol: "
         "HBONE}]}",
         "ListenersNotValid", true,
         "protocol \"UDP\" is unsupported; spec.listeners[0]: remove it, it is not used"},
        {"{listeners: [{name: m, port: 15008, protocol: HBONE}]}", "Accepted", true,
         "No errors found"},
        {"{addresses: [{type: Ip, value: 1.2.3.4}], listeners: [{name: m, port: 15008, protocol: "
         "HBONE}]}",
         "UnsupportedAddress", false, "No errors found"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(json) struct json *g = read("{metadata: {name: wp, namespace: shop, generation: 3}}");
        struct gateway_view v = {.hostname = "wp.shop.svc.cluster.local"};
        json_set(g, "spec", read(cases[i].spec));
        AUTO(json) struct json *status = gateway_status(g, &v);
        const struct json *c = condition(json_get(status, "conditions"), "Accepted");
        const struct json *l = json_item(json_get(status, "listeners"), 0);
        CHECK_STR(json_str_at(c, "reason", ""), cases[i].reason);
        CHECK_STR(json_str_at(c, "status", ""), cases[i].accepted ? "True" : "False");
        CHECK_STR(json_str_at(condition(json_get(l, "conditions"), "Accepted"), "message", ""),
                  cases[i].listener);
    }
}

TEST(a_class_that_nobody_has_is_named)
{
    AUTO(json)
    struct json *g = read("{metadata: {name: wp}, spec: {gatewayClassName: istio-waypont}}");
    AUTO(json) struct json *status = gateway_status_of_no_class(g);
    const struct json *c = condition(json_get(status, "conditions"), "Accepted");

    CHECK_STR(json_str_at(c, "status", ""), "False");
    CHECK_STR(json_str_at(c, "message", ""),
              "spec.gatewayClassName: there is no GatewayClass \"istio-waypont\"; write "
              "istio-waypoint for a waypoint");
}
