/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/num.h"
#include "control/policy_fields_int.h"
#include "control/trust_alias.h"

/* What is left of one entry when its fields have been read. */
struct entry_state {
    struct policy_build *b;
    const struct json *object; /* that has the lists of values */
    bool has_field;            /* something was written into the match */
    bool is_never;             /* an ALLOW that must not match */
};

static void note_unknown(struct policy_build *b, const char *name)
{
    b->rule_is_lossy = true;
    for (unsigned i = 0; i < b->unknown_count; i++) {
        if (strcmp(b->unknown[i], name) == 0) {
            return;
        }
    }
    if (b->unknown_count < POLICY_UNKNOWN_MAX) {
        b->unknown[b->unknown_count++] = name;
    }
}

static void note_unknown_fields(struct policy_build *b, const struct json *object,
                                const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (json_count(json_get(object, names[i])) > 0) {
            note_unknown(b, names[i]);
        }
    }
}

static const char *name_in(const struct json *object, const struct json *values)
{
    for (struct json_iter it = {0}; json_each(object, &it);) {
        if (it.value == values) {
            return it.key;
        }
    }
    return "";
}

/* By its place in the object, with what it should be. */
static void note_bad(const struct entry_state *e, const struct json *values, size_t i,
                     const char *what)
{
    AUTO(strbuf) struct strbuf text = {0};
    const char *parent = strcmp(e->b->list, "from") == 0 ? ".source"
                         : strcmp(e->b->list, "to") == 0 ? ".operation"
                                                         : "";

    if (!e->b->bad_value) {
        strbuf_printf(&text, "spec.rules[%zu].%s[%zu]%s.%s[%zu]: '%.64s' is %s", e->b->rule,
                      e->b->list, e->b->at, parent, name_in(e->object, values), i,
                      json_str(json_item(values, i), ""), what);
        e->b->bad_value = arena_text(e->b->arena, strbuf_text(&text), text.len);
    }
}

/* A list of values was read, good of them could be. An ALLOW entry with an exclusion that is not
 * understood, or with a demand nothing can meet, matches nothing; in a DENY such a value is as if it
 * were not there. */
static void settle(struct entry_state *e, const struct json *values, size_t good, bool is_negative,
                   bool bad)
{
    if (good > 0) {
        e->has_field = true;
    }
    if (e->b->action == POLICY_ALLOW && json_count(values) > 0 &&
        (good == 0 || (bad && is_negative))) {
        e->is_never = true;
    }
}

/* ---- values */

static struct str_match str_match_of(struct arena *a, const char *text)
{
    size_t n = strlen(text);

    if (strcmp(text, "*") == 0) {
        return (struct str_match){MATCH_PRESENCE, ""};
    }
    if (text[0] == '*') {
        return (struct str_match){MATCH_SUFFIX, text + 1};
    }
    if (n > 0 && text[n - 1] == '*') {
        return (struct str_match){MATCH_PREFIX, arena_text(a, text, n - 1)};
    }
    return (struct str_match){MATCH_EXACT, text};
}

/* Each may stand for others, too. NULL: they stand for themselves. */
typedef size_t expand_fn(const struct mesh *m, const char *text, const char **out, struct arena *a);

static void read_some(struct entry_state *e, const struct json *values, bool is_negative,
                      expand_fn *expand, struct str_matches *out)
{
    size_t each = expand ? trust_alias_count(e->b->mesh) : 0;
    struct str_match *m = arena_array(e->b->arena, json_count(values) * (1 + each), sizeof(*m));
    const char **others = arena_array(e->b->arena, each, sizeof(*others));
    bool bad = false;
    size_t good = 0;

    for (size_t i = 0; i < json_count(values); i++) {
        const char *text = json_str(json_item(values, i), NULL);
        if (!text) {
            bad = true;
            note_bad(e, values, i, "no text");
            continue;
        }
        m[good++] = str_match_of(e->b->arena, text);
        size_t more = each > 0 ? expand(e->b->mesh, text, others, e->b->arena) : 0;
        for (size_t k = 0; k < more; k++) {
            m[good++] = str_match_of(e->b->arena, others[k]);
        }
    }
    *out = (struct str_matches){m, good};
    settle(e, values, good, is_negative, bad);
}

static void read_strs(struct entry_state *e, const struct json *values, bool is_negative,
                      struct str_matches *out)
{
    read_some(e, values, is_negative, NULL, out);
}

static void read_principals(struct entry_state *e, const struct json *values, bool is_negative,
                            struct str_matches *out)
{
    read_some(e, values, is_negative, trust_alias_expand, out);
}

static void read_ips(struct entry_state *e, const struct json *values, bool is_negative,
                     struct ip_matches *out)
{
    struct ip_prefix *m = arena_array(e->b->arena, json_count(values), sizeof(*m));
    bool bad = false;
    size_t good = 0;

    for (size_t i = 0; i < json_count(values); i++) {
        const char *text = json_str(json_item(values, i), "");
        if (ip_prefix_parse(&m[good], text, strlen(text)) == 0) {
            good++;
        } else {
            bad = true;
            note_bad(e, values, i, "no address and no CIDR block");
        }
    }
    *out = (struct ip_matches){m, good};
    settle(e, values, good, is_negative, bad);
}

static void read_ports(struct entry_state *e, const struct json *values, bool is_negative,
                       struct port_matches *out)
{
    uint16_t *m = arena_array(e->b->arena, json_count(values), sizeof(*m));
    bool bad = false;
    size_t good = 0;

    for (size_t i = 0; i < json_count(values); i++) {
        const char *text = json_str(json_item(values, i), "");
        uint32_t port;
        if (num_parse_u32(text, strlen(text), UINT16_MAX, &port) == 0) {
            m[good++] = (uint16_t)port;
        } else {
            bad = true;
            note_bad(e, values, i, "no port: write a number up to 65535");
        }
    }
    *out = (struct port_matches){m, good};
    settle(e, values, good, is_negative, bad);
}

/* "namespace/account", or an account of the policy's own namespace. */
static void read_accounts(struct entry_state *e, const struct json *values, bool is_negative,
                          struct account_matches *out)
{
    struct account_match *m = arena_array(e->b->arena, json_count(values), sizeof(*m));
    bool bad = false;
    size_t good = 0;

    for (size_t i = 0; i < json_count(values); i++) {
        struct slice text = slice_of(json_str(json_item(values, i), ""));
        struct slice ns;
        struct slice account;
        if (text.len == 0) {
            bad = true;
            note_bad(e, values, i, "no service account");
        } else if (slice_cut(text, '/', &ns, &account)) {
            m[good++] = (struct account_match){arena_text(e->b->arena, ns.p, ns.len), account.p};
        } else {
            m[good++] = (struct account_match){e->b->ns, text.p};
        }
    }
    *out = (struct account_matches){m, good};
    settle(e, values, good, is_negative, bad);
}

/* ---- entries */

static bool finish(const struct entry_state *e, struct policy_match *out)
{
    if (e->is_never) {
        *out = (struct policy_match){.namespaces = {.count = 0}};
    }
    return e->b->action == POLICY_DENY && !e->has_field;
}

bool policy_operation_read(struct policy_build *b, const struct json *entry,
                           struct policy_match *out)
{
    static const char *const layer7[] = {"hosts",      "notHosts", "methods",
                                         "notMethods", "paths",    "notPaths"};
    const struct json *o = json_object_at(entry, "operation");
    struct entry_state e = {.b = b, .object = o};

    note_unknown_fields(b, o, layer7, ARRAY_LEN(layer7));
    read_ports(&e, json_array_at(o, "ports"), false, &out->destination_ports);
    read_ports(&e, json_array_at(o, "notPorts"), true, &out->not_destination_ports);
    return finish(&e, out);
}

bool policy_source_read(struct policy_build *b, const struct json *entry, struct policy_match *out)
{
    static const char *const layer7[] = {"requestPrincipals", "notRequestPrincipals",
                                         "remoteIpBlocks",    "notRemoteIpBlocks",
                                         "trustDomains",      "notTrustDomains"};
    const struct json *s = json_object_at(entry, "source");
    struct entry_state e = {.b = b, .object = s};

    note_unknown_fields(b, s, layer7, ARRAY_LEN(layer7));
    read_principals(&e, json_array_at(s, "principals"), false, &out->principals);
    read_principals(&e, json_array_at(s, "notPrincipals"), true, &out->not_principals);
    read_strs(&e, json_array_at(s, "namespaces"), false, &out->namespaces);
    read_strs(&e, json_array_at(s, "notNamespaces"), true, &out->not_namespaces);
    read_accounts(&e, json_array_at(s, "serviceAccounts"), false, &out->service_accounts);
    read_accounts(&e, json_array_at(s, "notServiceAccounts"), true, &out->not_service_accounts);
    read_ips(&e, json_array_at(s, "ipBlocks"), false, &out->source_ips);
    read_ips(&e, json_array_at(s, "notIpBlocks"), true, &out->not_source_ips);
    return finish(&e, out);
}

bool policy_condition_read(struct policy_build *b, const struct json *entry,
                           struct policy_match *out)
{
    const char *key = json_str_at(entry, "key", "");
    const struct json *values = json_array_at(entry, "values");
    const struct json *without = json_array_at(entry, "notValues");
    struct entry_state e = {.b = b, .object = entry};

    if (strcmp(key, "source.ip") == 0) {
        read_ips(&e, values, false, &out->source_ips);
        read_ips(&e, without, true, &out->not_source_ips);
    } else if (strcmp(key, "destination.ip") == 0) {
        read_ips(&e, values, false, &out->destination_ips);
        read_ips(&e, without, true, &out->not_destination_ips);
    } else if (strcmp(key, "source.namespace") == 0) {
        read_strs(&e, values, false, &out->namespaces);
        read_strs(&e, without, true, &out->not_namespaces);
    } else if (strcmp(key, "source.principal") == 0) {
        read_principals(&e, values, false, &out->principals);
        read_principals(&e, without, true, &out->not_principals);
    } else if (strcmp(key, "destination.port") == 0) {
        read_ports(&e, values, false, &out->destination_ports);
        read_ports(&e, without, true, &out->not_destination_ports);
    } else {
        note_unknown(b, key);
    }
    return finish(&e, out);
}
