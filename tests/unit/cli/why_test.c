/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cli/why_judge.h"
#include "codec/json.h"
#include "codec/yaml.h"
#include "t.h"

static struct json *read_yaml(const char *text)
{
    AUTO(json) struct json *all = NULL;

    return yaml_parse_all(&all, text, strlen(text), NULL) == 0 ? json_ref(json_item(all, 0)) : NULL;
}

#define WEB "from: {namespace: shop, name: web, identity: 'spiffe://x', mesh: true, node: n1}"
#define OLD "from: {namespace: shop, name: old, identity: '', mesh: false}"
#define CART(waypoint)                                                                             \
    "to: {kind: service, namespace: shop, name: cart, hostname: cart.shop.svc.cluster.local, "     \
    "port: 80, waypoint: '" waypoint "'}"
#define END(outcome, policy, reason)                                                               \
    "endpoints: [{namespace: shop, name: cart-1, address: 10.0.1.1, port: 8080, node: n2, "        \
    "healthy: true, peer: 'spiffe://p', outcome: " outcome ", policy: '" policy                    \
    "', reason: " reason ", checked: [{policy: shop/a, action: ALLOW, matches: false}]}]"
#define L4(from, waypoint, kind, end, verdict, text)                                               \
    "{" from ", " CART(waypoint) ", route: {kind: " kind ", next: shop/w-1}, " end                 \
                                 ", verdict: " verdict ", text: '" text "'}"
#define WAY "shop/w.shop.svc.cluster.local"
#define ROUTE(text)                                                                                \
    "route: {kind: HTTPRoute, route: shop/r, rule: 1, text: '" text                                \
    "', backends: [{name: shop/v1, port: 80, weight: 9}, {name: shop/v2, port: 80, weight: 1}]}"
#define L7(verdict, text, outcome, policy, route)                                                  \
    "{verdict: " verdict ", text: '" text "', policy: {outcome: " outcome ", policy: '" policy     \
    "', reason: because}, " route "}"

TEST(a_verdict_names_who_decided_and_one_command)
{
    static const struct {
        const char *l4;
        const char *l7; /* NULL: nobody was asked */
        bool asks_l7;
        enum why_verdict verdict;
        const char *text;
        const char *by;
        const char *fix;
    } rows[] = {
        {L4(WEB, "", "hbone", END("allow", "shop/a", "matches"), "allow", ""), NULL, false,
         WHY_ALLOWED, "ALLOWED: shop/web reaches shop/cart:80, by shop/a", "shop/a", ""},
        {L4(WEB, "", "hbone", END("allow", "", "free"), "allow", ""), NULL, true, WHY_ALLOWED,
         "ALLOWED: shop/web reaches shop/cart:80, no policy asks for less", "", ""},
        {L4(WEB, "", "hbone", END("deny", "shop/d", "x"), "deny", "explicitly denied by: shop/d"),
         NULL, false, WHY_DENIED,
         "DENIED at layer 4: shop/web does not reach shop/cart:80: explicitly denied by: shop/d",
         "shop/d", "ambit get authorizationpolicy d -n shop -o yaml"},
        {L4(OLD, "", "plain", END("deny", "", "x"), "deny", "none allowed"), NULL, false,
         WHY_DENIED, "DENIED at layer 4: shop/old does not reach shop/cart:80: none allowed", "",
         "ambit get authorizationpolicy -n shop -o yaml"},
        {L4(WEB, "", "hbone", END("deny", "", "x"), "partly", "why"), NULL, false, WHY_PARTLY,
         "PARTLY: shop/web reaches some endpoints alone of shop/cart:80: why", "",
         "ambit get authorizationpolicy -n shop -o yaml"},
        {L4(WEB, "", "denied", "endpoints: []", "deny", "no healthy upstream"), NULL, false,
         WHY_DENIED, "DENIED at layer 4: shop/web does not reach shop/cart:80: no healthy upstream",
         "", "ambit get pods -n shop"},
        {L4(WEB, WAY, "denied", "endpoints: []", "deny", "unknown waypoint"), NULL, false,
         WHY_DENIED, "DENIED at layer 4: shop/web does not reach shop/cart:80: unknown waypoint",
         "", "ambit waypoint status -n shop"},
        {L4(WEB, WAY, "waypoint", END("allow", "", "free"), "allow", ""), NULL, true, WHY_UNKNOWN,
         "CANNOT TELL: shop/web goes through a waypoint to shop/cart:80: away", "",
         "ambit waypoint status -n shop"},
        {L4(WEB, WAY, "waypoint", END("allow", "", "free"), "allow", ""),
         L7("allow", "", "allow", "shop/p", ROUTE("")), true, WHY_ALLOWED,
         "ALLOWED: shop/web reaches shop/cart:80, by shop/p", "shop/p", ""},
        {L4(WEB, WAY, "waypoint", END("allow", "", "free"), "allow", ""),
         L7("allow", "", "allow", "", ROUTE("redirected")), true, WHY_ALLOWED,
         "ALLOWED: shop/web is redirected by the waypoint of shop/cart:80, no policy asks for less",
         "", ""},
        {L4(WEB, WAY, "waypoint", END("allow", "", "free"), "allow", ""),
         L7("deny", "403 by policy", "deny", "shop/p", ROUTE("")), true, WHY_DENIED,
         "DENIED at layer 7: shop/web is refused by the waypoint of shop/cart:80: 403 by policy",
         "shop/p", "ambit get authorizationpolicy p -n shop -o yaml"},
        {L4(WEB, WAY, "waypoint", END("allow", "", "free"), "allow", ""),
         L7("deny", "401", "deny", "", ROUTE("") ", token: {outcome: refused, policy: shop/jwt}"),
         true, WHY_DENIED,
         "DENIED at layer 7: shop/web is refused by the waypoint of shop/cart:80: 401", "shop/jwt",
         "ambit get requestauthentication jwt -n shop -o yaml"},
        {L4(WEB, WAY, "waypoint", END("allow", "", "free"), "allow", ""),
         L7("deny", "500", "allow", "shop/p", ROUTE("")), true, WHY_DENIED,
         "DENIED at layer 7: shop/web is refused by the waypoint of shop/cart:80: 500", "shop/r",
         "ambit get HTTPRoute r -n shop -o yaml"},
        {L4(WEB, WAY, "waypoint", END("allow", "", "free"), "allow", ""),
         L7("deny", "404", "allow", "", "route: {text: none matches}"), true, WHY_DENIED,
         "DENIED at layer 7: shop/web is refused by the waypoint of shop/cart:80: 404", "",
         "ambit routes shop/cart"},
        {L4(WEB, WAY, "waypoint", END("deny", "shop/d", "x"), "deny", "no"),
         L7("allow", "", "allow", "shop/p", ROUTE("")), true, WHY_DENIED,
         "DENIED at layer 4: shop/web does not reach shop/cart:80: no", "shop/d",
         "ambit get authorizationpolicy d -n shop -o yaml"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(json) struct json *l4 = read_yaml(rows[i].l4);
        AUTO(json) struct json *l7 = rows[i].l7 ? read_yaml(rows[i].l7) : NULL;
        struct why_case q = {.l4 = l4, .l7 = l7, .l7_trouble = "away", .asks_l7 = rows[i].asks_l7};
        struct why_result r;
        CHECK(l4);
        why_judge(&q, &r);
        enum why_verdict verdict = r.verdict;
        AUTO(strbuf) struct strbuf got = {0};
        strbuf_printf(&got, "%s|%s|%s", strbuf_text(&r.text), strbuf_text(&r.by),
                      strbuf_text(&r.fix));
        why_result_fini(&r);
        AUTO(strbuf) struct strbuf want = {0};
        strbuf_printf(&want, "%s|%s|%s", rows[i].text, rows[i].by, rows[i].fix);
        CHECK_STR(strbuf_text(&got), strbuf_text(&want));
        CHECK_INT(verdict, rows[i].verdict);
    }
}

TEST(cannot_tell_is_never_yes)
{
    CHECK_INT(why_answer_of(WHY_ALLOWED), 0);
    CHECK_INT(why_answer_of(WHY_DENIED), 1);
    CHECK_INT(why_answer_of(WHY_PARTLY), 1);
    CHECK_INT(why_answer_of(WHY_UNKNOWN), 3);
}

TEST(what_is_not_looked_at_is_said)
{
    AUTO(json)
    struct json *direct = read_yaml(L4(WEB, "", "hbone", END("allow", "", "free"), "allow", ""));
    AUTO(json)
    struct json *behind = read_yaml(L4(WEB, WAY, "waypoint", END("deny", "", "x"), "deny", "no"));
    AUTO(json) struct json *l7 = read_yaml(L7("allow", "", "allow", "", ROUTE("")));
    struct why_case a = {.l4 = direct, .asks_l7 = true};
    struct why_case b = {.l4 = behind, .l7 = l7};
    struct why_result r;

    why_judge(&a, &r);
    bool said = strstr(strbuf_text(&r.notes), "method, path and headers decide nothing") != NULL;
    why_result_fini(&r);
    CHECK(said);
    why_judge(&b, &r);
    said =
        strstr(strbuf_text(&r.notes), "the pods see the waypoint's identity, spiffe://p") != NULL;
    why_result_fini(&r);
    CHECK(said);
}

TEST(the_evidence_goes_from_the_client_to_the_endpoint)
{
    AUTO(json)
    struct json *l4 = read_yaml(L4(WEB, WAY, "waypoint", END("allow", "", "free"), "allow", ""));
    AUTO(json)
    struct json *l7 = read_yaml(L7("allow", "", "allow", "shop/p",
                                   ROUTE("") ", token: {outcome: valid, policy: shop/jwt, "
                                             "principal: i/s}, notes: [one, two]"));
    struct why_case q = {.l4 = l4, .l7 = l7};
    AUTO(strbuf) struct strbuf b = {0};

    why_evidence(&q, &b);
    CHECK_STR(strbuf_text(&b),
              "  from      shop/web  spiffe://x  on n1\n"
              "  to        service shop/cart:80  through waypoint shop/w.shop.svc.cluster.local\n"
              "  route     HTTPRoute shop/r rule 1 -> shop/v1:80 (9), shop/v2:80 (1)\n"
              "  token     valid, by RequestAuthentication shop/jwt: i/s\n"
              "  layer 7   because\n"
              "  note      one\n"
              "            two\n"
              "  layer 4   shop/cart-1 10.0.1.1:8080 on n2: allow, free\n"
              "  checked   ALLOW shop/a does not match\n");
}
