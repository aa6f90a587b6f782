/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/up_plan.h"

#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "base/ip.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/args.h"
#include "cli/up_settings.h"
#include "codec/json.h"
#include "io/file.h"

const struct arg_option options_up_where[] = {
    {"run-dir", 0, ARG_TEXT, "DIR", "/run/ambit", "sockets, and what is running"},
    {"data", 0, ARG_TEXT, "DIR", "/var/lib/ambit", "root key, objects of the API, credentials"},
    {"log-dir", 0, ARG_TEXT, "DIR", "/var/log/ambit", "logs of the programs"},
    {0}};

const struct arg_option options_up[] = {
    {"node", 0, ARG_TEXT, "NAME", NULL, "name of this node; otherwise the host's"},
    {"listen", 0, ARG_TEXT, "ADDR:PORT", "127.0.0.1:15012",
     "where node proxies find control plane and CA"},
    {"api-listen", 0, ARG_TEXT, "ADDR:PORT", "127.0.0.1:6443", "where the Kubernetes API is"},
    {"pod-cidr", 0, ARG_LIST, "RANGE", "10.244.0.0/16 and fd00:10:244::/64",
     "addresses of workloads, one range a family"},
    {"service-cidr", 0, ARG_LIST, "RANGE", "10.96.0.0/16 and fd00:10:96::/112",
     "addresses of services, one range a family"},
    {"trust-domain", 0, ARG_TEXT, "NAME", "cluster.local", "first part of every identity"},
    {"programs", 0, ARG_TEXT, "DIR", NULL,
     "where ambitd, ambit-agent and ambit-ztunnel are; otherwise beside this program"},
    {"timeout", 0, ARG_DURATION, "TIME", "30s", "give up on a part after this long"},
    {0}};

static const char *const names[] = {
    [UP_CONTROL] = "ambitd", [UP_AGENT] = "ambit-agent", [UP_PROXY] = "ambit-ztunnel"};

const char *up_part_name(enum up_part p)
{
    return names[p];
}

char *up_path(const char *dir, const char *name, const char *ending)
{
    struct strbuf b = {0};

    strbuf_printf(&b, "%s/%s%s", dir, name, ending);
    return strbuf_take(&b);
}

/* ---- configuration */

/* Beside this program. */
static char *own_folder(void)
{
    char path[4096] = {0};
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
    char *slash = n > 0 ? strrchr(path, '/') : NULL;

    if (!slash) {
        return mem_strdup("/usr/bin");
    }
    *slash = '\0';
    return mem_strdup(path);
}

/* Programs change to the root folder, so paths must not depend on where we are. */
static int check_path(const struct args *a, const char *name, struct diag *why)
{
    const char *text = args_text(a, name);

    return text && text[0] != '/' ? FAIL(why, -ERR_SYNTAX, "--%s: write an absolute path", name)
                                  : 0;
}

int up_config_read(const struct args *a, const struct json *state, struct up_config *out,
                   struct diag *why)
{
    AUTO(json) struct json *settings = up_settings_make(a, state);
    int r = up_settings_check(settings, why);

    if (r == 0) {
        r = check_path(a, "run-dir", why);
    }
    if (r == 0) {
        r = check_path(a, "programs", why);
    }
    if (r < 0) {
        return r;
    }
    const char *programs = args_text(a, "programs");
    *out = (struct up_config){.run_dir = args_text(a, "run-dir"),
                              .data = json_str_at(settings, "data", ""),
                              .log_dir = json_str_at(settings, "logDir", ""),
                              .node = json_str_at(settings, "node", ""),
                              .listen = json_str_at(settings, "listen", ""),
                              .trust_domain = json_str_at(settings, "trustDomain", ""),
                              .programs = programs ? mem_strdup(programs) : own_folder()};
    out->settings = MOVE(settings);
    return 0;
}

void up_config_fini(struct up_config *c)
{
    mem_free(c->programs);
    json_unref(c->settings);
    *c = (struct up_config){0};
}

/* ---- command lines */

static void add(struct json *list, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void add(struct json *list, const char *fmt, ...)
{
    AUTO(strbuf) struct strbuf b = {0};
    va_list ap;

    va_start(ap, fmt);
    strbuf_vprintf(&b, fmt, ap);
    va_end(ap);
    json_append_str(list, strbuf_text(&b));
}

struct json *up_pod_ranges(const struct up_config *c)
{
    return json_clone(json_array_at(c->settings, "podRanges"));
}

static void add_ranges(const struct up_config *c, const char *key, const char *option,
                       struct json *argv)
{
    const struct json *list = json_array_at(c->settings, key);

    for (size_t i = 0; i < json_count(list); i++) {
        add(argv, "--%s=%s", option, json_str(json_item(list, i), ""));
    }
}

/* Waypoints have a network of their own: what listens on the loopback, or everywhere, they reach at the
 * gateway of their link (node/local_net.h). *out_own: it needs a listener there. */
static void pod_address(const struct up_config *c, struct strbuf *out, bool *out_own)
{
    const char *listen = c->listen;
    struct endpoint e = {.port = 0};
    char text[ENDPOINT_TEXT];

    *out_own = false;
    if (endpoint_parse(&e, listen, strlen(listen)) == 0 &&
        (ip_is_loopback(&e.ip) || ip_is_unspecified(&e.ip))) {
        *out_own = ip_is_loopback(&e.ip);
        e.ip = (struct ip){.family = IP_V4, .bytes = {169, 254, 1, 1}};
    }
    strbuf_puts(out, endpoint_format(&e, text));
}

static void add_control(const struct up_config *c, struct json *argv)
{
    AUTO(strbuf) struct strbuf pods = {0};
    bool own;

    add(argv, "--standalone");
    add(argv, "--data=%s", c->data);
    add(argv, "--node=%s", c->node);
    add(argv, "--listen=%s", c->listen);
    pod_address(c, &pods, &own);
    if (own) {
        add(argv, "--pod-listen=%s", strbuf_text(&pods));
    } else {
        add(argv, "--name=169.254.1.1");
    }
    add(argv, "--api-listen=%s", json_str_at(c->settings, "apiListen", ""));
    add(argv, "--trust-domain=%s", c->trust_domain);
    add(argv, "--readiness=127.0.0.1:%d", UP_PORT_CONTROL_READY);
    add(argv, "--monitoring=127.0.0.1:15014");
    add_ranges(c, "serviceRanges", "service-cidr", argv);
}

static void add_agent(const struct up_config *c, struct json *argv)
{
    AUTO(strbuf) struct strbuf discovery = {0};
    bool own;

    pod_address(c, &discovery, &own);
    add(argv, "--node=%s", c->node);
    add(argv, "--kubeconfig=%s/nodes/%s.kubeconfig", c->data, c->node);
    add(argv, "--run-dir=%s", c->run_dir);
    add(argv, "--zds-path=%s/zds.sock", c->run_dir);
    add(argv, "--proxy-token=%s/ztunnel.token", c->run_dir);
    add(argv, "--readiness=127.0.0.1:%d", UP_PORT_AGENT_READY);
    add(argv, "--discovery=https://%s", strbuf_text(&discovery));
    add(argv, "--root-cert=%s/root-cert.pem", c->data);
    add(argv, "--waypoint-program=%s/ambit-waypoint", c->programs);
    add(argv, "--trust-domain=%s", c->trust_domain);
    add_ranges(c, "podRanges", "pod-cidr", argv);
}

struct json *up_argv(const struct up_config *c, enum up_part p)
{
    struct json *argv = json_new_array();

    add(argv, "%s/%s", c->programs, names[p]);
    switch (p) {
    case UP_CONTROL:
        add_control(c, argv);
        break;
    case UP_AGENT:
        add_agent(c, argv);
        break;
    case UP_PROXY: /* takes everything from its environment (contract 1.5) */
    case UP_PARTS:
        break;
    }
    return argv;
}

/* An address that a client can use: what listens everywhere is reached at home. */
static void client_address(const char *listen, struct strbuf *out)
{
    struct endpoint e = {.port = 0};
    char text[ENDPOINT_TEXT];

    if (endpoint_parse(&e, listen, strlen(listen)) == 0 && ip_is_unspecified(&e.ip)) {
        e.ip = (struct ip){.family = IP_V4, .bytes = {127, 0, 0, 1}};
    }
    strbuf_puts(out, endpoint_format(&e, text));
}

struct json *up_env(const struct up_config *c, enum up_part p)
{
    struct json *env = json_new_array();
    AUTO(strbuf) struct strbuf control = {0};

    add(env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    if (p != UP_PROXY) {
        return env;
    }
    client_address(c->listen, &control);
    add(env, "XDS_ADDRESS=https://%s", strbuf_text(&control));
    add(env, "CA_ADDRESS=https://%s", strbuf_text(&control));
    add(env, "XDS_ROOT_CA=%s/root-cert.pem", c->data);
    add(env, "CA_ROOT_CA=%s/root-cert.pem", c->data);
    add(env, "AUTH_TOKEN=%s/ztunnel.token", c->run_dir);
    add(env, "INPOD_UDS=%s/zds.sock", c->run_dir);
    add(env, "NODE_NAME=%s", c->node);
    add(env, "POD_NAME=ztunnel-%s", c->node);
    add(env, "POD_NAMESPACE=istio-system");
    add(env, "SERVICE_ACCOUNT=ztunnel");
    add(env, "TRUST_DOMAIN=%s", c->trust_domain);
    add(env, "ISTIO_META_DNS_CAPTURE=true");
    return env;
}

struct json *up_node_file(const struct up_config *c)
{
    struct json *j = json_new_object();
    AUTO(text) char *runtime = up_path(c->run_dir, "runtime", ".sock");

    json_set_int(j, "version", 1);
    json_set_str(j, "name", c->node);
    json_set_str(j, "runtime", runtime);
    return j;
}

/* ---- what was started */

int up_state_load_blocking(const char *run_dir, struct json **out, struct diag *why)
{
    AUTO(text) char *path = up_path(run_dir, "up", ".json");
    AUTO(text) char *text = NULL;
    AUTO(json) struct json *state = NULL;
    size_t len;
    int r = file_read_blocking(path, &text, &len, why);

    if (r == 0) {
        r = json_parse(&state, text, len, NULL, why);
    }
    if (r == 0 && json_int_at(state, "version", 0) != UP_STATE_VERSION) {
        r = FAIL(why, -ERR_VERSION, "%s: version must be %d", path, UP_STATE_VERSION);
    }
    if (r == 0) {
        *out = MOVE(state);
    }
    return r;
}

int up_state_save_blocking(const char *run_dir, const struct json *state, struct diag *why)
{
    AUTO(text) char *path = up_path(run_dir, "up", ".json");
    AUTO(strbuf) struct strbuf text = {0};

    json_print(state, JSON_PRINT_INDENT, &text);
    return file_write_blocking(path, text.p, text.len, 0600, why);
}

void up_state_forget_blocking(const char *run_dir)
{
    static const char *const files[] = {"up.json", "ztunnel.token"};
    AUTO(text) char *nodes = up_path(run_dir, "nodes", "");

    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        AUTO(text) char *path = up_path(run_dir, files[i], "");
        (void)unlink(path);
    }
    (void)rmdir(nodes);
    (void)rmdir(run_dir); /* with more in them, they stay */
}

struct daemon up_state_daemon(const struct json *state, enum up_part p)
{
    const struct json *one = json_get(json_get(state, "parts"), names[p]);

    return (struct daemon){(pid_t)json_int_at(one, "pid", 0),
                           (uint64_t)json_int_at(one, "startTime", 0)};
}

void up_state_set_daemon(struct json *state, enum up_part p, const struct daemon *d)
{
    struct json *one = json_new_object();

    json_set_int(one, "pid", d->pid);
    json_set_int(one, "startTime", (int64_t)d->start_time);
    json_set(json_make_object(state, "parts"), names[p], one);
}
