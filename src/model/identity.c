/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The URI and its three parts lie in one allocation; the parts are separate strings because they
 * are what decisions compare, and cutting the URI again would be one more place to get wrong.
 */
#include "model/identity.h"

#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "model/const_int.h"

static const char SCHEME[] = "spiffe://";
enum { SCHEME_LEN = sizeof(SCHEME) - 1 };

/* Appends s with its terminator and says where it went. */
static const char *put(char **at, struct slice s)
{
    char *start = *at;

    memcpy(start, s.p, s.len);
    start[s.len] = '\0';
    *at += s.len + 1;
    return start;
}

static void append(char **at, const char *s, size_t len)
{
    memcpy(*at, s, len);
    *at += len;
}

static const struct identity *make(struct slice domain, struct slice ns, struct slice account)
{
    size_t parts = domain.len + ns.len + account.len;
    size_t uri = SCHEME_LEN + strlen("/ns//sa/") + parts + 1;
    struct identity *id = mem_alloc(sizeof(*id) + uri + parts + 3);
    char *at = (char *)(id + 1);

    aref_init(&id->refs);
    id->uri = at;
    id->principal = at + SCHEME_LEN;
    append(&at, SCHEME, SCHEME_LEN);
    append(&at, domain.p, domain.len);
    append(&at, "/ns/", 4);
    append(&at, ns.p, ns.len);
    append(&at, "/sa/", 4);
    append(&at, account.p, account.len);
    *at++ = '\0';
    id->trust_domain = put(&at, domain);
    id->ns = put(&at, ns);
    id->service_account = put(&at, account);
    return id;
}

const struct identity *identity_new(const char *trust_domain, const char *ns,
                                    const char *service_account)
{
    return make(slice_of(trust_domain), slice_of(ns), slice_of(service_account));
}

/* Exactly five segments, the second "ns", the fourth "sa" (contract 2.1.1). */
static bool split(struct slice path, struct slice part[static 5])
{
    for (int i = 0; i < 4; i++) {
        if (!slice_cut(path, '/', &part[i], &path)) {
            return false;
        }
    }
    part[4] = path;
    return memchr(path.p, '/', path.len) == NULL && slice_is(part[1], "ns") &&
           slice_is(part[3], "sa");
}

int identity_parse(const struct identity **out, const char *uri, size_t len, struct diag *why)
{
    struct slice all = {uri, len};
    struct slice part[5];

    if (len > IDENTITY_URI_MAX) {
        return FAIL(why, -ERR_TOO_LARGE, "identity of %zu bytes", len);
    }
    if (!slice_has_prefix(all, SCHEME) || memchr(uri, '\0', len)) {
        return FAIL(why, -ERR_SYNTAX, "identity is not a SPIFFE URI");
    }
    if (!split((struct slice){uri + SCHEME_LEN, len - SCHEME_LEN}, part)) {
        return FAIL(why, -ERR_SYNTAX, "identity is not spiffe://TD/ns/NS/sa/SA");
    }
    *out = make(part[0], part[2], part[4]);
    return 0;
}

const struct identity *identity_ref(const struct identity *id)
{
    if (id) {
        aref_get(&((struct identity *)unconst(id))->refs);
    }
    return id;
}

const struct identity *identity_unref(const struct identity *id)
{
    struct identity *mine = unconst(id);

    if (mine && aref_put(&mine->refs)) {
        mem_free(mine);
    }
    return NULL;
}

bool identity_equal(const struct identity *a, const struct identity *b)
{
    if (!a || !b) {
        return false;
    }
    return a == b || (strcmp(a->trust_domain, b->trust_domain) == 0 && strcmp(a->ns, b->ns) == 0 &&
                      strcmp(a->service_account, b->service_account) == 0);
}

uint64_t identity_hash(const struct identity *id)
{
    return map_hash_str(id->uri);
}
