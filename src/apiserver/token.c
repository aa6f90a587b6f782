/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/token.h"

#include <string.h>

#include "apiserver/call_int.h"
#include "apiserver/change.h"
#include "apiserver/meta.h"
#include "apiserver/object.h"
#include "apiserver/secret.h"
#include "apiserver/store.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/rand.h"
#include "codec/base64.h"
#include "codec/json.h"

enum { SECRET_BYTES = 32 };

static const struct kind *tokens(void)
{
    return kind_stored("tokens.ambit.internal");
}

static char *new_secret(void)
{
    uint8_t bytes[SECRET_BYTES];
    struct strbuf text = {0};

    rand_bytes(bytes, sizeof(bytes));
    base64url_encode(&text, bytes, sizeof(bytes));
    mem_wipe(bytes, sizeof(bytes));
    return strbuf_take(&text);
}

static struct json *token_body(const struct token_wish *w, const char *name, const char *secret,
                               int64_t now_s)
{
    struct json *body = json_new_object();
    struct json *spec = json_make_object(body, "spec");

    json_set_str(json_make_object(body, "metadata"), "name", name);
    json_set_str(spec, "secret", secret);
    json_set_str(spec, "namespace", w->ns);
    json_set_str(spec, "serviceAccount", w->account);
    json_set_str(spec, "serviceAccountUid", w->account_uid);
    json_set_str(spec, "pod", w->pod);
    json_set_str(spec, "podUid", w->pod_uid);
    json_set_str(spec, "node", w->node);
    json_set(spec, "audiences", json_clone(w->audiences));
    json_set_int(spec, "expires", now_s + w->life_s);
    return body;
}

/* Those of the pods of a node; selectable[1] of a token is spec.node. */
static size_t count_of_node(struct api *a, const char *node)
{
    struct cursor at;
    struct object *o = NULL;
    size_t n = 0;

    if (cursor_init(&at, a->store, tokens(), "", 0) < 0) {
        return 0; /* the newest state is always there */
    }
    while ((o = cursor_next(&at)) != NULL) {
        n += strcmp(o->fields[1], node) == 0;
    }
    cursor_fini(&at);
    return n;
}

int token_issue(struct api *a, const struct token_wish *w, int64_t now_s, char **out)
{
    char name[40];
    AUTO(text) char *secret = NULL;
    struct strbuf token = {0};

    if (store_count(a->store, tokens()) >= TOKENS_MAX ||
        (w->by_node && count_of_node(a, w->node) >= TOKENS_NODE_MAX)) {
        return -ERR_LIMIT;
    }
    meta_new_uid(name, sizeof(name));
    secret = new_secret();
    AUTO(json) struct json *body = token_body(w, name, secret, now_s);
    change_stamp(tokens(), body, now_s);
    (void)change_put(a, tokens(), body); /* found again by its name */
    strbuf_printf(&token, "%s.%s", name, secret);
    *out = strbuf_take(&token);
    return 0;
}

static bool is_alive(struct api *a, const char *kind, const char *ns, const char *name,
                     const char *uid)
{
    const struct object *o = store_find(a->store, kind_named("", kind), ns, name);

    return o && strcmp(o->uid, uid) == 0;
}

static int judge(struct api *a, const struct json *spec, int64_t now_s, struct diag *why)
{
    const char *ns = json_str_at(spec, "namespace", "");
    const char *pod = json_str_at(spec, "pod", "");

    if (json_int_at(spec, "expires", 0) <= now_s) {
        return FAIL(why, -ERR_DENIED, "token has expired");
    }
    if (!is_alive(a, "ServiceAccount", ns, json_str_at(spec, "serviceAccount", ""),
                  json_str_at(spec, "serviceAccountUid", ""))) {
        return FAIL(why, -ERR_DENIED, "service account has been deleted");
    }
    if (pod[0] != '\0' && !is_alive(a, "Pod", ns, pod, json_str_at(spec, "podUid", ""))) {
        return FAIL(why, -ERR_DENIED, "the pod that the token is bound to has been deleted");
    }
    return 0;
}

int token_check(struct api *a, const char *token, int64_t now_s, struct diag *why,
                struct json **out)
{
    struct slice name;
    struct slice secret;

    if (!slice_cut(slice_of(token), '.', &name, &secret)) {
        return FAIL(why, -ERR_DENIED, "invalid bearer token");
    }
    AUTO(text) char *key = mem_dup(name.p, name.len);
    const struct object *o = store_find(a->store, tokens(), "", key);
    AUTO(json) struct json *body = o ? object_parse(o, "v1") : NULL;
    const struct json *spec = json_get(body, "spec");
    if (!spec || !secret_equal(secret, slice_of(json_str_at(spec, "secret", "")))) {
        return FAIL(why, -ERR_DENIED, "invalid bearer token");
    }
    int r = judge(a, spec, now_s, why);
    if (r == 0) {
        *out = json_ref(spec);
    }
    return r;
}

/* selectable[0] of a token is spec.expires: no parsing to find the old ones. */
static bool is_expired(const struct object *o, int64_t now_s)
{
    uint64_t expires = 0;

    return num_parse_u64(o->fields[0], strlen(o->fields[0]), INT64_MAX, &expires) < 0 ||
           (int64_t)expires <= now_s;
}

static size_t find_expired(struct api *a, int64_t now_s, struct object **found)
{
    struct cursor at;
    struct object *o = NULL;
    size_t n = 0;

    if (cursor_init(&at, a->store, tokens(), "", 0) < 0) {
        return 0; /* the newest state is always there */
    }
    while (n < TOKEN_EXPIRE_CHANGES && (o = cursor_next(&at)) != NULL) {
        if (is_expired(o, now_s)) {
            found[n++] = object_ref(o);
        }
    }
    cursor_fini(&at);
    return n;
}

void token_expire(struct api *a, int64_t now_s)
{
    struct object *found[TOKEN_EXPIRE_CHANGES];
    size_t n = store_accepts(a->store) ? find_expired(a, now_s, found) : 0;

    for (size_t i = 0; i < n; i++) {
        AUTO(json) struct json *body = object_parse(found[i], "v1");
        if (body) {
            object_unref(change_remove(a, tokens(), body));
        }
        object_unref(found[i]);
    }
}
