/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One AuthorizationPolicy or RequestAuthentication for one target (proto/waypoint.proto, Policy).
 * Immutable, counted across threads, one allocation; made from a template.
 *
 * Values stand as the objects have them; l7_policy_new reads them once. One that means nothing
 * (a broken CIDR, an unknown key) does not refuse the policy: it makes an ALLOW rule match nothing
 * and is left out of a DENY, CUSTOM or AUDIT rule, and flaw says so. A policy that could not be
 * decoded at all is made with broken set: its target denies.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ip.h"
#include "base/ref.h"

enum l7_policy_kind { L7_AUTHORIZATION = 0, L7_REQUEST_AUTHENTICATION };
enum l7_action { L7_ALLOW = 0, L7_DENY, L7_AUDIT, L7_CUSTOM };

struct l7_texts {
    const char *const *at;
    size_t count;
};

enum l7_pattern_kind {
    L7_PATTERN_EXACT = 0,
    L7_PATTERN_PREFIX,
    L7_PATTERN_SUFFIX,
    L7_PATTERN_PRESENT,  /* there and not empty */
    L7_PATTERN_TEMPLATE, /* {*} is one segment, a last {**} any number */
};
struct l7_pattern {
    enum l7_pattern_kind kind;
    uint32_t len;
    const char *text;
};
/* What a list of values was read to. flawed: at least one of them could not be. */
struct l7_patterns {
    const struct l7_pattern *at;
    size_t count;
    bool flawed;
};
struct l7_blocks {
    const struct ip_prefix *at;
    size_t count;
    bool flawed;
};
struct l7_ports {
    const uint16_t *at;
    size_t count;
    bool flawed;
};

/* Everything that rules ask for is one of these. */
enum l7_attribute {
    L7_SOURCE_PRINCIPAL = 0,
    L7_REQUEST_PRINCIPAL,
    L7_SOURCE_NAMESPACE,
    L7_SOURCE_ACCOUNT, /* "namespace/name" */
    L7_SOURCE_IP,
    L7_REMOTE_IP,
    L7_HOST,
    L7_DESTINATION_PORT,
    L7_METHOD,
    L7_PATH,
    L7_REQUEST_HEADER,
    L7_SOURCE_TRUST_DOMAIN,
    L7_REQUEST_AUDIENCES,
    L7_REQUEST_PRESENTER,
    L7_REQUEST_CLAIM,
    L7_DESTINATION_IP,
    L7_SNI,
    L7_UNSUPPORTED
};

/* values: one has to hit (none given: nothing asked); not_values: none may. */
struct l7_term {
    enum l7_attribute attribute;
    const char *name;           /* of a header, lower case */
    struct l7_texts claim_path; /* of a claim */
    struct l7_patterns values, not_values;
    struct l7_blocks blocks, not_blocks; /* of addresses */
    struct l7_ports ports, not_ports;
};
struct l7_clause { /* AND */
    const struct l7_term *terms;
    size_t term_count;
};

/* As the objects say it. */
struct l7_source {
    struct l7_texts principals, not_principals;
    struct l7_texts request_principals, not_request_principals;
    struct l7_texts namespaces, not_namespaces;
    struct l7_texts service_accounts, not_service_accounts;
    struct l7_texts ip_blocks, not_ip_blocks;
    struct l7_texts remote_ip_blocks, not_remote_ip_blocks;
};
struct l7_operation {
    struct l7_texts hosts, not_hosts;
    struct l7_texts ports, not_ports;
    struct l7_texts methods, not_methods;
    struct l7_texts paths, not_paths;
};
struct l7_condition {
    const char *key;
    struct l7_texts values, not_values;
};

struct l7_rule {
    /* The template; a made policy keeps only the counts. */
    const struct l7_source *from;
    const struct l7_operation *to;
    const struct l7_condition *when;
    size_t from_count, to_count, when_count;
    /* Of the template, for what flaw says: where the object has it, and its first source, counted from
     * 1. 0: as it stands here. */
    size_t origin, origin_from;
    /* Made; from and to are OR. */
    const struct l7_clause *from_clauses;
    const struct l7_clause *to_clauses;
    struct l7_clause when_clause;
};

struct l7_jwt_location {
    const char *name; /* of a header: made lower case */
    const char *prefix;
};
struct l7_claim_header {
    const char *header; /* made lower case */
    const char *claim;
};
struct l7_jwt_rule {
    const char *issuer;
    struct l7_texts audiences; /* none: any */
    const char *jwks;          /* JSON text; "": nothing verifies */
    const struct l7_jwt_location *from_headers;
    size_t from_header_count;
    struct l7_texts from_params;
    struct l7_texts from_cookies;
    const char *output_payload_to_header; /* made lower case */
    const struct l7_claim_header *claim_headers;
    size_t claim_header_count;
    bool forward_original_token;
    struct l7_texts space_delimited_claims;
};

struct l7_policy {
    struct aref refs;
    enum l7_policy_kind kind;
    bool broken;
    const char *resource;
    const char *version;
    const char *ns;
    const char *name;
    const char *service; /* made: "ns/hostname" of the target; "": the waypoint itself */
    const char *service_ns;
    const char *service_hostname;
    const char *flaw; /* made: the first value that means nothing, by the object's field; "" */
    /* L7_AUTHORIZATION */
    enum l7_action action;
    bool dry_run;
    const struct l7_rule *rules; /* OR */
    size_t rule_count;
    /* L7_REQUEST_AUTHENTICATION */
    const struct l7_jwt_rule *jwt_rules;
    size_t jwt_rule_count;
};

enum { L7_POLICY_BYTES_MAX = 4 << 20 };

/* The caller's on success. -ERR_TOO_LARGE. */
MUST_USE int l7_policy_new(const struct l7_policy **out, const struct l7_policy *from,
                           struct diag *why);
const struct l7_policy *l7_policy_ref(const struct l7_policy *p);   /* NULL stays NULL */
const struct l7_policy *l7_policy_unref(const struct l7_policy *p); /* returns NULL */
AUTO_DEFINE(l7_policy, const struct l7_policy *, l7_policy_unref);
