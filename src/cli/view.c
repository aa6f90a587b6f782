/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/view.h"

#include <inttypes.h>
#include <string.h>

#include "base/str.h"
#include "cli/span.h"
#include "codec/json.h"

static void copy_text(const struct json *from, const char *key, struct json *to, const char *as)
{
    json_set_str(to, as, json_str(json_get(from, key), ""));
}

static void copy_list(const struct json *from, const char *key, struct json *to, const char *as)
{
    const struct json *list = json_get(from, key);

    json_set(to, as, json_is_arr(list) ? json_clone(list) : json_new_array());
}

/* ---- workloads */

/* "namespace/name" to "in" or "pending", of the workloads that this node runs. */
static struct json *local_states(const struct json *dump)
{
    struct json *states = json_new_object();
    AUTO(strbuf) struct strbuf key = {0};
    struct json_iter it = {0};

    while (json_each(json_get(dump, "workloadState"), &it)) {
        bool up = strcmp(json_str_at(it.value, "state", ""), "Up") == 0;
        strbuf_clear(&key);
        strbuf_printf(&key, "%s/%s", json_str_at(it.value, "info.namespace", ""),
                      json_str_at(it.value, "info.name", ""));
        json_set_str(states, strbuf_text(&key), up ? "in" : "pending");
    }
    return states;
}

static void set_identity(const struct json *w, struct json *row)
{
    AUTO(strbuf) struct strbuf b = {0};

    strbuf_printf(&b, "spiffe://%s/ns/%s/sa/%s", json_str_at(w, "trustDomain", "cluster.local"),
                  json_str_at(w, "namespace", ""), json_str_at(w, "serviceAccount", "default"));
    json_set_str(row, "identity", strbuf_text(&b));
}

static void set_waypoint(const struct json *from, struct json *row)
{
    json_set_str(row, "waypoint", json_str_at(from, "waypoint.destination", ""));
}

static struct json *workload_row(const struct json *w)
{
    struct json *row = json_new_object();

    copy_text(w, "namespace", row, "namespace");
    copy_text(w, "name", row, "name");
    copy_list(w, "workloadIps", row, "ips");
    copy_text(w, "node", row, "node");
    copy_text(w, "protocol", row, "protocol");
    set_identity(w, row);
    set_waypoint(w, row);
    copy_text(w, "status", row, "status");
    copy_list(w, "services", row, "services");
    copy_list(w, "authorizationPolicies", row, "policies");
    copy_text(w, "uid", row, "uid");
    return row;
}

static const char *state_of(const struct json *states, const struct json *w)
{
    AUTO(strbuf) struct strbuf key = {0};

    strbuf_printf(&key, "%s/%s", json_str_at(w, "namespace", ""), json_str_at(w, "name", ""));
    return json_str(json_get(states, strbuf_text(&key)), NULL);
}

void view_workloads(const struct json *dump, struct json *by_uid)
{
    const struct json *all = json_get(dump, "workloads");
    AUTO(json) struct json *states = local_states(dump);

    for (size_t i = 0; i < json_count(all); i++) {
        const struct json *w = json_item(all, i);
        const char *uid = json_str_at(w, "uid", "");
        const char *state = state_of(states, w);
        if (!json_get(by_uid, uid)) {
            bool tunnels = strcmp(json_str_at(w, "protocol", ""), "HBONE") == 0;
            struct json *row = workload_row(w);
            json_set_str(row, "mesh", tunnels ? "remote" : "no");
            json_set(by_uid, uid, row);
        }
        if (state) {
            json_set_str(json_get(by_uid, uid), "mesh", state);
        }
    }
}

/* ---- services */

static void set_ports(const struct json *s, struct json *row)
{
    struct json *ports = json_new_array();
    AUTO(strbuf) struct strbuf b = {0};
    struct json_iter it = {0};

    while (json_each(json_get(s, "ports"), &it)) {
        strbuf_clear(&b);
        strbuf_puts(&b, it.key);
        int64_t target = json_int(it.value, 0);
        AUTO(strbuf) struct strbuf number = {0};
        strbuf_printf(&number, "%" PRId64, target);
        if (target > 0 && strcmp(it.key, strbuf_text(&number)) != 0) {
            strbuf_printf(&b, "->%s", strbuf_text(&number));
        }
        json_append_str(ports, strbuf_text(&b));
    }
    json_set(row, "ports", ports);
}

static void set_endpoints(const struct json *s, struct json *row)
{
    AUTO(strbuf) struct strbuf b = {0};
    struct json_iter it = {0};
    unsigned all = 0;
    unsigned healthy = 0;

    while (json_each(json_get(s, "endpoints"), &it)) {
        all++;
        healthy += strcmp(json_str_at(it.value, "status", ""), "Healthy") == 0;
    }
    strbuf_printf(&b, "%u/%u", healthy, all);
    json_set_str(row, "endpoints", strbuf_text(&b));
}

/* "network/address" without the network where there is none. */
static void set_vips(const struct json *s, struct json *row)
{
    const struct json *all = json_get(s, "vips");
    struct json *vips = json_new_array();

    for (size_t i = 0; i < json_count(all); i++) {
        const char *vip = json_str(json_item(all, i), "");
        json_append_str(vips, vip[0] == '/' ? vip + 1 : vip);
    }
    const struct json *ranges = json_get(s, "cidrVips");
    for (size_t i = 0; i < json_count(ranges); i++) {
        json_append_str(vips, json_str_at(json_item(ranges, i), "cidr", ""));
    }
    json_set(row, "vips", vips);
}

void view_services(const struct json *dump, struct json *by_host)
{
    const struct json *all = json_get(dump, "services");
    AUTO(strbuf) struct strbuf key = {0};

    for (size_t i = 0; i < json_count(all); i++) {
        const struct json *s = json_item(all, i);
        strbuf_clear(&key);
        strbuf_printf(&key, "%s/%s", json_str_at(s, "namespace", ""),
                      json_str_at(s, "hostname", ""));
        if (json_get(by_host, strbuf_text(&key))) {
            continue;
        }
        struct json *row = json_new_object();
        copy_text(s, "namespace", row, "namespace");
        copy_text(s, "name", row, "name");
        copy_text(s, "hostname", row, "hostname");
        set_vips(s, row);
        set_ports(s, row);
        set_endpoints(s, row);
        set_waypoint(s, row);
        json_set(by_host, strbuf_text(&key), row);
    }
}

/* ---- certificates */

static void put_party(struct strbuf *out, const struct json *row, const char *name,
                      const char *address)
{
    const char *who = json_str_at(row, name, "");
    const char *at = json_str_at(row, address, "");

    strbuf_puts(out, who);
    if (strcmp(who, at) != 0) {
        strbuf_printf(out, " (%s)", at);
    }
}

void view_put_parties(const struct json *row, struct strbuf *out)
{
    put_party(out, row, "source", "source_address");
    strbuf_puts(out, " -> ");
    put_party(out, row, "destination", "destination_address");
}

bool view_is_near_end(int64_t from_s, int64_t until_s, int64_t now_s)
{
    return now_s < until_s && (until_s - now_s) * 5 < until_s - from_s;
}

static const char *cert_verdict(int64_t from_s, int64_t until_s, int64_t now_s)
{
    if (now_s >= until_s) {
        return "expired";
    }
    return view_is_near_end(from_s, until_s, now_s) ? "near its end" : "valid";
}

static struct json *cert_row(const struct json *entry, const char *node, const char *kind)
{
    struct json *row = json_new_object();

    json_set_str(row, "node", node);
    copy_text(entry, "identity", row, "identity");
    json_set_str(row, "kind", kind);
    copy_text(entry, "state", row, "state");
    return row;
}

static void add_cert(const struct json *entry, const struct json *cert, const char *node,
                     const char *kind, int64_t now_s, struct json *into)
{
    struct json *row = cert_row(entry, node, kind);
    int64_t from_s = 0;
    int64_t until_s = 0;

    if (span_time(json_str_at(cert, "validFrom", ""), &from_s) < 0 ||
        span_time(json_str_at(cert, "expirationTime", ""), &until_s) < 0) {
        json_set_str(row, "verdict", "missing");
        json_append(into, row);
        return;
    }
    json_set_str(row, "verdict", cert_verdict(from_s, until_s, now_s));
    copy_text(cert, "serialNumber", row, "serial");
    copy_text(cert, "validFrom", row, "not_before");
    copy_text(cert, "expirationTime", row, "not_after");
    json_set_int(row, "left_s", until_s - now_s);
    json_append(into, row);
}

void view_certs(const struct json *dump, const char *node, int64_t now_s, struct json *into)
{
    const struct json *all = json_get(dump, "certificates");

    for (size_t i = 0; i < json_count(all); i++) {
        const struct json *entry = json_item(all, i);
        const struct json *chain = json_get(entry, "certChain");
        const struct json *roots = json_get(entry, "rootCerts");
        if (json_count(chain) == 0) {
            add_cert(entry, NULL, node, "leaf", now_s, into);
        }
        for (size_t k = 0; k < json_count(chain); k++) {
            add_cert(entry, json_item(chain, k), node, k == 0 ? "leaf" : "intermediate", now_s,
                     into);
        }
        for (size_t k = 0; k < json_count(roots); k++) {
            add_cert(entry, json_item(roots, k), node, "root", now_s, into);
        }
    }
}

/* ---- policies */

void view_policies(const struct json *dump, struct json *into)
{
    const struct json *all = json_get(dump, "policies");

    for (size_t i = 0; i < json_count(all); i++) {
        const struct json *p = json_item(all, i);
        struct json *row = json_new_object();
        copy_text(p, "namespace", row, "namespace");
        copy_text(p, "name", row, "name");
        copy_text(p, "action", row, "action");
        copy_text(p, "scope", row, "scope");
        json_set_int(row, "rules", (int64_t)json_count(json_get(p, "rules")));
        json_set_bool(row, "dry_run", json_bool_at(p, "dryRun", false));
        json_set_str(row, "state", json_bool_at(p, "broken", false) ? "broken: denies" : "ok");
        json_append(into, row);
    }
}

/* ---- connections and records */

static const char *known(const struct json *r, const char *key)
{
    const char *text = json_str(json_get(r, key), "");

    return strcmp(text, "unknown") == 0 ? "" : text;
}

/* "shop/cart-1", or the address of somebody who is no workload. */
static void set_party(struct json *row, const char *as, const struct json *r, const char *ns_key,
                      const char *pod_key, const char *workload_key, const char *address_key)
{
    AUTO(strbuf) struct strbuf b = {0};
    const char *pod = known(r, pod_key);
    const char *name = *pod ? pod : known(r, workload_key);

    if (*name) {
        strbuf_printf(&b, "%s/%s", known(r, ns_key), name);
    } else {
        strbuf_puts(&b, json_str(json_get(r, address_key), ""));
    }
    json_set_str(row, as, strbuf_text(&b));
}

static const char *record_verdict(const char *flags)
{
    if (strcmp(flags, "-") == 0) {
        return "ok";
    }
    return strstr(flags, "DENY") ? "DENIED" : "FAILED";
}

static void copy_if_there(const struct json *r, const char *key, struct json *row)
{
    if (json_get(r, key)) {
        json_set(row, key, json_clone(json_get(r, key)));
    }
}

static void set_end(const struct json *r, struct json *row)
{
    static const char *const keys[] = {"to_server", "to_client", "age_ms", "duration_us",
                                       "time",      "flags",     "error"};

    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        copy_if_there(r, keys[i], row);
    }
    if (json_get(r, "flags")) {
        json_set_str(row, "verdict", record_verdict(json_str_at(r, "flags", "")));
    }
}

static struct json *access_row(const struct json *r, const char *node)
{
    struct json *row = json_new_object();
    bool outbound = strcmp(json_str_at(r, "reporter", ""), "source") == 0;

    json_set_str(row, "secured", json_bool_at(r, "mutual_tls", false) ? "mTLS" : "PLAINTEXT");
    json_set_str(row, "node", node);
    json_set_str(row, "direction", outbound ? "outbound" : "inbound");
    set_party(row, "source", r, "source_namespace", "src.pod", "source_workload", "src.addr");
    set_party(row, "destination", r, "destination_namespace", "dst.pod", "destination_workload",
              "dst.addr");
    copy_text(r, "src.addr", row, "source_address");
    copy_text(r, "dst.addr", row, "destination_address");
    json_set_str(row, "service", known(r, "destination_service"));
    json_set_str(row, "source_identity", known(r, "src.identity"));
    json_set_str(row, "destination_identity", known(r, "dst.identity"));
    set_end(r, row);
    return row;
}

void view_access(const struct json *records, const char *node, struct json *into)
{
    for (size_t i = 0; i < json_count(records); i++) {
        json_append(into, access_row(json_item(records, i), node));
    }
}

/* ---- filters */

static bool is_in(const char *value, const char *namespace)
{
    size_t len = strlen(namespace);

    return strncmp(value, namespace, len) == 0 && value[len] == '/';
}

static bool row_is_in(const struct json *row, const char *namespace)
{
    const char *own = json_str(json_get(row, "namespace"), NULL);

    if (own) {
        return strcmp(own, namespace) == 0;
    }
    return is_in(json_str_at(row, "source", ""), namespace) ||
           is_in(json_str_at(row, "destination", ""), namespace);
}

/* "cart" names shop/cart too; an address names any of its ports. */
static bool names(const char *value, const char *name)
{
    const char *slash = strchr(value, '/');
    size_t len = strlen(name);

    return strcmp(value, name) == 0 || (slash && strcmp(slash + 1, name) == 0) ||
           (strncmp(value, name, len) == 0 && value[len] == ':');
}

static bool list_has(const struct json *list, const char *name)
{
    for (size_t i = 0; i < json_count(list); i++) {
        if (names(json_str(json_item(list, i), ""), name)) {
            return true;
        }
    }
    return false;
}

static bool row_has_own_name(const struct json *row, const char *name)
{
    AUTO(strbuf) struct strbuf full = {0};

    strbuf_printf(&full, "%s/%s", json_str_at(row, "namespace", ""), json_str_at(row, "name", ""));
    return names(strbuf_text(&full), name);
}

static bool row_has_name(const struct json *row, const char *name)
{
    static const char *const texts[] = {
        "source",   "destination", "source_address",  "destination_address", "service",
        "hostname", "identity",    "source_identity", "destination_identity"};
    static const char *const lists[] = {"ips", "vips"};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        const char *text = json_str(json_get(row, texts[i]), NULL);
        if (text && names(text, name)) {
            return true;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        if (list_has(json_get(row, lists[i]), name)) {
            return true;
        }
    }
    return json_get(row, "name") && row_has_own_name(row, name);
}

static bool has_any_name(const struct json *row, const struct view_filter *f)
{
    for (unsigned i = 0; i < f->name_count; i++) {
        if (row_has_name(row, f->names[i])) {
            return true;
        }
    }
    return f->name_count == 0;
}

static bool keeps(const struct view_filter *f, const struct json *row)
{
    const char *direction = json_str_at(row, "direction", "");

    return (!f->namespace || row_is_in(row, f->namespace)) && has_any_name(row, f) &&
           (!f->direction || strcmp(direction, f->direction) == 0) &&
           (!f->only_plain || strcmp(json_str_at(row, "secured", ""), "PLAINTEXT") == 0) &&
           (!f->only_denied || strcmp(json_str_at(row, "verdict", ""), "DENIED") == 0);
}

struct json *view_filtered(const struct json *rows, const struct view_filter *f)
{
    struct json *kept = json_new_array();

    for (size_t i = 0; i < json_count(rows); i++) {
        if (keeps(f, json_item(rows, i))) {
            json_append(kept, json_ref(json_item(rows, i)));
        }
    }
    return kept;
}
