/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/why_judge.h"

#include <string.h>

#include "base/str.h"
#include "codec/json.h"

static bool is(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

static const char *text_at(const struct json *j, const char *path)
{
    return json_str_at(j, path, "");
}

void why_result_fini(struct why_result *r)
{
    strbuf_fini(&r->text);
    strbuf_fini(&r->by);
    strbuf_fini(&r->fix);
    strbuf_fini(&r->notes);
}

enum answer why_answer_of(enum why_verdict v)
{
    return v == WHY_ALLOWED ? ANSWER_YES : v == WHY_UNKNOWN ? ANSWER_UNKNOWN : ANSWER_NO;
}

const char *why_verdict_name(enum why_verdict v)
{
    static const char *const names[] = {[WHY_ALLOWED] = "ALLOWED",
                                        [WHY_DENIED] = "DENIED",
                                        [WHY_PARTLY] = "PARTLY",
                                        [WHY_UNKNOWN] = "CANNOT TELL"};

    return names[v];
}

/* ---- naming */

static void put_from(const struct json *l4, struct strbuf *out)
{
    const char *name = text_at(l4, "from.name");

    if (*name) {
        strbuf_printf(out, "%s/%s", text_at(l4, "from.namespace"), name);
    } else {
        strbuf_puts(out, text_at(l4, "from.identity"));
    }
}

static void put_to(const struct json *l4, struct strbuf *out)
{
    const char *name = text_at(l4, "to.name");

    strbuf_printf(out, "%s/%s:%lld", text_at(l4, "to.namespace"),
                  *name ? name : text_at(l4, "to.hostname"),
                  (long long)json_int_at(l4, "to.port", 0));
}

/* ---- layer 4 */

/* The healthy endpoint that did not allow it; NULL: all did. */
static const struct json *refusing(const struct json *l4)
{
    const struct json *all = json_get(l4, "endpoints");

    for (size_t i = 0; i < json_count(all); i++) {
        const struct json *e = json_item(all, i);
        const char *outcome = text_at(e, "outcome");
        if (json_bool_at(e, "healthy", false) && !is(outcome, "allow") &&
            !is(outcome, "unjudged")) {
            return e;
        }
    }
    return NULL;
}

/* "shop/a" as a command that shows it. */
static void put_policy_fix(const char *policy, const char *ns, struct strbuf *out)
{
    struct slice head;
    struct slice tail;

    if (*policy && slice_cut(slice_of(policy), '/', &head, &tail)) {
        strbuf_printf(out, "ambit get authorizationpolicy %.*s -n %.*s -o yaml", (int)tail.len,
                      tail.p, (int)head.len, head.p);
    } else {
        strbuf_printf(out, "ambit get authorizationpolicy -n %s -o yaml", ns);
    }
}

static void deny_at_endpoint(const struct why_case *q, const struct json *e, struct why_result *r)
{
    bool waypoint = is(text_at(q->l4, "route.kind"), "waypoint");

    strbuf_puts(&r->by, text_at(e, "policy"));
    put_policy_fix(text_at(e, "policy"), text_at(e, "namespace"), &r->fix);
    if (waypoint) {
        strbuf_printf(
            &r->notes,
            "behind a waypoint the pods see the waypoint's identity, %s: policies by client "
            "belong to the service (targetRefs)\n",
            text_at(e, "peer"));
    } else if (!json_bool_at(q->l4, "from.mesh", false)) {
        strbuf_puts(&r->notes, "the client is not in the mesh and so has no identity\n");
    }
}

static void put_sentence(const struct why_case *q, const char *verdict, const char *where,
                         const char *may, const char *reason, struct strbuf *out)
{
    strbuf_printf(out, "%s%s: ", verdict, where);
    put_from(q->l4, out);
    strbuf_printf(out, " %s ", may);
    put_to(q->l4, out);
    if (*reason) {
        strbuf_printf(out, ": %s", reason);
    }
}

static void deny_on_the_way(const struct why_case *q, struct why_result *r)
{
    const char *waypoint = text_at(q->l4, "to.waypoint");

    if (*waypoint && strstr(text_at(q->l4, "text"), "waypoint")) {
        strbuf_printf(&r->fix, "ambit waypoint status -n %.*s", (int)strcspn(waypoint, "/"),
                      waypoint);
    } else {
        strbuf_printf(&r->fix, "ambit get pods -n %s", text_at(q->l4, "to.namespace"));
    }
}

/* True: layer 4 says no, or not everywhere yes. */
static bool judge_l4(const struct why_case *q, struct why_result *r)
{
    const char *verdict = text_at(q->l4, "verdict");
    const struct json *e = refusing(q->l4);

    if (is(verdict, "allow")) {
        return false;
    }
    r->verdict = is(verdict, "partly") ? WHY_PARTLY : WHY_DENIED;
    put_sentence(q, why_verdict_name(r->verdict), is(verdict, "partly") ? "" : " at layer 4",
                 is(verdict, "partly") ? "reaches some endpoints alone of" : "does not reach",
                 text_at(q->l4, "text"), &r->text);
    if (is(text_at(q->l4, "route.kind"), "denied") || !e) {
        deny_on_the_way(q, r);
    } else {
        deny_at_endpoint(q, e, r);
    }
    return true;
}

/* ---- layer 7 */

static bool is_token_refused(const struct json *l7)
{
    return is(text_at(l7, "token.outcome"), "refused");
}

static void put_token_fix(const char *policy, struct strbuf *out)
{
    struct slice head;
    struct slice tail;

    if (slice_cut(slice_of(policy), '/', &head, &tail)) {
        strbuf_printf(out, "ambit get requestauthentication %.*s -n %.*s -o yaml", (int)tail.len,
                      tail.p, (int)head.len, head.p);
    }
}

static void deny_at_waypoint(const struct why_case *q, struct why_result *r)
{
    const char *policy = text_at(q->l7, "policy.policy");
    const char *route = text_at(q->l7, "route.route");
    struct slice head;
    struct slice tail;
    bool by_policy = is(text_at(q->l7, "policy.outcome"), "deny");

    r->verdict = WHY_DENIED;
    put_sentence(q, "DENIED", " at layer 7", "is refused by the waypoint of",
                 text_at(q->l7, "text"), &r->text);
    strbuf_puts(&r->by, is_token_refused(q->l7) ? text_at(q->l7, "token.policy")
                        : by_policy             ? policy
                                                : route);
    if (is_token_refused(q->l7)) {
        put_token_fix(strbuf_text(&r->by), &r->fix);
    } else if (by_policy) {
        put_policy_fix(policy, text_at(q->l4, "to.namespace"), &r->fix);
    } else if (*route && slice_cut(slice_of(route), '/', &head, &tail)) {
        strbuf_printf(&r->fix, "ambit get %s %.*s -n %.*s -o yaml",
                      *text_at(q->l7, "route.kind") ? text_at(q->l7, "route.kind") : "httproute",
                      (int)tail.len, tail.p, (int)head.len, head.p);
    } else {
        strbuf_printf(&r->fix, "ambit routes %s/%s", text_at(q->l4, "to.namespace"),
                      text_at(q->l4, "to.name"));
    }
}

/* True: layer 7 does not say yes. */
static bool judge_l7(const struct why_case *q, struct why_result *r)
{
    bool waypoint = is(text_at(q->l4, "route.kind"), "waypoint");

    if (waypoint && !q->l7) {
        r->verdict = WHY_UNKNOWN;
        put_sentence(q, "CANNOT TELL", "", "goes through a waypoint to",
                     q->l7_trouble && *q->l7_trouble ? q->l7_trouble : "which was not asked",
                     &r->text);
        strbuf_printf(&r->fix, "ambit waypoint status -n %.*s",
                      (int)strcspn(text_at(q->l4, "to.waypoint"), "/"),
                      text_at(q->l4, "to.waypoint"));
        return true;
    }
    if (!waypoint && q->asks_l7) {
        strbuf_puts(&r->notes,
                    "no waypoint is on the way: method, path and headers decide nothing\n");
    }
    if (q->l7 && !is(text_at(q->l7, "verdict"), "allow")) {
        deny_at_waypoint(q, r);
        return true;
    }
    return false;
}

static void allow(const struct why_case *q, struct why_result *r)
{
    const struct json *e = json_item(json_get(q->l4, "endpoints"), 0);
    const char *by = q->l7 ? text_at(q->l7, "policy.policy") : text_at(e, "policy");

    r->verdict = WHY_ALLOWED;
    strbuf_puts(&r->by, by);
    put_sentence(q, "ALLOWED", "",
                 is(text_at(q->l7, "route.text"), "redirected") ? "is redirected by the waypoint of"
                                                                : "reaches",
                 "", &r->text);
    if (*by) {
        strbuf_printf(&r->text, ", by %s", by);
    } else {
        strbuf_puts(&r->text, ", no policy asks for less");
    }
}

/* The waypoint comes first on the way, what stands behind it second. */
void why_judge(const struct why_case *q, struct why_result *out)
{
    *out = (struct why_result){.verdict = WHY_UNKNOWN};
    if (is(text_at(q->l4, "route.kind"), "denied")) {
        (void)judge_l4(q, out); /* it says no */
        return;
    }
    if (!judge_l7(q, out) && !judge_l4(q, out)) {
        allow(q, out);
    }
}

/* ---- evidence */

static void put_head(struct strbuf *out, const char *what)
{
    strbuf_printf(out, "  %-9s ", what);
}

static void put_who(const struct why_case *q, struct strbuf *out)
{
    const char *identity = text_at(q->l4, "from.identity");
    const char *node = text_at(q->l4, "from.node");

    put_head(out, "from");
    put_from(q->l4, out);
    if (*identity && *text_at(q->l4, "from.name")) {
        strbuf_printf(out, "  %s", identity);
    } else if (!*identity) {
        strbuf_puts(out, "  without an identity");
    }
    strbuf_printf(out, "%s%s\n", *node ? "  on " : "", node);
    put_head(out, "to");
    strbuf_printf(out, "%s ", text_at(q->l4, "to.kind"));
    put_to(q->l4, out);
    if (*text_at(q->l4, "to.waypoint")) {
        strbuf_printf(out, "  through waypoint %s", text_at(q->l4, "to.waypoint"));
    }
    strbuf_putc(out, '\n');
}

static void put_backends(const struct json *route, struct strbuf *out)
{
    const struct json *all = json_get(route, "backends");

    for (size_t i = 0; i < json_count(all); i++) {
        const struct json *b = json_item(all, i);
        strbuf_printf(out, "%s%s:%lld", i == 0 ? " -> " : ", ", text_at(b, "name"),
                      (long long)json_int_at(b, "port", 0));
        if (json_count(all) > 1) {
            strbuf_printf(out, " (%lld)", (long long)json_int_at(b, "weight", 1));
        }
        if (*text_at(b, "invalid")) {
            strbuf_printf(out, " INVALID (%s)", text_at(b, "invalid"));
        }
    }
}

static void put_token(const struct json *token, struct strbuf *out)
{
    const char *outcome = text_at(token, "outcome");

    if (is(outcome, "valid")) {
        put_head(out, "token");
        strbuf_printf(out, "valid, by RequestAuthentication %s: %s\n", text_at(token, "policy"),
                      *text_at(token, "principal") ? text_at(token, "principal")
                                                   : "it names nobody (iss and sub)");
    } else if (is(outcome, "refused")) {
        put_head(out, "token");
        strbuf_printf(out, "refused, by RequestAuthentication %s: %s: %s\n",
                      text_at(token, "policy"), text_at(token, "message"),
                      text_at(token, "detail"));
    }
}

static void put_l7(const struct why_case *q, struct strbuf *out)
{
    const struct json *route = json_get(q->l7, "route");
    const char *name = text_at(route, "route");

    if (!q->l7) {
        return;
    }
    put_head(out, "route");
    if (*name) {
        strbuf_printf(out, "%s %s rule %lld", text_at(route, "kind"), name,
                      (long long)json_int_at(route, "rule", 0));
        put_backends(route, out);
        strbuf_printf(out, "%s%s", *text_at(route, "text") ? ": " : "", text_at(route, "text"));
    } else {
        strbuf_puts(out, text_at(route, "text"));
    }
    strbuf_putc(out, '\n');
    put_token(json_get(q->l7, "token"), out);
    put_head(out, "layer 7");
    strbuf_printf(out, "%s\n", text_at(q->l7, "policy.reason"));
}

static void put_checked(const struct json *list, struct strbuf *out)
{
    for (size_t i = 0; i < json_count(list); i++) {
        const struct json *p = json_item(list, i);
        put_head(out, i == 0 ? "checked" : "");
        strbuf_printf(out, "%s %s%s %s\n", text_at(p, "action"), text_at(p, "policy"),
                      json_bool_at(p, "dry_run", false) ? " (dry run)" : "",
                      json_bool_at(p, "matches", false) ? "matches" : "does not match");
    }
}

static void put_notes(const struct json *list, struct strbuf *out)
{
    for (size_t i = 0; i < json_count(list); i++) {
        put_head(out, i == 0 ? "note" : "");
        strbuf_printf(out, "%s\n", json_str(json_item(list, i), ""));
    }
}

static void put_source(const struct why_case *q, struct strbuf *out)
{
    const char *l7 = q->l7 && q->l7_source ? q->l7_source : "";

    if (q->l4_source && *q->l4_source && !*l7) {
        put_head(out, "source");
        strbuf_printf(out, "%s\n", q->l4_source);
    }
    if (*l7) {
        put_head(out, "source");
        strbuf_printf(out, "%s%s\n", q->l4_source && *q->l4_source ? "" : "layer 7: ", l7);
    }
}

void why_evidence(const struct why_case *q, struct strbuf *out)
{
    const struct json *all = json_get(q->l4, "endpoints");
    const struct json *e = refusing(q->l4);

    put_who(q, out);
    put_l7(q, out);
    put_checked(json_at(q->l7, "policy.checked"), out);
    put_notes(json_get(q->l7, "notes"), out);
    for (size_t i = 0; i < json_count(all); i++) {
        const struct json *one = json_item(all, i);
        put_head(out, "layer 4");
        strbuf_printf(out, "%s/%s %s:%lld%s%s: %s, %s\n", text_at(one, "namespace"),
                      text_at(one, "name"), text_at(one, "address"),
                      (long long)json_int_at(one, "port", 0), *text_at(one, "node") ? " on " : "",
                      text_at(one, "node"),
                      json_bool_at(one, "healthy", false) ? text_at(one, "outcome") : "not healthy",
                      text_at(one, "reason"));
    }
    put_checked(json_get(e ? e : json_item(all, 0), "checked"), out);
    put_source(q, out);
}
