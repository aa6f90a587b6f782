/* SPDX-License-Identifier: Apache-2.0 */
#include "node/rules_before.h"

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <string.h>
#include <unistd.h>

#include "base/ip.h"
#include "node/netlink.h"
#include "node/nft.h"
#include "node/rules_set.h"
#include "node/sysctl.h"

/* fwmark_accept: sockets that the application accepts from the proxy inherit its mark.
 * fwmark_reflect: what the kernel answers without a socket, as where nobody listens, carries it too:
 * the proxy learns of the refusal at once instead of waiting for its deadline.
 * migrate_req: connections waiting at a listener that closes move to its sibling, so that a new
 * generation of the proxy takes over without a reset. */
static const struct {
    enum ip_family family;
    const char *key;
} switches[RULES_SWITCHES] = {{IP_V4, "ipv4/tcp_fwmark_accept"},
                              {IP_V4, "ipv4/tcp_migrate_req"},
                              {IP_V4, "ipv4/fwmark_reflect"},
                              {IP_V6, "ipv6/fwmark_reflect"}};

/* Followed by a 0 or 1 for each switch. */
static const char kept[] = "ambit_before_";

enum { KEPT_NAME_BYTES = sizeof(kept) + RULES_SWITCHES };

static void kept_name(const struct rules_before *b, char out[static KEPT_NAME_BYTES])
{
    size_t at = sizeof(kept) - 1;

    memcpy(out, kept, at);
    for (size_t i = 0; i < RULES_SWITCHES; i++) {
        out[at++] = b->was_set[i] ? '1' : '0';
    }
    out[at] = '\0';
}

static void note_table(struct rules_before *b, struct slice name)
{
    size_t at = sizeof(kept) - 1;

    if (slice_is(name, RULES_TABLE)) {
        b->is_ours = true;
    } else if (name.len == at + RULES_SWITCHES && memcmp(name.p, kept, at) == 0) {
        b->is_ours = true;
        b->is_kept = true;
        for (size_t i = 0; i < RULES_SWITCHES; i++) {
            b->was_set[i] = name.p[at + i] == '1';
        }
    }
}

static int find_tables(struct rules_before *b, struct diag *why)
{
    AUTO(nl_batch) struct nl_batch question;
    AUTO(netlink) struct netlink *n = NULL;
    struct nl_view v;

    nl_batch_init(&question);
    nft_ask_tables(&question);
    int r = netlink_open_blocking(NETLINK_NETFILTER, &n, why);
    if (r == 0) {
        r = netlink_ask_blocking(n, &question, why);
    }
    while (r == 0 && (r = netlink_next_blocking(n, &v, why)) > 0) {
        struct nfgenmsg skipped;
        struct nl_attr a;
        struct slice name;
        r = 0;
        if (v.type == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWTABLE) &&
            nl_read_fixed(&v.body, &skipped, sizeof(skipped)) == 0 &&
            nl_find_attr(&v.body, NFTA_TABLE_NAME, &a) > 0 && nl_attr_str(&a, &name) == 0) {
            note_table(b, name);
        }
    }
    return r;
}

int rules_before_read_blocking(struct rules_before *out, struct diag *why)
{
    *out = (struct rules_before){0};
    int r = find_tables(out, why);

    for (size_t i = 0; r == 0 && !out->is_ours && i < RULES_SWITCHES; i++) {
        out->was_set[i] = sysctl_is_set_blocking(switches[i].key);
    }
    return r;
}

static int set(size_t i, const char *value, struct diag *why)
{
    if (switches[i].family == IP_V6 && access("/proc/sys/net/ipv6", F_OK) != 0) {
        return 0;
    }
    return sysctl_set_blocking(switches[i].key, value, why);
}

static int commit(struct nl_batch *b, const char *what, struct diag *why)
{
    AUTO(netlink) struct netlink *n = NULL;
    uint32_t acked = nft_commit(b);
    int r = netlink_open_blocking(NETLINK_NETFILTER, &n, why);

    return r < 0 ? r : netlink_commit_blocking(n, b, acked, what, why);
}

static int keep(struct rules_before *b, struct diag *why)
{
    AUTO(nl_batch) struct nl_batch batch;
    char name[KEPT_NAME_BYTES];

    kept_name(b, name);
    nl_batch_init(&batch);
    nft_begin(&batch);
    nft_table_add(&batch, name, "ambit: switches that were set before", false);
    int r = commit(&batch, "keep what was set before", why);
    b->is_kept = r == 0;
    return r;
}

int rules_before_set_blocking(struct rules_before *b, struct diag *why)
{
    int r = b->is_ours ? 0 : keep(b, why);

    b->is_ours = r == 0;
    for (size_t i = 0; r == 0 && i < RULES_SWITCHES; i++) {
        r = set(i, "1", why);
    }
    return r;
}

int rules_before_restore_blocking(const struct rules_before *b, struct diag *why)
{
    int r = 0;

    for (size_t i = 0; r == 0 && b->is_ours && i < RULES_SWITCHES; i++) {
        r = set(i, b->was_set[i] ? "1" : "0", why);
    }
    return r;
}

void rules_before_forget(const struct rules_before *b, struct nl_batch *batch)
{
    char name[KEPT_NAME_BYTES];

    if (b->is_kept) {
        kept_name(b, name);
        nft_table_delete(batch, name);
    }
}
