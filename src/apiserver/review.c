/* SPDX-License-Identifier: Apache-2.0 */
/* Questions in the form of objects: whose token is this, who am I, may I - and the request for a token. */
#include <stdarg.h>
#include <string.h>

#include "apiserver/api_status.h"
#include "apiserver/call_int.h"
#include "apiserver/fault.h"
#include "apiserver/meta.h"
#include "apiserver/object.h"
#include "apiserver/permit.h"
#include "apiserver/store.h"
#include "apiserver/token.h"
#include "base/mem.h"
#include "codec/json.h"

enum { AUDIENCES_MAX = 16 };

static const char *default_audience(const struct call *c)
{
    return c->api->config.audience ? c->api->config.audience : "https://kubernetes.default.svc";
}

static void append_texts(struct json *into, const char *first, ...)
{
    va_list ap;

    va_start(ap, first);
    for (const char *s = first; s; s = va_arg(ap, const char *)) {
        json_append_str(into, s);
    }
    va_end(ap);
}

/* ---- TokenReview */

/* Those of the wanted audiences that the token is for. */
static struct json *common_audiences(const struct call *c, const struct json *wanted,
                                     const struct json *token)
{
    struct json *both = json_new_array();

    if (json_count(wanted) == 0 && json_has_str(token, default_audience(c))) {
        json_append_str(both, default_audience(c));
    }
    for (size_t i = 0; i < json_count(wanted); i++) {
        const char *text = json_str(json_item(wanted, i), "");
        if (json_has_str(token, text)) {
            json_append_str(both, text);
        }
    }
    return both;
}

static void add_extra(struct json *extra, const char *key, const char *value)
{
    if (value[0] != '\0') {
        struct json *list = json_new_array();
        json_append_str(list, value);
        json_set(extra, key, list); /* the key holds dots: not a path */
    }
}

static struct json *user_of(const struct json *token)
{
    struct json *user = json_new_object();
    const char *ns = json_str_at(token, "namespace", "");
    AUTO(strbuf) struct strbuf name = {0};
    AUTO(strbuf) struct strbuf group = {0};

    strbuf_printf(&name, "system:serviceaccount:%s:%s", ns,
                  json_str_at(token, "serviceAccount", ""));
    strbuf_printf(&group, "system:serviceaccounts:%s", ns);
    json_set_str(user, "username", strbuf_text(&name));
    json_set_str(user, "uid", json_str_at(token, "serviceAccountUid", ""));
    append_texts(json_make_array(user, "groups"), "system:serviceaccounts", strbuf_text(&group),
                 "system:authenticated", NULL);
    struct json *extra = json_make_object(user, "extra");
    add_extra(extra, "authentication.kubernetes.io/pod-name", json_str_at(token, "pod", ""));
    add_extra(extra, "authentication.kubernetes.io/pod-uid", json_str_at(token, "podUid", ""));
    add_extra(extra, "authentication.kubernetes.io/node-name", json_str_at(token, "node", ""));
    return user;
}

static int review_token(struct call *c, struct json *body)
{
    const struct json *wanted = json_at(body, "spec.audiences");
    AUTO(json) struct json *token = NULL;
    AUTO(json) struct json *both = NULL;
    struct diag why = {0};
    struct json *status = json_new_object();

    json_set(body, "status", status);
    int r = token_check(c->api, json_str_at(body, "spec.token", ""), call_now_s(c), &why, &token);
    if (r == 0) {
        both = common_audiences(c, wanted, json_get(token, "audiences"));
        if (json_count(both) == 0) {
            r = FAIL(&why, -ERR_DENIED, "token audiences are invalid for the target audiences");
        }
    }
    if (r < 0) {
        json_set(status, "user", json_new_object());
        json_set_str(status, "error", why.text);
    } else {
        json_set_bool(status, "authenticated", true);
        json_set(status, "user", user_of(token));
        json_set(status, "audiences", MOVE(both));
    }
    call_answer(c, 201, body);
    return 0;
}

/* ---- who am I, may I */

static int review_self(struct call *c, struct json *body)
{
    struct json *user = json_make_object(body, "status.userInfo");
    struct json *groups = json_make_array(user, "groups");

    json_set_str(user, "username", c->rq->user->name);
    if (c->rq->user->uid) {
        json_set_str(user, "uid", c->rq->user->uid);
    }
    for (size_t i = 0; c->rq->user->groups && c->rq->user->groups[i]; i++) {
        json_append_str(groups, c->rq->user->groups[i]);
    }
    call_answer(c, 201, body);
    return 0;
}

static int review_access(struct call *c, struct json *body)
{
    const struct json *attributes = json_at(body, "spec.resourceAttributes");
    struct permit_question q = {
        .verb = json_str_at(attributes, "verb", ""),
        .group = json_str_at(attributes, "group", ""),
        .resource = json_str_at(attributes, "resource", ""),
        .sub = json_str_at(attributes, "subresource", ""),
        .ns = json_str_at(attributes, "namespace", ""),
        .name = json_str_at(attributes, "name", ""),
    };
    struct json *status = json_new_object();

    json_set_bool(status, "allowed",
                  attributes ? permit_allows(c->rq->user, &q) : c->rq->user->is_admin);
    json_set(body, "status", status);
    call_answer(c, 201, body);
    return 0;
}

static void add_rule(struct json *rules, const char *verb, const char *group, const char *resource)
{
    struct json *rule = json_new_object();

    json_append_str(json_make_array(rule, "verbs"), verb);
    json_append_str(json_make_array(rule, "apiGroups"), group);
    json_append_str(json_make_array(rule, "resources"), resource);
    json_append(rules, rule);
}

/* Complete for administrators; others are told what everybody may, and that there may be more. */
static int review_rules(struct call *c, struct json *body)
{
    struct json *status = json_new_object();
    struct json *rules = json_make_array(status, "resourceRules");

    if (c->rq->user->is_admin) {
        add_rule(rules, "*", "*", "*");
    } else {
        add_rule(rules, "create", "authentication.k8s.io", "selfsubjectreviews");
        add_rule(rules, "create", "authorization.k8s.io", "selfsubjectaccessreviews");
    }
    json_set(status, "nonResourceRules", json_new_array());
    json_set_bool(status, "incomplete", !c->rq->user->is_admin);
    json_set(body, "status", status);
    call_answer(c, 201, body);
    return 0;
}

int review_create(struct call *c)
{
    static const struct {
        const char *kind;
        int (*answer)(struct call *c, struct json *body);
    } reviews[] = {{"TokenReview", review_token},
                   {"SelfSubjectReview", review_self},
                   {"SelfSubjectAccessReview", review_access},
                   {"SelfSubjectRulesReview", review_rules}};
    AUTO(json) struct json *body = NULL;
    AUTO(strbuf) struct strbuf api_version = {0};
    int r = permit_check(c, "create");

    if (r == 0) {
        r = body_decode(c, &body);
    }
    if (r < 0) {
        return r;
    }
    kind_api_version(c->kind, c->version, &api_version);
    json_set_str(body, "kind", c->kind->name);
    json_set_str(body, "apiVersion", strbuf_text(&api_version));
    json_set(body, "metadata", json_new_object());
    c->out->rests_on = store_rv(c->api->store);
    for (size_t i = 0; i < ARRAY_LEN(reviews); i++) {
        if (strcmp(reviews[i].kind, c->kind->name) == 0) {
            return reviews[i].answer(c, body);
        }
    }
    return call_not_allowed(c);
}

/* ---- TokenRequest */

static int refuse_request(struct call *c, const char *field, const char *detail)
{
    struct faults f = {0};

    faults_add(&f, FAULT_INVALID, field, detail);
    int r =
        call_refuse_status(c, api_status_invalid("authentication.k8s.io", "TokenRequest", "", &f));
    faults_fini(&f);
    return r;
}

/* A token may die with a pod: that pod must exist and run as this account. */
static int find_pod(struct call *c, const struct json *ref, struct json **out)
{
    const struct kind *pods = kind_named("", "Pod");
    const char *name = json_str_at(ref, "name", "");
    const char *uid = json_str_at(ref, "uid", "");

    if (strcmp(json_str_at(ref, "kind", ""), "Pod") != 0) {
        return refuse_request(c, "spec.boundObjectRef.kind", "only a Pod can be bound to");
    }
    const struct object *o = store_find(c->api->store, pods, c->ns, name);
    AUTO(json) struct json *pod = o ? object_parse(o, "v1") : NULL;
    if (!pod) {
        return call_not_found(c, pods, name);
    }
    if (uid[0] != '\0' && strcmp(uid, o->uid) != 0) {
        return call_refuse(c, 409, "Conflict",
                           "the UID in the bound object reference (%.64s) does not "
                           "match the UID in record",
                           uid);
    }
    if (strcmp(json_str_at(pod, "spec.serviceAccountName", ""), c->name) != 0) {
        return refuse_request(c, "spec.boundObjectRef.name",
                              "the pod runs as another service account");
    }
    *out = MOVE(pod);
    return 0;
}

static int check_life(struct call *c, int64_t life_s)
{
    AUTO(strbuf) struct strbuf detail = {0};

    if (life_s >= TOKEN_LIFE_MIN_S && life_s <= TOKEN_LIFE_MAX_S) {
        return 0;
    }
    strbuf_printf(&detail, "%lld: may not specify a duration %s", (long long)life_s,
                  life_s < TOKEN_LIFE_MIN_S ? "less than 10 minutes" : "of more than a year");
    return refuse_request(c, "spec.expirationSeconds", strbuf_text(&detail));
}

/* As the real server, which does not decode what is no 64-bit integer. */
static int read_life(struct call *c, const struct json *spec, int64_t *out_s)
{
    const struct json *given = json_get(spec, "expirationSeconds");
    enum json_kind kind = json_kind(given);

    *out_s = json_int(given, INT64_MIN);
    if (!given || kind == JSON_KIND_NULL) {
        *out_s = TOKEN_LIFE_S;
    } else if (*out_s == INT64_MIN) {
        return call_refuse(c, 400, "BadRequest",
                           "TokenRequest in version \"v1\" cannot be handled as a TokenRequest: "
                           "spec.expirationSeconds: not a whole number of seconds");
    }
    return check_life(c, *out_s);
}

static struct json *audiences_of(const struct call *c, const struct json *spec)
{
    struct json *list = json_ref(json_array_at(spec, "audiences"));

    if (json_count(list) == 0 || json_count(list) > AUDIENCES_MAX) {
        json_unref(list);
        list = json_new_array();
        json_append_str(list, default_audience(c));
    }
    return list;
}

static int answer_token(struct call *c, struct json *body, const struct token_wish *w)
{
    char expires[TIME_TEXT];
    char *token = NULL;
    struct json *status = json_new_object();

    if (token_issue(c->api, w, call_now_s(c), &token) < 0) {
        json_unref(status);
        return call_refuse(c, 429, "TooManyRequests", "%d tokens are alive",
                           w->by_node ? TOKENS_NODE_MAX : TOKENS_MAX);
    }
    meta_format_time(call_now_s(c) + w->life_s, expires, sizeof(expires));
    json_set_str(status, "token", token);
    json_set_str(status, "expirationTimestamp", expires);
    json_set(body, "status", status);
    mem_free_secret(token, strlen(token));
    call_answer(c, 201, body);
    c->out->rests_on = store_rv(c->api->store);
    return 0;
}

static int issue(struct call *c, struct json *body, const struct object *account,
                 const struct json *pod)
{
    struct json *spec = json_make_object(body, "spec");
    AUTO(json) struct json *audiences = audiences_of(c, spec);
    struct token_wish w = {
        .ns = c->ns,
        .account = c->name,
        .account_uid = account->uid,
        .pod = json_str_at(pod, "metadata.name", ""),
        .pod_uid = json_str_at(pod, "metadata.uid", ""),
        .node = json_str_at(pod, "spec.nodeName", ""),
        .audiences = audiences,
        .by_node = !c->rq->user->is_admin,
    };
    int r = read_life(c, spec, &w.life_s);

    if (r < 0) {
        return r;
    }
    json_set(spec, "audiences", json_ref(audiences));
    json_set_int(spec, "expirationSeconds", w.life_s);
    json_set_str(body, "kind", "TokenRequest");
    json_set_str(body, "apiVersion", "authentication.k8s.io/v1");
    struct json *meta = json_make_object(body, "metadata");
    json_set_str(meta, "name", c->name);
    json_set_str(meta, "namespace", c->ns);
    return answer_token(c, body, &w);
}

/* A node gets tokens only for pods that run on it. */
static int check_node(struct call *c, const struct json *pod)
{
    if (permit_allows_pod_of(c->rq->user, json_str_at(pod, "spec.nodeName", NULL))) {
        return 0;
    }
    return call_refuse(c, 403, "Forbidden",
                       "User \"%s\" may only ask for tokens that are bound to a pod of its node",
                       c->rq->user->name);
}

int review_token_request(struct call *c)
{
    AUTO(json) struct json *body = NULL;
    AUTO(json) struct json *pod = NULL;
    int r = permit_check(c, "create");

    if (r == 0) {
        r = call_check_store(c);
    }
    if (r == 0) {
        r = body_decode(c, &body);
    }
    if (r < 0) {
        return r;
    }
    const struct object *account = store_find(c->api->store, c->kind, c->ns, c->name);
    if (!account) {
        return call_not_found(c, c->kind, c->name);
    }
    const struct json *ref = json_at(body, "spec.boundObjectRef");
    bool is_bound = ref && json_kind(ref) != JSON_KIND_NULL; /* as JSON kubectl sends null */
    r = is_bound ? find_pod(c, ref, &pod) : 0;
    if (r == 0) {
        r = check_node(c, pod);
    }
    return r < 0 ? r : issue(c, body, account, pod);
}
