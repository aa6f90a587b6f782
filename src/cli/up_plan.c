/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/up_plan.h"

#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "base/ascii.h"
#include "base/ip.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/args.h"
#include "codec/json.h"
#include "io/file.h"

enum { NODE_NAME_MAX = 63 };

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

/* A host's name as the name of an object: its first part, small letters. */
static char *host_name(void)
{
    struct strbuf b = {0};
    char name[256] = {0};

    if (gethostname(name, sizeof(name) - 1) < 0) {
        name[0] = '\0';
    }
    for (const char *p = name; *p && *p != '.' && b.len < NODE_NAME_MAX; p++) {
        if (ascii_is_alnum(*p) || (*p == '-' && b.len > 0)) {
            strbuf_putc(&b, ascii_lower(*p));
        }
    }
    if (b.len == 0) {
        strbuf_puts(&b, "node");
    }
    return strbuf_take(&b);
}

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

static int check_endpoint(const struct args *a, const char *name, struct diag *why)
{
    const char *text = args_text(a, name);
    struct endpoint e;

    if (endpoint_parse(&e, text, strlen(text)) < 0 || e.port == 0) {
        return FAIL(why, -ERR_SYNTAX, "--%s: %s is no address:port", name, text);
    }
    return 0;
}

static int check_ranges(const struct args *a, const char *name, struct diag *why)
{
    const char *text;
    struct ip_prefix p;

    for (unsigned i = 0; (text = args_item(a, name, i)) != NULL; i++) {
        if (ip_prefix_parse(&p, text, strlen(text)) < 0) {
            return FAIL(why, -ERR_SYNTAX, "--%s: %s is no range of addresses", name, text);
        }
    }
    return 0;
}

/* Programs change to the root folder, so paths must not depend on where we are. */
static int check_path(const struct args *a, const char *name, struct diag *why)
{
    const char *text = args_text(a, name);

    return text && text[0] != '/' ? FAIL(why, -ERR_SYNTAX, "--%s: write an absolute path", name)
                                  : 0;
}

int up_config_read(const struct args *a, struct up_config *out, struct diag *why)
{
    static const char *const paths[] = {"run-dir", "data", "log-dir", "programs"};
    int r = check_endpoint(a, "listen", why);

    if (r == 0) {
        r = check_endpoint(a, "api-listen", why);
    }
    if (r == 0) {
        r = check_ranges(a, "pod-cidr", why);
    }
    if (r == 0) {
        r = check_ranges(a, "service-cidr", why);
    }
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(paths); i++) {
        r = check_path(a, paths[i], why);
    }
    if (r < 0) {
        return r;
    }
    const char *node = args_text(a, "node");
    const char *programs = args_text(a, "programs");
    *out = (struct up_config){.args = a,
                              .run_dir = args_text(a, "run-dir"),
                              .data = args_text(a, "data"),
                              .log_dir = args_text(a, "log-dir"),
                              .node = node ? mem_strdup(node) : host_name(),
                              .programs = programs ? mem_strdup(programs) : own_folder()};
    return 0;
}

void up_config_fini(struct up_config *c)
{
    mem_free(c->node);
    mem_free(c->programs);
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

/* Those that were given, else the two. */
static struct json *ranges_of(const struct args *a, const char *option, const char *v4,
                              const char *v6)
{
    struct json *list = json_new_array();
    const char *text;

    for (unsigned i = 0; (text = args_item(a, option, i)) != NULL; i++) {
        json_append_str(list, text);
    }
    if (json_count(list) == 0) {
        json_append_str(list, v4);
        json_append_str(list, v6);
    }
    return list;
}

struct json *up_pod_ranges(const struct up_config *c)
{
    return ranges_of(c->args, "pod-cidr", "10.244.0.0/16", "fd00:10:244::/64");
}

static void add_ranges(const char *option, const struct json *ranges, struct json *argv)
{
    for (size_t i = 0; i < json_count(ranges); i++) {
        add(argv, "--%s=%s", option, json_str(json_item(ranges, i), ""));
    }
}

/* Waypoints have a network of their own: what listens on the loopback, or everywhere, they reach at the
 * gateway of their link (node/local_net.h). *out_own: it needs a listener there. */
static void pod_address(const struct up_config *c, struct strbuf *out, bool *out_own)
{
    const char *listen = args_text(c->args, "listen");
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
    AUTO(json)
    struct json *services = ranges_of(c->args, "service-cidr", "10.96.0.0/16", "fd00:10:96::/112");
    bool own;

    add(argv, "--standalone");
    add(argv, "--data=%s", c->data);
    add(argv, "--node=%s", c->node);
    add(argv, "--listen=%s", args_text(c->args, "listen"));
    pod_address(c, &pods, &own);
    if (own) {
        add(argv, "--pod-listen=%s", strbuf_text(&pods));
    } else {
        add(argv, "--name=169.254.1.1");
    }
    add(argv, "--api-listen=%s", args_text(c->args, "api-listen"));
    add(argv, "--trust-domain=%s", args_text(c->args, "trust-domain"));
    add(argv, "--readiness=127.0.0.1:%d", UP_PORT_CONTROL_READY);
    add(argv, "--monitoring=127.0.0.1:15014");
    add_ranges("service-cidr", services, argv);
}

static void add_agent(const struct up_config *c, struct json *argv)
{
    AUTO(strbuf) struct strbuf discovery = {0};
    AUTO(json) struct json *ranges = up_pod_ranges(c);
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
    add(argv, "--trust-domain=%s", args_text(c->args, "trust-domain"));
    add_ranges("pod-cidr", ranges, argv);
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
    client_address(args_text(c->args, "listen"), &control);
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
    add(env, "TRUST_DOMAIN=%s", args_text(c->args, "trust-domain"));
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
