/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/dns_names.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rand.h"

enum { ALIASES_MAX = 24, SEARCH_MAX = 3 };

struct alias {
    char name[DNS_NAME_BYTES];     /* what to look up */
    char stripped[DNS_NAME_BYTES]; /* "": the name as asked, else without a search domain */
};

struct aliases {
    struct alias at[ALIASES_MAX];
    unsigned count;
};

/* Duplicates and what is too long for a name are left out. */
static void add(struct aliases *all, const char *name, const char *stripped)
{
    if (strlen(name) >= DNS_NAME_BYTES - 1 || all->count == ALIASES_MAX) {
        return;
    }
    for (unsigned i = 0; i < all->count; i++) {
        if (strcmp(all->at[i].name, name) == 0) {
            return;
        }
    }
    struct alias *a = &all->at[all->count++];
    memcpy(a->name, name, strlen(name) + 1);
    memcpy(a->stripped, stripped, strlen(stripped) + 1);
}

static void add_joined(struct aliases *all, const char *name, const char *suffix,
                       const char *stripped)
{
    char text[2 * DNS_NAME_BYTES];

    (void)snprintf(text, sizeof(text), "%s.%s", name, suffix); /* too long: left out by add */
    add(all, text, stripped);
}

static unsigned label_count(const char *name)
{
    unsigned n = *name ? 1 : 0;

    for (; *name; name++) {
        n += *name == '.';
    }
    return n;
}

static bool ends_with(const char *name, const char *suffix)
{
    size_t n = strlen(name);
    size_t s = strlen(suffix);

    return n >= s && strcmp(name + n - s, suffix) == 0;
}

struct search {
    char domain[SEARCH_MAX]
               [DNS_NAME_BYTES + 16]; /* "<ns>.svc.<domain>", "svc.<domain>", "<domain>" */
};

static void search_fill(struct search *s, const struct dns_ask_for *q)
{
    (void)snprintf(s->domain[0], sizeof(s->domain[0]), "%.100s.svc.%.100s", q->client->identity->ns,
                   q->domain);
    (void)snprintf(s->domain[1], sizeof(s->domain[1]), "svc.%.100s", q->domain);
    (void)snprintf(s->domain[2], sizeof(s->domain[2]), "%.100s", q->domain);
}

/* The short forms Kubernetes knows (contract 8.2, item 2). */
static void add_expansions(struct aliases *all, const struct search *s, const char *name,
                           const char *stripped)
{
    bool is_svc = ends_with(name, ".svc");

    switch (label_count(name)) {
    case 1:
        add_joined(all, name, s->domain[0], stripped);
        break;
    case 2:
        add_joined(all, name, s->domain[1], stripped);
        add_joined(all, name, s->domain[0], stripped);
        break;
    case 3:
        if (is_svc) {
            add_joined(all, name, s->domain[2], stripped);
        }
        add_joined(all, name, s->domain[1], stripped);
        break;
    case 4:
        if (is_svc) {
            add_joined(all, name, s->domain[2], stripped);
        }
        break;
    default: /* longer names have no short form */
        break;
    }
}

static void aliases_fill(struct aliases *all, const struct search *s, const char *name)
{
    all->count = 0;
    add(all, name, "");
    add_expansions(all, s, name, "");
    for (unsigned i = 0; i < SEARCH_MAX; i++) {
        char stripped[DNS_NAME_BYTES];
        size_t n = strlen(name);
        size_t d = strlen(s->domain[i]);
        if (n < d + 2 || n - d - 1 >= sizeof(stripped) || name[n - d - 1] != '.' ||
            strcmp(name + n - d, s->domain[i]) != 0) {
            continue;
        }
        memcpy(stripped, name, n - d - 1);
        stripped[n - d - 1] = '\0';
        add(all, stripped, stripped);
        add_expansions(all, s, stripped, stripped);
    }
}

static const struct service *find_exact(const struct world *w, const struct dns_ask_for *q,
                                        const char *name)
{
    char suffix[DNS_NAME_BYTES];
    struct host_query host = {.client_ns = q->client->identity->ns,
                              .preferred_ns = q->preferred_ns,
                              .headless_suffix = suffix};

    (void)snprintf(suffix, sizeof(suffix), ".svc.%.200s", q->domain);
    return world_service_for_host(w, name, &host);
}

static const struct service *find_wildcard(const struct world *w, const struct dns_ask_for *q,
                                           const char *name)
{
    char text[DNS_NAME_BYTES + 2];

    for (const char *dot = strchr(name, '.'); dot; dot = strchr(dot + 1, '.')) {
        (void)snprintf(text, sizeof(text), "*%s", dot);
        const struct service *s = find_exact(w, q, text);
        if (s) {
            return s;
        }
    }
    return NULL;
}

static void add_ip(struct dns_found *out, const struct dns_ask_for *q, const struct ip *ip)
{
    if (ip->family == q->family && out->count < DNS_ADDRESSES_MAX) {
        out->ips[out->count++] = *ip;
    }
}

static bool is_headless(const struct service *s)
{
    for (unsigned i = 0; i < s->vip_count; i++) {
        if (!service_vip_is_cidr(&s->vips[i])) {
            return false;
        }
    }
    return true;
}

static void add_endpoints(struct dns_found *out, const struct world *w, const struct dns_ask_for *q,
                          const struct service *s)
{
    struct world_cursor c = {0};
    struct backend b;

    while (world_each_backend(w, s->key, &c, &b)) {
        unsigned before = out->count;
        if (b.workload->status != WORKLOAD_HEALTHY && s->health != HEALTH_ALLOW_ALL) {
            continue;
        }
        for (unsigned i = 0; i < b.workload->ip_count && out->count == before; i++) {
            add_ip(out, q, &b.workload->ips[i]);
        }
    }
}

static void shuffle(struct dns_found *out, uint64_t seed)
{
    struct rand_seq r;

    rand_seq_init(&r, seed);
    for (unsigned i = out->count; i > 1; i--) {
        unsigned k = (unsigned)rand_seq_below(&r, i);
        struct ip swap = out->ips[i - 1];
        out->ips[i - 1] = out->ips[k];
        out->ips[k] = swap;
    }
}

static void answer(struct dns_found *out, const struct world *w, const struct dns_ask_for *q,
                   const struct service *s)
{
    out->meaning = DNS_ANSWER;
    if (!service_allows_family(s, q->family) || (q->family == IP_V6 && !q->ipv6)) {
        return;
    }
    if (is_headless(s)) {
        add_endpoints(out, w, q, s);
    }
    for (unsigned i = 0; i < s->vip_count; i++) {
        const struct service_vip *v = &s->vips[i];
        if (!service_vip_is_cidr(v) && strcmp(v->network, q->client->network) == 0) {
            add_ip(out, q, &v->prefix.ip);
        }
    }
    shuffle(out, q->seed);
}

void dns_names_find(struct dns_found *out, const struct world *w, const struct dns_ask_for *q)
{
    struct search search;
    AUTO(mem) void *memory = mem_alloc(sizeof(struct aliases)); /* too large for a stack frame */
    struct aliases *all = memory;

    out->meaning = DNS_FORWARD;
    out->count = 0;
    out->is_alias = false;
    (void)snprintf(out->owner, sizeof(out->owner), "%s", q->name);
    search_fill(&search, q);
    aliases_fill(all, &search, q->name);
    for (unsigned i = 0; i < all->count; i++) {
        const struct service *s = find_exact(w, q, all->at[i].name);
        bool wildcard = !s;
        s = s ? s : find_wildcard(w, q, all->at[i].name);
        if (!s) {
            continue;
        }
        if (all->at[i].stripped[0] && !wildcard) {
            out->is_alias = true;
            (void)snprintf(out->owner, sizeof(out->owner), "%s", all->at[i].stripped);
        }
        answer(out, w, q, s);
        return;
    }
}
