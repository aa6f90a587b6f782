/* SPDX-License-Identifier: Apache-2.0 */
#include "control/review.h"

#include <string.h>

#include "base/mem.h"
#include "codec/json.h"
#include "kube/call.h"
#include "kube/resource.h"

static const struct kube_resource reviews = {
    .group = "authentication.k8s.io", .version = "v1", .plural = "tokenreviews"};

struct review {
    struct kube_call *call;
};

void caller_fini(struct caller *c)
{
    mem_free(c->ns);
    mem_free(c->account);
    mem_free(c->pod_name);
    mem_free(c->pod_uid);
    *c = (struct caller){.ns = NULL};
}

struct review *review_new(struct kube_client *client, struct slice token, struct task *owner)
{
    struct review *r = mem_new(struct review);
    AUTO(json) struct json *body = json_new_object();

    json_set_str(body, "apiVersion", "authentication.k8s.io/v1");
    json_set_str(body, "kind", "TokenReview");
    json_set(json_make_object(body, "spec"), "token", json_new_strn(token.p, token.len));
    json_append_str(json_make_array(body, "spec.audiences"), REVIEW_AUDIENCE);
    struct kube_ask ask = {
        .verb = KUBE_CREATE, .resource = &reviews, .body = body, .limit_ms = REVIEW_MS};
    r->call = kube_call_new(client, &ask, owner);
    return r;
}

void review_free(struct review *r)
{
    if (r) {
        kube_call_free(r->call);
        mem_free(r);
    }
}

static char *extra(const struct json *user, const char *key)
{
    const struct json *list = json_get(json_object_at(user, "extra"), key);

    return mem_strdup(json_str(json_item(list, 0), ""));
}

/* "system:serviceaccount:NAMESPACE:NAME" */
static bool split_name(struct slice name, struct slice *ns, struct slice *account)
{
    struct slice part;
    struct slice rest;

    return slice_cut(name, ':', &part, &rest) && slice_is(part, "system") &&
           slice_cut(rest, ':', &part, &rest) && slice_is(part, "serviceaccount") &&
           slice_cut(rest, ':', ns, account) && ns->len > 0 && account->len > 0 &&
           !memchr(account->p, ':', account->len);
}

/* A server that knows nothing of audiences names none, and its word is not enough. */
static int read_status(const struct json *status, struct caller *out, struct diag *why)
{
    const struct json *user = json_object_at(status, "user");
    struct slice ns;
    struct slice account;

    if (!json_bool_at(status, "authenticated", false)) {
        return FAIL(why, -ERR_DENIED, "%.100s",
                    json_str_at(status, "error", "the token is not valid"));
    }
    if (!json_has_str(json_get(status, "audiences"), REVIEW_AUDIENCE)) {
        return FAIL(why, -ERR_DENIED, "the token is not for %s", REVIEW_AUDIENCE);
    }
    if (!json_has_str(json_get(user, "groups"), "system:serviceaccounts") ||
        !split_name(slice_of(json_str_at(user, "username", "")), &ns, &account)) {
        return FAIL(why, -ERR_DENIED, "the token is no service account's");
    }
    *out = (struct caller){.ns = mem_dup(ns.p, ns.len),
                           .account = mem_dup(account.p, account.len),
                           .pod_name = extra(user, "authentication.kubernetes.io/pod-name"),
                           .pod_uid = extra(user, "authentication.kubernetes.io/pod-uid")};
    return 0;
}

int review_result(struct review *r, struct caller *out, struct diag *why)
{
    struct kube_answer answer = {.body = NULL};
    int x = kube_call_take(r->call, &answer, why);

    if (x < 0) {
        return x;
    }
    x = kube_answer_error(&answer, why);
    if (x < 0) { /* the server's trouble, or our rights: not the caller's fault */
        x = FAIL(why, -ERR_UNAVAILABLE, "token review: HTTP status %u", answer.status);
    } else {
        x = read_status(json_object_at(answer.body, "status"), out, why);
    }
    kube_answer_fini(&answer);
    return x;
}
