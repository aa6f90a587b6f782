/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The capture rules inside one pod. Inbound TCP is handed to the node proxy by TPROXY, outbound TCP
 * and DNS by REDIRECT; only first packets are taken, so connections that exist when a pod joins live
 * on; where no proxy listens, a captured connection is reset, never let through. The proxy's own
 * sockets carry a mark (contract 3.8) and are left alone.
 *
 * A set is written in one transaction: at no moment does a part of it hold. It acts on the namespace
 * the calling thread is in. Blocking: job threads only.
 */
#pragma once

#include <net/if.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/ip.h"

/* The numbers that node proxies rely on (contract 1.3, 3.8). */
enum {
    RULES_PORT_OUTBOUND = 15001,
    RULES_PORT_INBOUND = 15006,
    RULES_PORT_HBONE = 15008,
    RULES_PORT_DNS = 15053,
    RULES_MARK_PROXY = 0x539, /* sockets of the proxy */
    RULES_MARK_RETURN =
        0x111, /* sockets of the application that belong to the proxy's connections */
    RULES_MARK_MASK = 0xfff,
    RULES_ROUTE_TABLE = 100,
    RULES_ROUTE_PRIORITY = 32764,
};

#define RULES_PROBE_V4 "169.254.7.127"
#define RULES_PROBE_V6 "fd16:9254:7127:1337:ffff:ffff:ffff:ffff"

enum { RULES_VIRTUAL_MAX = 8 };

struct rules {
    bool inbound; /* false: ingress mode, only 15008 is served */
    bool dns;
    /* Health probes from the node reach the application directly. Only together with the host's own
     * rules (host_rules.h), which keep others from using the probes' address. */
    bool probes;
    /* Interfaces behind the pod (virtual machines): what comes in there is the pod's own outbound. */
    unsigned virtual_count;
    char virtual_links[RULES_VIRTUAL_MAX][IFNAMSIZ];
};

bool rules_equal(const struct rules *a, const struct rules *b);

enum rules_state {
    RULES_NONE,
    RULES_CAPTURING, /* exactly these rules */
    RULES_LEAVING,   /* what rules_leave leaves behind */
    RULES_OTHER,     /* a table of ours with other contents: another version, other options, or what
                        somebody who was killed left behind */
};

/* Repairs what is missing or different; cheap when all is there. On failure nothing is captured that
 * was not before. */
MUST_USE int rules_install_blocking(const struct rules *rules, struct diag *why);
/* New connections go past the proxy, those it carries live on. */
MUST_USE int rules_leave_blocking(const struct rules *rules, struct diag *why);
/* Everything goes. Fine if nothing is there. */
MUST_USE int rules_remove_blocking(struct diag *why);
/* Reads back from the kernel and compares, rule by rule. */
MUST_USE int rules_inspect_blocking(const struct rules *rules, enum rules_state *out,
                                    struct diag *why);
