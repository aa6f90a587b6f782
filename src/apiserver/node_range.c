/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/node_range.h"

#include <string.h>

#include "apiserver/call_int.h"
#include "apiserver/fault.h"
#include "apiserver/object.h"
#include "apiserver/permit.h"
#include "apiserver/store.h"
#include "codec/json.h"

/* ---- ranges */

struct ranges {
    struct ip_prefix at[NODE_RANGES_MAX];
    unsigned count;
    const char *strange; /* is none, or one too many */
};

static bool prefix_equal(const struct ip_prefix *a, const struct ip_prefix *b)
{
    return a->len == b->len && ip_equal(&a->ip, &b->ip);
}

static bool overlap(const struct ip_prefix *a, const struct ip_prefix *b)
{
    return a->len <= b->len ? ip_prefix_has(a, &b->ip) : ip_prefix_has(b, &a->ip);
}

static bool has_range(const struct ranges *r, const struct ip_prefix *p)
{
    for (unsigned i = 0; i < r->count; i++) {
        if (prefix_equal(&r->at[i], p)) {
            return true;
        }
    }
    return false;
}

static void add_range(struct ranges *r, const char *text)
{
    struct ip_prefix p;
    bool good = ip_prefix_parse(&p, text, strlen(text)) == 0;

    if (text[0] == '\0' || (good && has_range(r, &p))) {
        return;
    }
    if (!good || r->count == NODE_RANGES_MAX) {
        r->strange = text;
        return;
    }
    r->at[r->count++] = p;
}

/* Whoever reads a Node may look at either field: both count. */
static void read_ranges(const struct json *node, struct ranges *out)
{
    const struct json *all = json_at(node, "spec.podCIDRs");

    *out = (struct ranges){.count = 0};
    add_range(out, json_str_at(node, "spec.podCIDR", ""));
    for (size_t i = 0; i < json_count(all); i++) {
        add_range(out, json_str(json_item(all, i), ""));
    }
}

static bool same_ranges(const struct ranges *a, const struct ranges *b)
{
    bool same = a->count == b->count && !a->strange && !b->strange;

    for (unsigned i = 0; same && i < a->count; i++) {
        same = has_range(b, &a->at[i]);
    }
    return same;
}

static void put_ranges(const struct ranges *r, struct strbuf *out)
{
    char text[IP_PREFIX_TEXT];

    for (unsigned i = 0; i < r->count; i++) {
        strbuf_printf(out, "%s%s", i > 0 ? ", " : "", ip_prefix_format(&r->at[i], text));
    }
}

static void check_width(struct faults *f, const struct ip_prefix *p)
{
    enum { V4_BITS_MIN = 16, V6_BITS_MIN = 48 };
    unsigned min = p->ip.family == IP_V4 ? V4_BITS_MIN : V6_BITS_MIN;
    char text[IP_PREFIX_TEXT];

    if (p->len < min) {
        faults_addf(f, FAULT_FORBIDDEN, "spec.podCIDRs", "%s: a node may take a /%u at most",
                    ip_prefix_format(p, text), min);
    }
}

/* Such addresses are of the host itself, of a link, of groups. */
static void check_use(struct faults *f, const struct ip_prefix *p)
{
    static const char *const others[] = {"0.0.0.0/8",   "127.0.0.0/8", "169.254.0.0/16",
                                         "224.0.0.0/3", "::/16",       "fe80::/10",
                                         "ff00::/8"};
    struct ip_prefix other;
    char text[IP_PREFIX_TEXT];

    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        if (ip_prefix_parse(&other, others[i], strlen(others[i])) == 0 && overlap(p, &other)) {
            faults_addf(f, FAULT_FORBIDDEN, "spec.podCIDRs", "%s: pods cannot be in %s",
                        ip_prefix_format(p, text), others[i]);
        }
    }
}

static void check_apart(struct faults *f, const struct ip_prefix *p, const struct ip_prefix *other,
                        const char *whose)
{
    char mine[IP_PREFIX_TEXT];
    char its[IP_PREFIX_TEXT];

    if (other->ip.family != IP_NONE && overlap(p, other)) {
        faults_addf(f, FAULT_FORBIDDEN, "spec.podCIDRs",
                    "give another --pod-cidr: %s overlaps %s of %s", ip_prefix_format(p, mine),
                    ip_prefix_format(other, its), whose);
    }
}

static void check_against_node(const struct object *o, const struct ranges *mine, struct faults *f)
{
    AUTO(json) struct json *node = object_parse(o, "v1");
    AUTO(strbuf) struct strbuf whose = {0};
    struct ranges its;

    if (!node) {
        faults_addf(f, FAULT_FORBIDDEN, "spec.podCIDRs", "node %s cannot be read: try again",
                    o->name);
    }
    read_ranges(node, &its);
    strbuf_printf(&whose, "node %s", o->name);
    for (unsigned i = 0; i < mine->count; i++) {
        for (unsigned k = 0; k < its.count; k++) {
            check_apart(f, &mine->at[i], &its.at[k], strbuf_text(&whose));
        }
    }
}

static void check_against_nodes(const struct call *c, const struct ranges *mine, struct faults *f)
{
    struct cursor at;
    const struct object *o = NULL;

    if (cursor_init(&at, c->api->store, c->kind, "", 0) < 0) {
        return; /* the newest state is always there */
    }
    while ((o = cursor_next(&at)) != NULL) {
        if (strcmp(o->name, c->rq->user->node) != 0) {
            check_against_node(o, mine, f);
        }
    }
    cursor_fini(&at);
}

static void check_new_ranges(const struct call *c, const struct ranges *mine, struct faults *f)
{
    const struct api_config *config = &c->api->config;

    if (mine->strange) {
        faults_addf(f, FAULT_INVALID, "spec.podCIDRs",
                    "\"%.64s\": a node has at most %d ranges like 10.244.1.0/24", mine->strange,
                    NODE_RANGES_MAX);
    }
    for (unsigned i = 0; i < mine->count; i++) {
        check_width(f, &mine->at[i]);
        check_use(f, &mine->at[i]);
        check_apart(f, &mine->at[i], &config->service_cidr4, "services");
        check_apart(f, &mine->at[i], &config->service_cidr6, "services");
    }
    check_against_nodes(c, mine, f);
}

static void check_node(const struct call *c, const struct json *node, const struct json *old,
                       struct faults *f)
{
    AUTO(strbuf) struct strbuf text = {0};
    struct ranges is;
    struct ranges was;

    if (json_same(json_at(node, "spec.podCIDR"), json_at(old, "spec.podCIDR")) &&
        json_same(json_at(node, "spec.podCIDRs"), json_at(old, "spec.podCIDRs"))) {
        return;
    }
    read_ranges(node, &is);
    read_ranges(old, &was);
    if (same_ranges(&is, &was)) {
        return;
    }
    if (was.count > 0 || was.strange) {
        put_ranges(&was, &text);
        faults_addf(f, FAULT_FORBIDDEN, "spec.podCIDRs",
                    "stays %s: only an administrator changes it (ambit delete node %s forgets it)",
                    strbuf_text(&text), c->rq->user->node);
        return;
    }
    check_new_ranges(c, &is, f);
}

/* ---- addresses */

static bool is_address(const char *text, const struct ip *ip)
{
    struct ip other;

    return ip_parse(&other, text, strlen(text)) == 0 && ip_equal(&other, ip);
}

static bool has_in_list(const struct json *pod, const struct ip *ip)
{
    const struct json *all = json_at(pod, "status.podIPs");
    bool has = false;

    for (size_t i = 0; !has && i < json_count(all); i++) {
        has = is_address(json_str_at(json_item(all, i), "ip", ""), ip);
    }
    return has;
}

static bool has_address(const struct json *pod, const struct ip *ip)
{
    return is_address(json_str_at(pod, "status.podIP", ""), ip) || has_in_list(pod, ip);
}

static bool is_end(const char *phase)
{
    return strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0;
}

static bool has_ended(const struct json *pod)
{
    return is_end(json_str_at(pod, "status.phase", ""));
}

struct wanted {
    struct ip ip;
    int place; /* in status.podIPs; -1: status.podIP */
};

struct address_check {
    const struct call *c;
    struct faults *f;
    const struct json *old; /* NULL: none of its addresses is the pod's any more */
    struct ranges own;
    struct wanted news[NODE_POD_ADDRESSES_MAX + 1];
    unsigned count;
};

static void put_place(int place, struct strbuf *out)
{
    if (place < 0) {
        strbuf_puts(out, "status.podIP");
    } else {
        strbuf_printf(out, "status.podIPs[%d].ip", place);
    }
}

static void refuse_holder(struct address_check *k, const struct wanted *w, const struct object *o)
{
    AUTO(strbuf) struct strbuf field = {0};
    char text[IP_TEXT];

    put_place(w->place, &field);
    faults_addf(k->f, FAULT_FORBIDDEN, strbuf_text(&field),
                "%s is pod %s/%s's on node %s: take another", ip_format(&w->ip, text), o->ns,
                o->name, o->fields[0]);
}

/* What one of its fields lists. */
static void check_list(struct address_check *k, const struct object *o, const char *list)
{
    struct slice part;
    struct slice rest = slice_of(list);
    struct ip ip;

    while (rest.len > 0) {
        (void)slice_cut(rest, ',', &part, &rest); /* behind the last one, rest is empty */
        bool good = ip_parse(&ip, part.p, part.len) == 0;
        for (unsigned i = 0; good && i < k->count; i++) {
            if (ip_equal(&ip, &k->news[i].ip)) {
                refuse_holder(k, &k->news[i], o);
            }
        }
    }
}

/* podIP is the first of podIPs, unless somebody wrote otherwise. */
static bool is_first(const char *single, const char *all)
{
    size_t n = strlen(single);

    return strncmp(all, single, n) == 0 && (all[n] == '\0' || all[n] == ',');
}

/* By what is kept beside an object's text: parsing that would let one node's large pods, as many as
 * it likes, make every other node's writes slow. */
static void check_holders(struct address_check *k)
{
    struct cursor at;
    const struct object *o = NULL;

    if (k->count == 0 || cursor_init(&at, k->c->api->store, k->c->kind, "", 0) < 0) {
        return; /* the newest state is always there */
    }
    while ((o = cursor_next(&at)) != NULL) {
        const char *node = o->fields[0];   /* spec.nodeName */
        const char *phase = o->fields[1];  /* status.phase */
        const char *single = o->fields[3]; /* status.podIP */
        const char *all = o->fields[8];    /* status.podIPs */
        if (strcmp(node, k->c->rq->user->node) != 0 && !is_end(phase)) {
            check_list(k, o, all);
            check_list(k, o, is_first(single, all) ? "" : single);
        }
    }
    cursor_fini(&at);
}

static bool is_in_range(struct address_check *k, const char *field, const struct ip *ip)
{
    const char *name = k->c->rq->user->node;
    AUTO(strbuf) struct strbuf text = {0};
    char buf[IP_TEXT];

    for (unsigned i = 0; i < k->own.count; i++) {
        if (ip_prefix_has(&k->own.at[i], ip)) {
            return true;
        }
    }
    put_ranges(&k->own, &text);
    if (k->own.count == 0) {
        faults_addf(k->f, FAULT_FORBIDDEN, field,
                    "node %s has no range yet: give its agent a --pod-cidr of its own", name);
    } else {
        faults_addf(k->f, FAULT_FORBIDDEN, field,
                    "%s is not in node %s's %s: see its agent's --pod-cidr", ip_format(ip, buf),
                    name, strbuf_text(&text));
    }
    return false;
}

/* One that the pod has already was held against what was true when it came. */
static void check_address(struct address_check *k, int place, const char *text)
{
    AUTO(strbuf) struct strbuf field = {0};
    struct ip ip;

    put_place(place, &field);
    if (ip_parse(&ip, text, strlen(text)) < 0) {
        faults_addf(k->f, FAULT_INVALID, strbuf_text(&field),
                    "\"%.64s\": must be a valid IP address", text);
    } else if (!has_address(k->old, &ip) && is_in_range(k, strbuf_text(&field), &ip)) {
        k->news[k->count++] = (struct wanted){ip, place};
    }
}

static void check_addresses(const struct call *c, const struct json *pod, const struct json *old,
                            struct faults *f)
{
    const struct json *all = json_at(pod, "status.podIPs");
    const char *single = json_str_at(pod, "status.podIP", "");
    AUTO(json) struct json *node = call_find(c, "Node", "", c->rq->user->node);
    /* since a pod ended, its addresses may have gone to another one */
    struct address_check k = {
        .c = c, .f = f, .old = has_ended(old) && !has_ended(pod) ? NULL : old};
    struct ip ip;

    if (json_count(all) > NODE_POD_ADDRESSES_MAX) {
        faults_addf(f, FAULT_FORBIDDEN, "status.podIPs", "must have at most %d items",
                    NODE_POD_ADDRESSES_MAX);
        return;
    }
    read_ranges(node, &k.own);
    bool is_listed = ip_parse(&ip, single, strlen(single)) == 0 && has_in_list(pod, &ip);
    if (single[0] != '\0' && !is_listed) {
        check_address(&k, -1, single);
    }
    for (size_t i = 0; i < json_count(all); i++) {
        check_address(&k, (int)i, json_str_at(json_item(all, i), "ip", ""));
    }
    check_holders(&k);
}

/* ---- both */

int node_range_check(struct call *c, const struct json *object, const struct json *old)
{
    bool is_node = strcmp(c->kind->name, "Node") == 0;
    struct faults f = {0};
    int r = 0;

    if (!permit_is_node(c->rq->user) || (!is_node && strcmp(c->kind->name, "Pod") != 0)) {
        return 0;
    }
    if (is_node) {
        check_node(c, object, old, &f);
    } else {
        check_addresses(c, object, old, &f);
    }
    if (f.count > 0) {
        r = call_refuse_faults(c, json_str_at(object, "metadata.name", ""), &f);
    }
    faults_fini(&f);
    return r;
}
