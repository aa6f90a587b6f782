/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/manifest_check.h"

#include <string.h>

#include "base/str.h"
#include "cli/near.h"
#include "codec/json.h"

/* ---- fields by name */

static void best_word(const char *words, const char *word, struct strbuf *out)
{
    struct slice rest = slice_of(words);
    struct slice one;
    bool more;
    const char *best = NULL;

    do {
        AUTO(strbuf) struct strbuf name = {0};
        more = slice_cut(rest, ' ', &one, &rest);
        strbuf_add(&name, one.p, one.len);
        if (near_best(word, best, strbuf_text(&name)) == strbuf_text(&name)) {
            strbuf_clear(out);
            strbuf_add(out, one.p, one.len);
            best = strbuf_text(out);
        }
    } while (more);
}

/* Every member of o is one of these words. */
static int check_fields(const struct json *o, const char *path, const char *words, struct diag *why)
{
    struct json_iter it = {0};

    while (json_each(o, &it)) {
        AUTO(strbuf) struct strbuf best = {0};
        if (slice_has_word(slice_of(words), ' ', it.key)) {
            continue;
        }
        best_word(words, it.key, &best);
        if (best.len > 0) {
            return FAIL(why, -ERR_SYNTAX, "%s.%s: no such field; did you mean %s?", path, it.key,
                        strbuf_text(&best));
        }
        return FAIL(why, -ERR_SYNTAX, "%s.%s: no such field; there are %s", path, it.key, words);
    }
    return 0;
}

static int check_choice(const struct json *o, const char *field, const char *path,
                        const char *words, struct diag *why)
{
    const struct json *v = json_get(o, field);
    const char *text = json_str(v, "");

    if (!v || slice_has_word(slice_of(words), ' ', text)) {
        return 0;
    }
    return FAIL(why, -ERR_SYNTAX, "%s: %s is not one of %s", path, *text ? text : "this", words);
}

/* Absent, or a list of strings. */
static int check_strings(const struct json *o, const char *path, const char *field,
                         struct diag *why)
{
    const struct json *v = json_get(o, field);

    if (v && !json_is_arr(v)) {
        return FAIL(why, -ERR_SYNTAX, "%s.%s: write a list: [\"...\"]", path, field);
    }
    for (size_t i = 0; i < json_count(v); i++) {
        if (json_kind(json_item(v, i)) != JSON_KIND_STRING) {
            return FAIL(why, -ERR_SYNTAX, "%s.%s[%zu]: put it in quotes: \"...\"", path, field, i);
        }
    }
    return 0;
}

static int check_all_strings(const struct json *o, const char *path, struct diag *why)
{
    struct json_iter it = {0};
    int r = 0;

    while (r == 0 && json_each(o, &it)) {
        r = check_strings(o, path, it.key, why);
    }
    return r;
}

int manifest_check_head(const struct json *o, struct diag *why)
{
    if (!json_is_obj(o)) {
        return FAIL(why, -ERR_SYNTAX, "this is no object; a manifest begins with apiVersion:");
    }
    if (!*json_str_at(o, "metadata.name", "")) {
        return FAIL(why, -ERR_SYNTAX, "metadata.name is missing");
    }
    return 0;
}

/* ---- services */

static int check_port(const struct json *port, size_t i, size_t count, struct diag *why)
{
    int64_t number = json_int_at(port, "port", 0);
    AUTO(strbuf) struct strbuf path = {0};

    strbuf_printf(&path, "spec.ports[%zu]", i);
    int r = check_fields(port, strbuf_text(&path),
                         "port targetPort name protocol appProtocol nodePort", why);
    if (r < 0) {
        return r;
    }
    if (number < 1 || number > 65535) {
        return FAIL(why, -ERR_SYNTAX, "spec.ports[%zu].port: write a number from 1 to 65535", i);
    }
    if (count > 1 && !*json_str_at(port, "name", "")) {
        return FAIL(why, -ERR_SYNTAX, "spec.ports[%zu].name is missing: several ports need names",
                    i);
    }
    return 0;
}

int manifest_check_service(const struct json *o, struct diag *why)
{
    const struct json *ports = json_at(o, "spec.ports");
    int r = 0;

    if (ports && !json_is_arr(ports)) {
        return FAIL(why, -ERR_SYNTAX, "spec.ports: write a list: - port: 80");
    }
    for (size_t i = 0; r == 0 && i < json_count(ports); i++) {
        r = check_port(json_item(ports, i), i, json_count(ports), why);
    }
    return r;
}

/* ---- policies */

static const char source_fields[] =
    "principals notPrincipals requestPrincipals notRequestPrincipals namespaces notNamespaces "
    "ipBlocks notIpBlocks remoteIpBlocks notRemoteIpBlocks serviceAccounts notServiceAccounts "
    "trustDomains notTrustDomains";
static const char operation_fields[] =
    "hosts notHosts ports notPorts methods notMethods paths notPaths";

/* One element of from or to: {source: {...}}. */
static int check_element(const struct json *element, const char *path, const char *name,
                         const char *fields, struct diag *why)
{
    const struct json *inner = json_get(element, name);
    AUTO(strbuf) struct strbuf where = {0};

    strbuf_printf(&where, "%s.%s", path, name);
    int r = check_fields(element, path, name, why);
    if (r == 0 && !json_is_obj(inner)) {
        r = FAIL(why, -ERR_SYNTAX, "%s is missing", strbuf_text(&where));
    }
    if (r == 0) {
        r = check_fields(inner, strbuf_text(&where), fields, why);
    }
    return r < 0 ? r : check_all_strings(inner, strbuf_text(&where), why);
}

static int check_elements(const struct json *rule, const char *path, const char *list,
                          const char *name, const char *fields, struct diag *why)
{
    const struct json *all = json_get(rule, list);
    int r = 0;

    if (all && !json_is_arr(all)) {
        return FAIL(why, -ERR_SYNTAX, "%s.%s: write a list: - %s:", path, list, name);
    }
    for (size_t i = 0; r == 0 && i < json_count(all); i++) {
        AUTO(strbuf) struct strbuf where = {0};
        strbuf_printf(&where, "%s.%s[%zu]", path, list, i);
        r = check_element(json_item(all, i), strbuf_text(&where), name, fields, why);
    }
    return r;
}

static int check_when(const struct json *rule, const char *path, struct diag *why)
{
    const struct json *all = json_get(rule, "when");

    for (size_t i = 0; i < json_count(all); i++) {
        AUTO(strbuf) struct strbuf where = {0};
        strbuf_printf(&where, "%s.when[%zu]", path, i);
        int r = check_fields(json_item(all, i), strbuf_text(&where), "key values notValues", why);
        if (r == 0 && !*json_str_at(json_item(all, i), "key", "")) {
            r = FAIL(why, -ERR_SYNTAX, "%s.key is missing", strbuf_text(&where));
        }
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static int check_rule(const struct json *rule, size_t i, struct diag *why)
{
    AUTO(strbuf) struct strbuf path = {0};

    strbuf_printf(&path, "spec.rules[%zu]", i);
    int r = check_fields(rule, strbuf_text(&path), "from to when", why);
    if (r == 0) {
        r = check_elements(rule, strbuf_text(&path), "from", "source", source_fields, why);
    }
    if (r == 0) {
        r = check_elements(rule, strbuf_text(&path), "to", "operation", operation_fields, why);
    }
    return r < 0 ? r : check_when(rule, strbuf_text(&path), why);
}

int manifest_check_authorization(const struct json *o, struct diag *why)
{
    const struct json *spec = json_get(o, "spec");
    const struct json *rules = json_get(spec, "rules");
    int r = check_fields(spec, "spec", "selector targetRef targetRefs action provider rules", why);

    if (r == 0) {
        r = check_choice(spec, "action", "spec.action", "ALLOW DENY AUDIT CUSTOM", why);
    }
    if (r == 0 && rules && !json_is_arr(rules)) {
        r = FAIL(why, -ERR_SYNTAX, "spec.rules: write a list: - from:");
    }
    for (size_t i = 0; r == 0 && i < json_count(rules); i++) {
        r = check_rule(json_item(rules, i), i, why);
    }
    return r;
}

int manifest_check_peer(const struct json *o, struct diag *why)
{
    static const char modes[] = "UNSET DISABLE PERMISSIVE STRICT";
    const struct json *spec = json_get(o, "spec");
    struct json_iter it = {0};
    int r = check_fields(spec, "spec", "selector mtls portLevelMtls", why);

    if (r == 0) {
        r = check_choice(json_get(spec, "mtls"), "mode", "spec.mtls.mode", modes, why);
    }
    while (r == 0 && json_each(json_get(spec, "portLevelMtls"), &it)) {
        AUTO(strbuf) struct strbuf path = {0};
        strbuf_printf(&path, "spec.portLevelMtls.%s.mode", it.key);
        r = check_choice(it.value, "mode", strbuf_text(&path), modes, why);
    }
    return r;
}
