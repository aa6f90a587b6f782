/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What node proxies say (/config_dump, contract 9.6, and the access records), as rows for people:
 * flat JSON objects, one a workload, service, certificate, connection or record. Rows of several
 * nodes go into one list. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct json;
struct strbuf;

/* node is the name of the node that was asked. The first two gather in an object (rows_values makes a
 * list of it), because every node knows the whole world; the others append to an array. */

/* By uid: namespace, name, ips, node, protocol, mesh ("in", "pending", "remote", "no"), identity, waypoint,
 * status, services, policies, uid. A workload that is there already
 * may turn out to be "in". */
void view_workloads(const struct json *dump, struct json *by_uid);
/* By namespace and host name: namespace, name, hostname, vips, ports, endpoints ("2/3": healthy of all), waypoint */
void view_services(const struct json *dump, struct json *by_host);
/* node, identity, kind (leaf, intermediate, root), state, verdict ("valid", "near its end",
 * "expired", "missing"), serial, not_before, not_after, left_s */
void view_certs(const struct json *dump, const char *node, int64_t now_s, struct json *into);
/* namespace, name, action, scope, rules, dry_run, state ("ok", "broken: denies") */
void view_policies(const struct json *dump, struct json *into);
/* secured ("mTLS", "PLAINTEXT"), node, direction, source, destination, source_address,
 * destination_address, service, source_identity, destination_identity, to_server, to_client, and
 * age_ms of connections that are open; time, verdict ("ok", "DENIED", "FAILED"), flags, duration_us
 * and error of records. */
void view_access(const struct json *records, const char *node, struct json *into);

/* Who with whom: "shop/web (10.0.0.1:4000) -> 192.0.2.7:443". */
void view_put_parties(const struct json *row, struct strbuf *out);

/* What a filter keeps. */
struct view_filter {
    const char *namespace; /* NULL = all; of either end, for connections */
    char *const *names;    /* name, namespace/name, service or address; none = all */
    unsigned name_count;
    const char *direction; /* "inbound", "outbound" or NULL */
    bool only_plain;
    bool only_denied;
};
/* The caller's. */
struct json *view_filtered(const struct json *rows, const struct view_filter *f);

/* A certificate with less than a fifth of its life left is near its end. */
bool view_is_near_end(int64_t from_s, int64_t until_s, int64_t now_s);
