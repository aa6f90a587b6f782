/* SPDX-License-Identifier: Apache-2.0 */
/* Services: addresses out of the cluster's ranges, families, port names. */
#include <string.h>

#include "apiserver/admit.h"
#include "apiserver/call_int.h"
#include "apiserver/fault.h"
#include "apiserver/object.h"
#include "apiserver/store.h"
#include "base/ip.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/rand.h"
#include "codec/json.h"

enum { ALLOCATE_TRIES = 64 /* at random; then one by one */, ALLOCATE_SCAN = 4096 };
enum { KEPT_MIN = 16, KEPT_MAX = 256, KEPT_PART = 16 };

static bool is_headless(const struct json *spec)
{
    return strcmp(json_str_at(spec, "clusterIP", ""), "None") == 0;
}

static bool is_external(const struct json *spec)
{
    return strcmp(json_str_at(spec, "type", ""), "ExternalName") == 0;
}

/* ---- ports */

static void fault_at_port(struct admission *a, enum fault_kind kind, size_t i, const char *field,
                          const char *detail)
{
    AUTO(strbuf) struct strbuf path = {0};

    strbuf_printf(&path, "spec.ports[%zu]%s", i, field);
    faults_add(a->faults, kind, strbuf_text(&path), detail);
}

static bool same_port(const struct json *p, const struct json *q)
{
    return json_int_at(p, "port", 0) == json_int_at(q, "port", 0) &&
           strcmp(json_str_at(p, "protocol", ""), json_str_at(q, "protocol", "")) == 0;
}

static void check_duplicates(struct admission *a, const struct json *ports, size_t i)
{
    const char *name = json_str_at(json_item(ports, i), "name", "");

    for (size_t j = 0; j < i; j++) {
        const struct json *other = json_item(ports, j);
        if (name[0] != '\0' && strcmp(name, json_str_at(other, "name", "")) == 0) {
            AUTO(strbuf) struct strbuf quoted = {0};
            strbuf_printf(&quoted, "\"%.64s\"", name);
            fault_at_port(a, FAULT_DUPLICATE, i, ".name", strbuf_text(&quoted));
        }
        if (same_port(other, json_item(ports, i))) {
            fault_at_port(a, FAULT_DUPLICATE, i, "", "port and protocol");
        }
    }
}

static void check_ports(struct admission *a, const struct json *spec)
{
    const struct json *ports = json_get(spec, "ports");
    size_t n = json_count(ports);

    if (n == 0 && !is_headless(spec) && !is_external(spec)) {
        faults_add(a->faults, FAULT_REQUIRED, "spec.ports", NULL);
    }
    if (n > 100) {
        faults_add(a->faults, FAULT_TOO_LONG, "spec.ports", "must have at most 100 items");
        return;
    }
    for (size_t i = 0; i < n; i++) {
        struct json *p = json_item(ports, i);
        if (!json_get(p, "targetPort") && !is_external(spec)) {
            json_set_int(p, "targetPort", json_int_at(p, "port", 0));
        }
        if (n > 1 && json_str_at(p, "name", "")[0] == '\0') {
            fault_at_port(a, FAULT_REQUIRED, i, ".name", NULL);
        }
        check_duplicates(a, ports, i);
    }
}

/* ---- addresses */

static bool lists(const char *addresses, const char *text)
{
    struct slice part;
    struct slice rest = slice_of(addresses);
    bool more = true;

    while (more) {
        more = slice_cut(rest, ',', &part, &rest);
        if (slice_is(part, text)) {
            return true;
        }
    }
    return false;
}

static bool is_used(const struct admission *a, const char *text)
{
    const char *name = json_str_at(a->object, "metadata.name", "");
    const char *ns = json_str_at(a->object, "metadata.namespace", "");
    struct cursor at;
    struct object *o = NULL;
    bool used = false;

    if (cursor_init(&at, a->api->store, a->kind, "", 0) < 0) {
        return false; /* the newest state is always there */
    }
    while (!used && (o = cursor_next(&at)) != NULL) {
        bool own = strcmp(o->name, name) == 0 && strcmp(o->ns, ns) == 0;
        used = !own && lists(o->fields[2], text); /* selectable[2] is spec.clusterIPs */
    }
    cursor_fini(&at);
    return used;
}

/* How many addresses a range has to give, within the last 32 bits: all but the first and the last. */
static uint32_t usable_of(const struct ip_prefix *range)
{
    unsigned host_bits = (unsigned)(ip_size(&range->ip) * 8) - range->len;
    uint32_t hosts = host_bits >= 32 ? UINT32_MAX : (uint32_t)((1u << host_bits) - 1u);

    return hosts < 3 ? 0 : hosts - 1;
}

/* So many of them, from the first on, are for services that name theirs: they are given to others only
 * where nothing else is left, so that chance takes nobody's address (Kubernetes' ClusterIP static
 * sub-range). */
static uint32_t kept_of(uint32_t usable)
{
    uint32_t part = MAX_OF(usable / KEPT_PART, (uint32_t)KEPT_MIN);

    return usable < KEPT_MIN ? 0 : MIN_OF(part, (uint32_t)KEPT_MAX);
}

static struct ip nth_address(const struct ip_prefix *range, uint32_t n)
{
    size_t size = ip_size(&range->ip);
    struct ip ip = range->ip;

    for (size_t i = 0; i < 4; i++) {
        ip.bytes[size - 1 - i] |= (uint8_t)((1 + n) >> (8 * i));
    }
    return ip;
}

static bool allocate(const struct admission *a, const struct ip_prefix *range, char *text)
{
    uint32_t usable = usable_of(range);
    uint32_t kept = kept_of(usable);

    for (int i = 0; usable > 0 && i < ALLOCATE_TRIES; i++) {
        struct ip ip = nth_address(range, kept + (uint32_t)(rand_u64() % (usable - kept)));
        if (!is_used(a, ip_format(&ip, text))) {
            return true;
        }
    }
    for (uint32_t n = 0; n < MIN_OF(usable, (uint32_t)ALLOCATE_SCAN); n++) {
        struct ip ip = nth_address(range, (uint32_t)((n + (uint64_t)kept) % usable));
        if (!is_used(a, ip_format(&ip, text))) {
            return true;
        }
    }
    return false;
}

static const struct ip_prefix *range_of(const struct admission *a, enum ip_family family)
{
    const struct ip_prefix *r =
        family == IP_V4 ? &a->api->config.service_cidr4 : &a->api->config.service_cidr6;

    return r->ip.family == IP_NONE ? NULL : r;
}

static const char *family_name(enum ip_family family)
{
    return family == IP_V4 ? "IPv4" : "IPv6";
}

/* The families that the service shall have, in order: what it asks for, else what the cluster has. */
static size_t choose_families(struct admission *a, struct json *spec, enum ip_family out[2])
{
    const struct json *asked = json_get(spec, "ipFamilies");
    const char *policy = json_str_at(spec, "ipFamilyPolicy", "");
    bool dual = strcmp(policy, "PreferDualStack") == 0 || strcmp(policy, "RequireDualStack") == 0;
    size_t n = 0;

    for (size_t i = 0; i < json_count(asked) && n < 2; i++) {
        out[n++] = strcmp(json_str(json_item(asked, i), ""), "IPv6") == 0 ? IP_V6 : IP_V4;
    }
    if (n == 0 && is_headless(spec) && policy[0] == '\0' &&
        json_count(json_get(spec, "selector")) == 0) {
        out[n++] = IP_V4; /* no pods of ours: the endpoints may have any family */
        out[n++] = IP_V6;
    }
    if (n == 0) {
        out[n++] = range_of(a, IP_V4) ? IP_V4 : IP_V6;
    }
    if (n == 1 && dual) {
        enum ip_family other = out[0] == IP_V4 ? IP_V6 : IP_V4;
        if (range_of(a, other)) {
            out[n++] = other;
        } else if (strcmp(policy, "RequireDualStack") == 0) {
            faults_add(a->faults, FAULT_INVALID, "spec.ipFamilyPolicy",
                       "\"RequireDualStack\": this server is configured with one address family");
        }
    }
    if (policy[0] == '\0') {
        json_set_str(spec, "ipFamilyPolicy", n == 2 ? "RequireDualStack" : "SingleStack");
    }
    return n;
}

static void fault_address(struct admission *a, const char *text, const char *problem)
{
    faults_addf(a->faults, FAULT_INVALID, "spec.clusterIPs", "[\"%.46s\"]: %s", text, problem);
}

/* The address that the user has chosen for this place, or one of ours. */
static void give_address(struct admission *a, struct json *spec, size_t i, enum ip_family family,
                         struct json *addresses)
{
    const struct json *asked = json_item(json_get(spec, "clusterIPs"), i);
    const char *text = json_str(asked, i == 0 ? json_str_at(spec, "clusterIP", "") : "");
    char buf[IP_TEXT];
    struct ip ip;

    if (text[0] == '\0') {
        if (!range_of(a, family) || !allocate(a, range_of(a, family), buf)) {
            fault_address(a, family_name(family), "no address of this family is to be had");
            return;
        }
        text = buf;
    } else if (ip_parse(&ip, text, strlen(text)) < 0) {
        fault_address(a, text, "must be a valid IP address");
    } else if (ip.family != family) {
        fault_address(a, text, "does not match the family in spec.ipFamilies");
    } else if (is_used(a, text)) {
        AUTO(strbuf) struct strbuf why = {0};
        strbuf_printf(&why, "failed to allocate IP %.46s: provided IP is already allocated", text);
        fault_address(a, text, strbuf_text(&why));
    }
    json_append_str(addresses, text);
}

/* An address without families says by itself which one it is. */
static void take_family_from_address(struct json *spec)
{
    const char *text = json_str_at(spec, "clusterIP", "");
    struct ip ip;

    if (!json_get(spec, "ipFamilies") && ip_parse(&ip, text, strlen(text)) == 0) {
        json_append_str(json_make_array(spec, "ipFamilies"),
                        family_name(ip.family == IP_V4 ? IP_V4 : IP_V6));
    }
}

static void give_addresses(struct admission *a, struct json *spec)
{
    enum ip_family families[2];
    struct json *addresses = json_new_array();
    bool headless = is_headless(spec);

    take_family_from_address(spec);
    size_t n = choose_families(a, spec, families);
    for (size_t i = 0; i < n && !headless; i++) {
        give_address(a, spec, i, families[i], addresses);
    }
    if (headless) {
        json_append_str(addresses, "None");
    }
    json_set_str(spec, "clusterIP", json_str(json_item(addresses, 0), ""));
    json_set(spec, "clusterIPs", addresses);
    struct json *names = json_make_array(spec, "ipFamilies");
    json_clear(names);
    for (size_t i = 0; i < n; i++) {
        json_append_str(names, family_name(families[i]));
    }
}

/* ---- updates */

static void keep_when_absent(struct json *spec, const struct json *old, const char *key)
{
    if (!json_get(spec, key) && json_get(old, key)) {
        json_set(spec, key, json_clone(json_get(old, key)));
    }
}

static void check_kept(struct admission *a, struct json *spec, const struct json *old)
{
    const char *was = json_str_at(old, "clusterIP", "");
    const char *is = NULL;

    keep_when_absent(spec, old, "clusterIP");
    is = json_str_at(spec, "clusterIP", "");
    if (strcmp(was, is) == 0) {
        keep_when_absent(spec, old, "clusterIPs");
    }
    keep_when_absent(spec, old, "ipFamilies");
    keep_when_absent(spec, old, "ipFamilyPolicy");
    if (was[0] != '\0' && (strcmp(was, is) != 0 ||
                           !json_same(json_get(spec, "clusterIPs"), json_get(old, "clusterIPs")))) {
        faults_addf(a->faults, FAULT_INVALID, "spec.clusterIPs[0]",
                    "[\"%.46s\"]: may not change once set", is);
    }
}

static void drop_addresses(struct json *spec)
{
    static const char *const keys[] = {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"};

    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        (void)json_remove(spec, keys[i]); /* absent is fine */
    }
}

void admit_service(struct admission *a)
{
    struct json *spec = json_get(a->object, "spec");
    const struct json *old = json_get(a->old, "spec");

    check_ports(a, spec);
    if (is_external(spec)) {
        drop_addresses(spec);
        if (json_str_at(spec, "externalName", "")[0] == '\0') {
            faults_add(a->faults, FAULT_REQUIRED, "spec.externalName", NULL);
        }
        return;
    }
    if (old && !is_external(old)) {
        check_kept(a, spec, old);
    } else if (a->faults->count == 0) {
        give_addresses(a, spec);
    }
}
