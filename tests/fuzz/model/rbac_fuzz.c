/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Authorization against a naive model. Both read the same bytes: a tree of policies over a tiny
 * vocabulary, and one connection. The model keeps truth tables instead of early returns, compares
 * strings letter by letter and adds up what applies before it concludes.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "model/intern.h"
#include "model/rbac.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { POLICIES = 4, RULES = 2, CLAUSES = 2, MATCHES = 2, VALUES = 2 };

struct input {
    const uint8_t *p;
    size_t left;
};

static unsigned take(struct input *in, unsigned below)
{
    unsigned v = in->left > 0 ? *in->p : 0;

    in->p += in->left > 0;
    in->left -= in->left > 0;
    return v % below;
}

static const char *const words[] = {"", "a", "ab", "td", "td/ns/a/sa/b", "b", "/sa/b", "ns"};

/* One match in the form of the library, all its values in place. */
struct match_store {
    struct policy_match m;
    struct str_match strs[4][VALUES];
    struct ip_prefix ips[4][VALUES];
    uint16_t ports[2][VALUES];
    struct account_match accounts[2][VALUES];
};

struct policy_store {
    struct policy p;
    struct policy_rule rules[RULES];
    struct policy_clause clauses[RULES][CLAUSES];
    struct match_store matches[RULES][CLAUSES][MATCHES];
    struct policy_match plain[RULES][CLAUSES][MATCHES];
    char name[4];
};

static size_t few(struct input *in)
{
    unsigned v = take(in, 8);

    return v < 6 ? 0 : v - 5;
}

static struct str_matches read_strs(struct input *in, struct str_match *at)
{
    size_t n = few(in);

    for (size_t i = 0; i < n; i++) {
        at[i].kind = (enum match_kind)(1 + take(in, 4));
        at[i].text = words[take(in, ARRAY_LEN(words))];
    }
    return (struct str_matches){at, n};
}

static struct ip read_ip(struct input *in)
{
    struct ip ip = {.family = take(in, 2) ? IP_V4 : IP_V6};

    ip.bytes[0] = (uint8_t)take(in, 4);
    ip.bytes[3] = (uint8_t)(take(in, 4) << 6);
    return ip;
}

static struct ip_matches read_ips(struct input *in, struct ip_prefix *at)
{
    size_t n = few(in);

    for (size_t i = 0; i < n; i++) {
        struct ip ip = read_ip(in);
        unsigned len = take(in, (unsigned)ip_size(&ip) * 8 + 1);
        if (ip_prefix_make(&at[i], &ip, len) < 0) {
            return (struct ip_matches){at, i};
        }
    }
    return (struct ip_matches){at, n};
}

static struct port_matches read_ports(struct input *in, uint16_t *at)
{
    size_t n = few(in);

    for (size_t i = 0; i < n; i++) {
        at[i] = (uint16_t)take(in, 4);
    }
    return (struct port_matches){at, n};
}

static struct account_matches read_accounts(struct input *in, struct account_match *at)
{
    size_t n = few(in);

    for (size_t i = 0; i < n; i++) {
        at[i].ns = words[take(in, 3)];
        at[i].service_account = words[take(in, 3)];
    }
    return (struct account_matches){at, n};
}

static void read_match(struct input *in, struct match_store *s)
{
    s->m = (struct policy_match){
        .namespaces = read_strs(in, s->strs[0]),
        .not_namespaces = read_strs(in, s->strs[1]),
        .principals = read_strs(in, s->strs[2]),
        .not_principals = read_strs(in, s->strs[3]),
        .source_ips = read_ips(in, s->ips[0]),
        .not_source_ips = read_ips(in, s->ips[1]),
        .destination_ips = read_ips(in, s->ips[2]),
        .not_destination_ips = read_ips(in, s->ips[3]),
        .destination_ports = read_ports(in, s->ports[0]),
        .not_destination_ports = read_ports(in, s->ports[1]),
        .service_accounts = read_accounts(in, s->accounts[0]),
        .not_service_accounts = read_accounts(in, s->accounts[1]),
    };
}

static void read_policy(struct input *in, struct policy_store *s, unsigned number)
{
    s->name[0] = (char)('0' + number);
    s->p = (struct policy){.ns = words[take(in, 3)],
                           .name = s->name,
                           .scope = (enum policy_scope)take(in, 3),
                           .action = (enum policy_action)take(in, 2),
                           .dry_run = take(in, 4) == 1,
                           .broken = take(in, 16) == 1,
                           .rules = s->rules,
                           .rule_count = take(in, RULES + 1)};
    for (size_t r = 0; r < s->p.rule_count; r++) {
        s->rules[r] = (struct policy_rule){s->clauses[r], take(in, CLAUSES + 1)};
        for (size_t c = 0; c < s->rules[r].clause_count; c++) {
            s->clauses[r][c] = (struct policy_clause){s->plain[r][c], take(in, MATCHES + 1)};
            for (size_t m = 0; m < s->clauses[r][c].match_count; m++) {
                read_match(in, &s->matches[r][c][m]);
                s->plain[r][c][m] = s->matches[r][c][m].m;
            }
        }
    }
}

/* ---- the model */

static bool letters_equal(const char *a, const char *b, size_t n)
{
    size_t same = 0;

    for (size_t i = 0; i < n; i++) {
        same += a[i] == b[i];
    }
    return same == n;
}

static bool says(const struct str_match *m, const char *v)
{
    size_t have = strlen(v), want = strlen(m->text);
    bool fits = want <= have;
    bool table[5] = {false, have == want && letters_equal(v, m->text, want),
                     fits && letters_equal(v, m->text, fits ? want : 0),
                     fits && letters_equal(v + have - (fits ? want : 0), m->text, fits ? want : 0),
                     have != 0};

    return table[m->kind];
}

static bool bits_equal(const struct ip_prefix *p, const struct ip *ip)
{
    unsigned same = 0;

    for (unsigned i = 0; i < p->len; i++) {
        unsigned a = p->ip.bytes[i / 8] >> (7 - i % 8) & 1u;
        unsigned b = ip->bytes[i / 8] >> (7 - i % 8) & 1u;
        same += a == b;
    }
    return p->ip.family == ip->family && same == p->len;
}

/* How many values of each kind there are and how many hit; positive kinds even, negative odd. */
struct tally {
    size_t have[12], hit[12];
};

static void tally_match(struct tally *t, const struct policy_match *m, const struct rbac_conn *c)
{
    const struct str_matches strs[] = {m->namespaces, m->not_namespaces, m->principals,
                                       m->not_principals};
    const struct ip_matches ips[] = {m->source_ips, m->not_source_ips, m->destination_ips,
                                     m->not_destination_ips};
    const struct port_matches ports[] = {m->destination_ports, m->not_destination_ports};
    const struct account_matches accounts[] = {m->service_accounts, m->not_service_accounts};

    for (int k = 0; k < 4; k++) {
        t->have[k] = strs[k].count;
        t->have[4 + k] = ips[k].count;
        for (size_t i = 0; i < strs[k].count; i++) {
            const char *ns = c->peer ? c->peer->ns : "";
            t->hit[k] += k < 2 ? says(&strs[k].at[i], ns)
                               : c->peer && says(&strs[k].at[i], c->peer->uri + 9);
        }
        for (size_t i = 0; i < ips[k].count; i++) {
            t->hit[4 + k] += bits_equal(&ips[k].at[i], k < 2 ? &c->src.ip : &c->dst.ip);
        }
    }
    for (int k = 0; k < 2; k++) {
        t->have[8 + k] = ports[k].count;
        t->have[10 + k] = accounts[k].count;
        for (size_t i = 0; i < ports[k].count; i++) {
            t->hit[8 + k] += ports[k].at[i] == c->dst.port;
        }
        for (size_t i = 0; i < accounts[k].count; i++) {
            t->hit[10 + k] +=
                c->peer && strcmp(accounts[k].at[i].ns, c->peer->ns) == 0 &&
                strcmp(accounts[k].at[i].service_account, c->peer->service_account) == 0;
        }
    }
}

static bool match_holds(const struct policy_match *m, const struct rbac_conn *c)
{
    struct tally t = {{0}, {0}};
    unsigned failed = 0;
    size_t values = 0;

    tally_match(&t, m, c);
    for (int k = 0; k < 12; k += 2) {
        values += t.have[k] + t.have[k + 1];
        failed += t.have[k] > 0 && t.hit[k] == 0;
        failed += t.hit[k + 1] > 0;
    }
    return values > 0 && failed == 0;
}

static bool policy_holds(const struct policy *p, const struct rbac_conn *c)
{
    unsigned good_rules = 0;

    for (size_t r = 0; r < p->rule_count; r++) {
        unsigned good_clauses = 0;
        for (size_t k = 0; k < p->rules[r].clause_count; k++) {
            const struct policy_clause *clause = &p->rules[r].clauses[k];
            unsigned good_matches = 0;
            for (size_t m = 0; m < clause->match_count; m++) {
                good_matches += match_holds(&clause->matches[m], c);
            }
            good_clauses += clause->match_count == 0 || good_matches > 0;
        }
        good_rules += good_clauses == p->rules[r].clause_count;
    }
    return good_rules > 0;
}

struct sums {
    unsigned deny, broken, missing, allow, allowed;
};

static enum rbac_outcome model(const struct sums *s)
{
    if (s->deny + s->broken > 0) {
        return RBAC_DENY;
    }
    if (s->missing > 0) {
        return RBAC_HOLD;
    }
    return s->allow == 0 || s->allowed > 0 ? RBAC_ALLOW : RBAC_DENY;
}

/* ---- both */

static void put(struct world_delta *d, const struct policy *from)
{
    const struct policy *made = NULL;

    assert(policy_new(&made, from, NULL) == 0);
    assert(world_put_policy(d, made));
}

static void add_up(struct sums *s, const struct policy *p, bool applies, const struct rbac_conn *c)
{
    bool counts = applies && !p->dry_run;
    bool holds = policy_holds(p, c);

    s->broken += counts && p->broken;
    s->deny += counts && !p->broken && p->action == POLICY_DENY && holds;
    s->allow += counts && !p->broken && p->action == POLICY_ALLOW;
    s->allowed += counts && !p->broken && p->action == POLICY_ALLOW && holds;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct policy_store store[POLICIES]; /* large; every case overwrites what it uses */
    struct input in = {data, size};
    AUTO(intern) struct intern *pool = intern_new();
    AUTO(world) const struct world *empty = world_new(NULL);
    struct world_delta *d = world_delta_new(empty);
    const char *names[POLICIES + 1];
    char keys[POLICIES][16];
    struct workload w = {.uid = "w", .policies = names};
    unsigned count = take(&in, POLICIES + 1);
    struct sums sums = {0};
    bool named[POLICIES] = {false};

    w.identity = intern_identity(pool, "td", words[take(&in, 3)], "x");
    AUTO(identity)
    const struct identity *peer =
        take(&in, 4) == 0 ? NULL : identity_new("td", words[take(&in, 3)], words[take(&in, 6)]);
    struct rbac_conn c = {.peer = peer};
    c.src.ip = read_ip(&in);
    c.dst.ip = read_ip(&in);
    c.dst.port = (uint16_t)take(&in, 4);
    for (unsigned i = 0; i < count; i++) {
        read_policy(&in, &store[i], i);
        put(d, &store[i].p);
        named[i] = take(&in, 2);
        (void)snprintf(keys[i], sizeof(keys[i]), "%s/%s", store[i].p.ns, store[i].name);
        if (named[i]) {
            names[w.policy_count++] = keys[i];
        }
    }
    if (take(&in, 8) == 1) {
        names[w.policy_count++] = "a/unknown";
        sums.missing = 1;
    }
    for (unsigned i = 0; i < count; i++) {
        const struct policy *p = &store[i].p;
        bool applies = named[i] || p->scope == SCOPED_GLOBAL ||
                       (p->scope == SCOPED_NAMESPACE && strcmp(p->ns, w.identity->ns) == 0);
        add_up(&sums, p, applies, &c);
    }
    AUTO(world) const struct world *world = world_next(d);
    AUTO(workload) const struct workload *made = NULL;
    assert(workload_new(&made, &w, pool, NULL) == 0);
    struct rbac_verdict v = rbac_decide(world, made, &c);
    assert(v.outcome == model(&sums));
    identity_unref(w.identity);
    return 0;
}
