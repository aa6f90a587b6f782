/* SPDX-License-Identifier: Apache-2.0 */
#include "node/rules.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <string.h>
#include <unistd.h>

#include "node/netlink.h"
#include "node/nft.h"
#include "node/rtnl.h"
#include "node/rules_before.h"
#include "node/rules_set.h"
#include "node/sysctl.h"

static const enum ip_family families[] = {IP_V4, IP_V6};

bool rules_equal(const struct rules *a, const struct rules *b)
{
    return a->inbound == b->inbound && a->dns == b->dns && a->probes == b->probes &&
           a->virtual_count == b->virtual_count &&
           memcmp(a->virtual_links, b->virtual_links, sizeof(a->virtual_links)) == 0;
}

static bool has_ipv6(void)
{
    return access("/proc/sys/net/ipv6", F_OK) == 0 &&
           !sysctl_is_set_blocking("ipv6/conf/lo/disable_ipv6");
}

static struct rtnl_rule return_rule(enum ip_family family)
{
    return (struct rtnl_rule){.family = family,
                              .value = RULES_MARK_RETURN,
                              .mask = RULES_MARK_MASK,
                              .table = RULES_ROUTE_TABLE,
                              .priority = RULES_ROUTE_PRIORITY};
}

static struct rtnl_route return_route(enum ip_family family, unsigned lo)
{
    return (struct rtnl_route){
        .to.ip.family = (uint8_t)family, .link = lo, .table = RULES_ROUTE_TABLE, .local = true};
}

static int ensure_return_path(struct netlink *n, enum ip_family family, unsigned lo,
                              struct diag *why)
{
    struct rtnl_rule rule = return_rule(family);
    struct rtnl_route route = return_route(family, lo);
    int r = rtnl_rule_add_blocking(n, &rule, why);

    if (r < 0 && r != -EEXIST) {
        return r;
    }
    return rtnl_route_set_blocking(n, &route, why);
}

typedef int return_path_fn(struct netlink *n, enum ip_family family, unsigned lo, struct diag *why);

/* What is marked as a return packet goes to lo, wherever its address would lead. */
static int for_return_paths(return_path_fn *change, struct diag *why)
{
    AUTO(netlink) struct netlink *n = NULL;
    unsigned lo;
    int r = netlink_open_blocking(NETLINK_ROUTE, &n, why);

    if (r == 0) {
        r = rtnl_link_find_blocking(n, "lo", &lo, why);
    }
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(families); i++) {
        if (families[i] == IP_V4 || has_ipv6()) {
            r = change(n, families[i], lo, why);
        }
    }
    return r;
}

static int commit(struct nl_batch *b, const char *what, struct diag *why)
{
    AUTO(netlink) struct netlink *n = NULL;
    uint32_t acked = nft_commit(b);
    int r = netlink_open_blocking(NETLINK_NETFILTER, &n, why);

    return r < 0 ? r : netlink_commit_blocking(n, b, acked, what, why);
}

/* Adding alone takes a fraction of a millisecond; a transaction that deletes waits for the kernel's
 * grace periods, so it is only made where something is there already. */
static int add_table(const struct rules *rules, struct diag *why)
{
    AUTO(nl_batch) struct nl_batch b;

    nl_batch_init(&b);
    nft_begin(&b);
    rules_set_capture(&b, rules, true);
    return commit(&b, "add capture rules", why);
}

static int replace_table(const struct rules *rules, struct diag *why)
{
    AUTO(nl_batch) struct nl_batch b;

    nl_batch_init(&b);
    nft_begin(&b);
    nft_table_add(&b, RULES_TABLE, NULL, false);
    nft_table_delete(&b, RULES_TABLE);
    rules_set_capture(&b, rules, true);
    return commit(&b, "replace capture rules", why);
}

static int install_table(const struct rules *rules, struct diag *why)
{
    enum rules_state state;
    int r = add_table(rules, why);

    if (r != -EEXIST) {
        return r;
    }
    r = rules_inspect_blocking(rules, &state, why);
    if (r < 0 || state == RULES_CAPTURING) {
        return r;
    }
    return replace_table(rules, why);
}

int rules_leave_blocking(const struct rules *rules, struct diag *why)
{
    AUTO(nl_batch) struct nl_batch b;

    nl_batch_init(&b);
    nft_begin(&b);
    rules_set_leave(&b, rules);
    return commit(&b, "leave: let new connections pass", why);
}

static int remove_tables(const struct rules_before *before, struct diag *why)
{
    AUTO(nl_batch) struct nl_batch b;

    nl_batch_init(&b);
    nft_begin(&b);
    nft_table_add(&b, RULES_TABLE, NULL, false); /* so that deleting cannot fail */
    nft_table_delete(&b, RULES_TABLE);
    rules_before_forget(before, &b);
    return commit(&b, "remove capture rules", why);
}

static int remove_return_path(struct netlink *n, enum ip_family family, unsigned lo,
                              struct diag *why)
{
    struct rtnl_rule rule = return_rule(family);
    struct rtnl_route route = return_route(family, lo);
    int r = rtnl_rule_delete_blocking(n, &rule, why);

    if (r < 0 && r != -ENOENT) {
        return r;
    }
    r = rtnl_route_delete_blocking(n, &route, why);
    return r == -ESRCH ? 0 : r;
}

/* The tables go last, at once: as long as one is there the next agent knows that something is to be
 * put right. */
static int undo(const struct rules_before *before, struct diag *why)
{
    int r = rules_before_restore_blocking(before, why);

    if (r == 0) {
        r = for_return_paths(remove_return_path, why);
    }
    return r < 0 ? r : remove_tables(before, why);
}

int rules_remove_blocking(struct diag *why)
{
    struct rules_before before;
    int r = rules_before_read_blocking(&before, why);

    return r < 0 ? r : undo(&before, why);
}

int rules_install_blocking(const struct rules *rules, struct diag *why)
{
    struct rules_before before;
    int r = rules_before_read_blocking(&before, why);
    bool is_new = !before.is_ours;

    if (r == 0) {
        r = rules_before_set_blocking(&before, why);
    }
    if (r == 0) {
        r = for_return_paths(ensure_return_path, why);
    }
    if (r == 0) {
        r = install_table(rules, why);
    }
    if (r < 0 && is_new) {
        int undone = undo(&before, NULL);
        (void)undone; /* the error that counts is in why */
    }
    return r;
}

/* One set that the kernel's answers may turn out to be. */
struct candidate {
    struct nl_reader expected;
    bool matches;
};

static bool next_expected(struct nl_reader *r, unsigned type, struct nl_view *out)
{
    while (nl_read_message(r, out) > 0) {
        if (out->type == type) {
            return true;
        }
    }
    return false;
}

static void compare(struct candidate *c, const struct nl_view *got)
{
    struct nfgenmsg skipped;
    struct nl_view want;
    struct nl_reader answer = got->body;

    c->matches = c->matches && next_expected(&c->expected, got->type, &want) &&
                 nl_read_fixed(&want.body, &skipped, sizeof(skipped)) == 0 &&
                 nl_read_fixed(&answer, &skipped, sizeof(skipped)) == 0 &&
                 rules_set_says(want.body, answer);
}

static void conclude(struct candidate *c, unsigned type)
{
    struct nl_view missing;

    c->matches = c->matches && !next_expected(&c->expected, type, &missing);
}

static void start(struct candidate *c, const struct nl_batch *b)
{
    c->expected = nl_reader_of(b->bytes.p, b->bytes.len);
}

struct comparison {
    struct nl_batch capture;
    struct nl_batch left;
    struct candidate capturing;
    struct candidate leaving;
    unsigned seen;
};

static bool is_ours(const struct nl_view *v)
{
    struct nl_reader body = v->body;
    struct nfgenmsg skipped;
    struct nl_attr table;
    struct slice name;

    /* The table's name has the same number in rules and chains. */
    return nl_read_fixed(&body, &skipped, sizeof(skipped)) == 0 &&
           nl_find_attr(&body, NFTA_RULE_TABLE, &table) > 0 && nl_attr_str(&table, &name) == 0 &&
           slice_is(name, RULES_TABLE);
}

static int compare_all(struct comparison *c, struct netlink *n, const struct nl_batch *question,
                       unsigned message, struct diag *why)
{
    const unsigned type = NFNL_SUBSYS_NFTABLES << 8 | message;
    struct nl_view v;
    int r = netlink_ask_blocking(n, question, why);

    start(&c->capturing, &c->capture);
    start(&c->leaving, &c->left);
    while (r == 0 && (r = netlink_next_blocking(n, &v, why)) > 0) {
        r = 0;
        if (v.type == type && is_ours(&v)) {
            c->seen++;
            compare(&c->capturing, &v);
            compare(&c->leaving, &v);
        }
    }
    conclude(&c->capturing, type);
    conclude(&c->leaving, type);
    return r;
}

static int compare_table(struct comparison *c, struct diag *why)
{
    AUTO(nl_batch) struct nl_batch chains;
    AUTO(nl_batch) struct nl_batch rules;
    AUTO(netlink) struct netlink *n = NULL;

    nl_batch_init(&chains);
    nl_batch_init(&rules);
    nft_ask_chains(&chains);
    nft_ask_rules(&rules, RULES_TABLE);
    int r = netlink_open_blocking(NETLINK_NETFILTER, &n, why);
    if (r == 0) {
        r = compare_all(c, n, &chains, NFT_MSG_NEWCHAIN, why);
    }
    return r < 0 ? r : compare_all(c, n, &rules, NFT_MSG_NEWRULE, why);
}

static enum rules_state verdict_of(const struct comparison *c)
{
    return c->seen == 0           ? RULES_NONE
           : c->capturing.matches ? RULES_CAPTURING
           : c->leaving.matches   ? RULES_LEAVING
                                  : RULES_OTHER;
}

int rules_inspect_blocking(const struct rules *rules, enum rules_state *out, struct diag *why)
{
    struct comparison c = {.capturing.matches = true, .leaving.matches = true};
    struct rules_before before;

    nl_batch_init(&c.capture);
    nl_batch_init(&c.left);
    rules_set_capture(&c.capture, rules, false);
    rules_set_left(&c.left, rules);
    int r = compare_table(&c, why);
    if (r == 0) {
        *out = verdict_of(&c);
    }
    if (r == 0 && *out == RULES_NONE) {
        r = rules_before_read_blocking(&before, why);
        *out = before.is_ours ? RULES_OTHER : RULES_NONE;
    }
    nl_batch_fini(&c.capture);
    nl_batch_fini(&c.left);
    return r;
}
