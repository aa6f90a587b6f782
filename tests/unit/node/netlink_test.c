/* SPDX-License-Identifier: Apache-2.0 */
#include "node/netlink.h"

#include <linux/netlink.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/netns.h"
#include "node/nft.h"
#include "node/nft_expr.h"
#include "node/rtnl.h"
#include "node/rules_set.h"
#include "podnet.h"
#include "t.h"

enum { HOOK_OUTPUT = 3 };

static int commit_in(int ns, struct nl_batch *b, struct diag *why)
{
    NETNS_VISIT(visit);
    AUTO(netlink) struct netlink *n = NULL;
    uint32_t acked = nft_commit(b);
    int r = netns_enter_blocking(&visit, ns, why);

    r = r < 0 ? r : netlink_open_blocking(NETLINK_NETFILTER, &n, why);
    return r < 0 ? r : netlink_commit_blocking(n, b, acked, "try", why);
}

static void add_rule(struct nl_batch *b, const char *chain)
{
    size_t r = nft_rule_begin(b, "t", chain);

    nft_accept(b);
    nft_rule_end(b, r);
}

TEST(a_transaction_that_is_refused_names_its_message_and_leaves_nothing)
{
    AUTO(podnet) struct podnet n = podnet_make();
    AUTO(nl_batch) struct nl_batch b;
    struct nft_chain chain = {
        .table = "t", .name = "c", .type = "filter", .hook = HOOK_OUTPUT, .priority = 0};
    struct diag why = {0};

    nl_batch_init(&b);
    nft_begin(&b);
    nft_table_add(&b, "t", NULL, true);
    nft_chain_add(&b, &chain);
    add_rule(&b, "c");
    add_rule(&b, "no such chain");
    add_rule(&b, "c");
    CHECK_INT(commit_in(n.pod, &b, &why), -ENOENT);
    CHECK(strstr(why.text, "try: message 5"));
    AUTO(text) char *left = podnet_run(n.pod, "nft list ruleset");
    CHECK_STR(left, "");
}

TEST(the_kernels_own_words_are_passed_on)
{
    AUTO(podnet) struct podnet n = podnet_make();
    AUTO(netlink) struct netlink *net = NULL;
    struct ip gone = podnet_ip("10.1.1.1");
    struct rtnl_route route = {.to = {podnet_ip("10.2.0.0"), 16}, .via = &gone, .link = 4711};
    struct diag why = {0};
    NETNS_VISIT(visit);

    CHECK_INT(netns_enter_blocking(&visit, n.pod, &why), 0);
    CHECK_INT(netlink_open_blocking(NETLINK_ROUTE, &net, &why), 0);
    CHECK(rtnl_route_set_blocking(net, &route, &why) < 0);
    CHECK(strlen(why.text) > strlen("set route: message 1: "));
}

TEST(what_does_not_fit_into_a_batch_is_never_sent)
{
    AUTO(podnet) struct podnet n = podnet_make();
    AUTO(nl_batch) struct nl_batch b;

    nl_batch_init(&b);
    nft_begin(&b);
    nft_table_add(&b, "t", NULL, true);
    for (int i = 0; i < 2000; i++) {
        add_rule(&b, "c");
    }
    CHECK(!nl_batch_is_whole(&b));
    CHECK_INT(commit_in(n.pod, &b, NULL), -ERR_TOO_LARGE);
    AUTO(text) char *left = podnet_run(n.pod, "nft list ruleset");
    CHECK_STR(left, "");
}

TEST(links_and_addresses_are_found_by_name_and_value)
{
    AUTO(podnet) struct podnet n = podnet_make();
    AUTO(netlink) struct netlink *net = NULL;
    struct ip own = podnet_pod_ip(IP_V6);
    struct ip other = podnet_node_ip(IP_V6);
    unsigned index;
    bool found;
    NETNS_VISIT(visit);

    CHECK_INT(netns_enter_blocking(&visit, n.pod, NULL), 0);
    CHECK_INT(netlink_open_blocking(NETLINK_ROUTE, &net, NULL), 0);
    CHECK_INT(rtnl_link_find_blocking(net, "eth0", &index, NULL), 0);
    CHECK_INT(rtnl_link_find_blocking(net, "eth9", &index, NULL), -ENODEV);
    CHECK_INT(rtnl_has_address_blocking(net, &own, &found, NULL), 0);
    CHECK(found);
    CHECK_INT(rtnl_has_address_blocking(net, &other, &found, NULL), 0);
    CHECK(!found);
    CHECK_INT(rtnl_link_find_blocking(net, "eth0", &index, NULL), 0);
    CHECK_INT(rtnl_link_delete_blocking(net, index, NULL), 0);
    CHECK_INT(rtnl_link_find_blocking(net, "eth0", &index, NULL), -ENODEV);
}

TEST(a_visitor_comes_home_and_files_that_are_no_namespaces_are_refused)
{
    AUTO(podnet) struct podnet n = podnet_make();
    struct netns_id before;
    struct netns_id inside;
    struct netns_id after;
    struct netns_id pod;
    int fd;

    CHECK_INT(netns_open_own(&fd, NULL), 0);
    CHECK_INT(netns_identify(fd, &before, NULL), 0);
    close(fd);
    {
        NETNS_VISIT(visit);
        CHECK_INT(netns_enter_blocking(&visit, n.pod, NULL), 0);
        CHECK_INT(netns_open_own(&fd, NULL), 0);
        CHECK_INT(netns_identify(fd, &inside, NULL), 0);
        close(fd);
    }
    CHECK_INT(netns_open_own(&fd, NULL), 0);
    CHECK_INT(netns_identify(fd, &after, NULL), 0);
    close(fd);
    CHECK_INT(netns_identify(n.pod, &pod, NULL), 0);
    CHECK(netns_id_equal(before, after));
    CHECK(netns_id_equal(inside, pod));
    CHECK(!netns_id_equal(before, inside));
    CHECK_INT(netns_open("/dev/null", &fd, NULL), -EINVAL);
    CHECK_INT(netns_open("/proc/self/ns/mnt", &fd, NULL), -EINVAL);
    CHECK_INT(netns_open("/no/such", &fd, NULL), -ENOENT);
}

/* ---- reading, on bytes of our own */

static void sample(struct nl_batch *b)
{
    nl_batch_init(b);
    nl_message(b, 7, 0, "head", 4);
    size_t outer = nl_nest(b, 1);
    nl_put_str(b, 2, "abc");
    nl_put_u32be(b, 3, 9);
    nl_nest_end(b, outer);
    nl_put_u32(b, 4, 77);
}

TEST(what_is_written_reads_the_same)
{
    AUTO(nl_batch) struct nl_batch b;
    struct nl_view v;
    struct nl_attr a;
    struct nl_attr inner;
    struct slice text;
    char head[4];
    uint32_t number;

    sample(&b);
    struct nl_reader r = nl_reader_of(b.bytes.p, b.bytes.len);
    CHECK_INT(nl_read_message(&r, &v), 1);
    CHECK_INT(v.type, 7);
    CHECK_INT(v.seq, 1);
    CHECK_INT(nl_read_fixed(&v.body, head, sizeof(head)), 0);
    CHECK_MEM(head, "head", 4);
    CHECK_INT(nl_find_attr(&v.body, 1, &a), 1);
    CHECK(a.nested);
    CHECK_INT(nl_find_attr(&a.value, 2, &inner), 1);
    CHECK_INT(nl_attr_str(&inner, &text), 0);
    CHECK(slice_is(text, "abc"));
    CHECK_INT(nl_find_attr(&v.body, 4, &a), 1);
    CHECK_INT(nl_attr_u32(&a, &number), 0);
    CHECK_INT(number, 77);
    CHECK_INT(nl_find_attr(&v.body, 5, &a), 0);
    CHECK_INT(nl_read_message(&r, &v), 0);
}

TEST(bytes_that_end_early_are_refused_not_read_beyond)
{
    AUTO(nl_batch) struct nl_batch b;
    struct nl_view v;

    sample(&b);
    for (size_t len = 1; len < b.bytes.len; len++) {
        char *exact = mem_dup(b.bytes.p, len);
        struct nl_reader r = nl_reader_of(exact, len);
        int n = nl_read_message(&r, &v);
        mem_free(exact);
        CHECK_INT(n, -ERR_SYNTAX);
    }
}

static struct nl_reader attrs_of(const struct nl_batch *b)
{
    struct nl_reader r = nl_reader_of(b->bytes.p, b->bytes.len);
    struct nl_view v = {0};
    char head[4];

    return nl_read_message(&r, &v) > 0 && nl_read_fixed(&v.body, head, 4) == 0
               ? v.body
               : nl_reader_of(NULL, 0);
}

/* Each is one difference in what the kernel says. */
TEST(a_rule_says_the_same_only_if_nothing_wanted_differs)
{
    for (int difference = 0; difference < 6; difference++) {
        AUTO(nl_batch) struct nl_batch want;
        AUTO(nl_batch) struct nl_batch got;
        sample(&want);
        nl_batch_init(&got);
        nl_message(&got, 7, 0, "head", 4);
        size_t outer = nl_nest(&got, 1);
        nl_put_str(&got, 2, difference == 1 ? "abd" : "abc");
        nl_put_u32be(&got, 3, difference == 2 ? 8 : 9);
        if (difference == 3) {
            nl_put_str(&got, 2, "abc"); /* twice */
        }
        nl_nest_end(&got, outer);
        if (difference != 4) {
            nl_put_u32(&got, 4, 77);
        }
        if (difference == 5) {
            nl_put_u32(&got, 99, 1); /* what is said in addition is no difference */
        }
        bool same = rules_set_says(attrs_of(&want), attrs_of(&got));
        CHECK_INT(same, difference == 0 || difference == 5);
    }
}
