/* SPDX-License-Identifier: Apache-2.0 */
#include "node/pod.h"

#include <string.h>

#include "base/mem.h"
#include "base/str.h"

void pod_free(struct pod *p)
{
    if (!p) {
        return;
    }
    mem_free(p->uid);
    mem_free(p->namespace);
    mem_free(p->name);
    mem_free(p->service_account);
    mem_free(p->dataplane_mode);
    mem_free(p->virtual_interfaces);
    mem_free(p->gateway);
    mem_free(p);
}

static char *dup_text(const char *s)
{
    return s ? mem_strdup(s) : NULL;
}

struct pod *pod_dup(const struct pod *p)
{
    struct pod *copy = mem_new(struct pod);

    *copy = *p;
    copy->uid = dup_text(p->uid);
    copy->namespace = dup_text(p->namespace);
    copy->name = dup_text(p->name);
    copy->service_account = dup_text(p->service_account);
    copy->dataplane_mode = dup_text(p->dataplane_mode);
    copy->virtual_interfaces = dup_text(p->virtual_interfaces);
    copy->gateway = dup_text(p->gateway);
    return copy;
}

static bool is(const char *text, const char *value)
{
    return text && strcmp(text, value) == 0;
}

bool pod_wants_mesh(const struct pod *p, const char *mode)
{
    if (p->host_network || p->has_sidecar || p->is_node_proxy || p->is_terminal ||
        p->ip_count == 0) {
        return false;
    }
    return is(p->dataplane_mode, "ambient") ||
           (is(mode, "ambient") && !is(p->dataplane_mode, "none"));
}

static void add_link(struct rules *r, struct slice name)
{
    if (name.len > 0 && name.len < sizeof(r->virtual_links[0]) &&
        r->virtual_count < RULES_VIRTUAL_MAX) {
        memcpy(r->virtual_links[r->virtual_count], name.p, name.len);
        r->virtual_count++;
    }
}

struct rules pod_rules(const struct pod *p, bool probes)
{
    struct rules r = {.inbound = !p->bypass_inbound, .dns = p->dns, .probes = probes};
    struct slice rest = slice_of(p->virtual_interfaces);
    struct slice head;
    bool more;

    do {
        more = slice_cut(rest, ',', &head, &rest);
        add_link(&r, slice_trim(head));
    } while (more);
    return r;
}

bool pod_bool(const char *text, bool fallback)
{
    static const char *const yes[] = {"1", "t", "T", "true", "TRUE", "True"};
    static const char *const no[] = {"0", "f", "F", "false", "FALSE", "False"};

    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        if (is(text, yes[i])) {
            return true;
        }
        if (is(text, no[i])) {
            return false;
        }
    }
    return fallback;
}
