/* SPDX-License-Identifier: Apache-2.0 */
#include "node/waypoint_run.h"

#include <string.h>

#include "base/num.h"
#include "base/str.h"
#include "codec/json.h"
#include "node/pod.h"

static void add(struct json *env, const char *name, const char *value)
{
    AUTO(strbuf) struct strbuf b = {0};

    if (value) {
        strbuf_printf(&b, "%s=%s", name, value);
        json_append_str(env, strbuf_text(&b));
    }
}

/* The names are those of Istio's waypoint deployment, and of the node proxy's environment. */
static struct json *environment(const struct waypoint_setup *s, const struct pod *p,
                                const struct ip *ip, const char *token)
{
    struct json *env = json_new_array();
    char address[IP_TEXT];

    add(env, "XDS_ADDRESS", s->discovery);
    add(env, "CA_ADDRESS", s->discovery);
    add(env, "XDS_ROOT_CA", s->root_cert);
    add(env, "CA_ROOT_CA", s->root_cert);
    add(env, "AUTH_TOKEN", token);
    add(env, "GATEWAY", p->gateway);
    add(env, "NAMESPACE", p->namespace);
    add(env, "POD_NAME", p->name);
    add(env, "SERVICE_ACCOUNT", p->service_account);
    add(env, "INSTANCE_IP", ip_format(ip, address));
    add(env, "NODE_NAME", s->node);
    add(env, "TRUST_DOMAIN", s->trust_domain);
    add(env, "CLUSTER_ID", s->cluster_id);
    add(env, "NETWORK", s->network);
    add(env, "ACCESS_LOG", "false"); /* as in Istio's mesh; `ambit flows` has the newest */
    add(env, "TERMINATION_GRACE_PERIOD_SECONDS", "30"); /* then the shim ends it */
    return env;
}

struct json *waypoint_spec(const struct waypoint_setup *s, const struct pod *p, unsigned slot,
                           const struct ip *ip, const char *token)
{
    struct json *spec = json_new_object();
    AUTO(strbuf) struct strbuf user = {0};

    strbuf_printf(&user, "%u:%u", WAYPOINT_UID_FIRST + slot, WAYPOINT_UID_FIRST + slot);
    json_set_str(spec, "namespace", p->namespace);
    json_set_str(spec, "name", p->name);
    json_set_str(spec, "serviceAccount", p->service_account);
    json_set_str(spec, "waypoint", p->gateway);
    json_set_str(spec, "user", strbuf_text(&user));
    json_set_str(spec, "restart", "always");
    json_append_str(json_make_array(spec, "command"), s->program);
    json_set(spec, "env", environment(s, p, ip, token));
    return spec;
}

bool waypoint_slot(const char *user, unsigned *out)
{
    struct slice uid;
    struct slice gid;
    uint32_t number;

    if (!slice_cut(slice_of(user), ':', &uid, &gid) ||
        num_parse_u32(uid.p, uid.len, INT32_MAX, &number) < 0 || number < WAYPOINT_UID_FIRST) {
        return false;
    }
    *out = number - WAYPOINT_UID_FIRST;
    return true;
}
