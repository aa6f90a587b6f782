/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RequestAuthentication: which token a request carries and whether it is genuine. One valid token is
 * enough; no token passes as nobody (policies decide then); only bad ones are 401. A preflight
 * passes as nobody whatever it carries (l7_is_preflight).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "codec/json.h"
#include "model/l7.h"
#include "model/l7_policy.h"
#include "model/l7_request.h"

enum request_auth_outcome {
    REQUEST_AUTH_REFUSED = 0, /* 401; a zeroed verdict refuses */
    REQUEST_AUTH_NOBODY,      /* no token, or nothing asks for one */
    REQUEST_AUTH_VALID
};

struct token_cache;

struct request_auth_header { /* lower-case name; value NULL: to be removed */
    char *name;
    char *value;
};

struct request_auth {
    enum request_auth_outcome outcome;
    const char *message; /* the body of the 401: "Jwt is expired"; a constant */
    /* Whose word the outcome is; NULL of nobody. Borrowed from the snapshot that was asked. */
    const struct l7_policy *policy;
    const struct l7_jwt_rule *rule;
    struct json *claims; /* of the valid token; words of space-delimited claims are lists */
    char *principal;     /* "iss/sub"; NULL where the token lacks one of them */
    size_t issuer_len;
    /* To do to the request, in this order, whatever the outcome: client copies of output headers go
     * first, then what the token gives is set, and a token not to be forwarded is removed. */
    struct request_auth_header *headers;
    size_t header_count;
    char *query; /* the query without access tokens; NULL: unchanged */
};

struct request_auth_ask {
    const struct l7 *world;
    const struct l7_service *service; /* may be NULL: the waypoint's rules alone */
    const struct l7_request *request;
    int64_t now_s;
    struct token_cache *cache; /* NULL: every signature is checked */
    /* NULL: nobody asks. Becomes what the token says for itself where it fails ("exp is ..., now is
     * ..."): for the administrator, never for who sent it. */
    struct strbuf *explain;
};

/* To be ended with request_auth_fini. */
void request_auth_judge(struct request_auth *out, const struct request_auth_ask *ask);
void request_auth_fini(struct request_auth *a);

/* Appends where a rule looks for its token: "header authorization (Bearer ...), parameter
 * access_token". */
void request_auth_places(const struct l7_jwt_rule *r, struct strbuf *out);

/* Puts principal and claims into a request; a must outlive its use. */
void request_auth_show(const struct request_auth *a, struct l7_request *q);
/* Appends the value of www-authenticate for a 401. */
void request_auth_challenge(const struct request_auth *a, const struct l7_request *q,
                            const char *scheme, struct strbuf *out);
