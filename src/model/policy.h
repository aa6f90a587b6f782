/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One authorization policy (contract 4.1). Immutable, counted across threads, one allocation. Made
 * like a workload: fill a template with borrowed pointers, policy_new copies it deeply.
 *
 * A policy of which an element could not be decoded is made with broken set and needs no rules: the
 * world keeps an older good version if it has one, otherwise its subjects are denied.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"
#include "base/ref.h"

enum policy_scope { SCOPED_GLOBAL = 0, SCOPED_NAMESPACE = 1, SCOPED_WORKLOAD = 2 };
enum policy_action { POLICY_ALLOW = 0, POLICY_DENY = 1 };
enum match_kind { MATCH_EXACT = 1, MATCH_PREFIX, MATCH_SUFFIX, MATCH_PRESENCE };

struct str_match {
    enum match_kind kind;
    const char *text; /* ignored for MATCH_PRESENCE */
};

struct account_match {
    const char *ns;
    const char *service_account;
};

struct str_matches {
    const struct str_match *at;
    size_t count;
};
struct ip_matches {
    const struct ip_prefix *at;
    size_t count;
};
struct port_matches {
    const uint16_t *at;
    size_t count;
};
struct account_matches {
    const struct account_match *at;
    size_t count;
};

/* All kinds AND; values within a kind OR; of a negative kind none may hit. */
struct policy_match {
    struct str_matches namespaces;
    struct str_matches not_namespaces;
    struct str_matches principals;
    struct str_matches not_principals;
    struct ip_matches source_ips;
    struct ip_matches not_source_ips;
    struct ip_matches destination_ips;
    struct ip_matches not_destination_ips;
    struct port_matches destination_ports;
    struct port_matches not_destination_ports;
    struct account_matches service_accounts;
    struct account_matches not_service_accounts;
};
struct policy_clause { /* OR */
    const struct policy_match *matches;
    size_t match_count;
};
struct policy_rule { /* AND */
    const struct policy_clause *clauses;
    size_t clause_count;
};

struct policy {
    struct aref refs; /* left alone by whoever fills a template */
    enum policy_scope scope;
    enum policy_action action;
    bool dry_run;
    bool broken;
    const char *key; /* "ns/name": how workloads name it; made by policy_new */
    const char *ns;
    const char *name;
    const char *version;             /* the control plane's, opaque */
    const struct policy_rule *rules; /* OR */
    size_t rule_count;
};

enum { POLICY_BYTES_MAX = 16 << 20 };

/* The caller's on success. -ERR_TOO_LARGE. */
MUST_USE int policy_new(const struct policy **out, const struct policy *from, struct diag *why);
const struct policy *policy_ref(const struct policy *p);   /* NULL stays NULL */
const struct policy *policy_unref(const struct policy *p); /* returns NULL */
AUTO_DEFINE(policy, const struct policy *, policy_unref);

/* Everything but the count is equal, version included. */
bool policy_equal(const struct policy *a, const struct policy *b);
