/* SPDX-License-Identifier: Apache-2.0 */
#include "control/settings.h"

#include <stddef.h>
#include <string.h>

#include "base/mem.h"
#include "codec/json.h"
#include "codec/yaml.h"
#include "io/file.h"

enum kind { KIND_TEXT, KIND_BOOL, KIND_LIST };

static const struct flag {
    const char *name;
    enum kind kind;
    size_t offset; /* of the field */
    const char *initial;
    const char *help;
} flags[] = {
    {"standalone", KIND_BOOL, offsetof(struct settings, standalone), NULL,
     "hold the Kubernetes API ourselves, for hosts without a cluster"},
    {"data", KIND_TEXT, offsetof(struct settings, data), "/var/lib/ambit",
     "folder of the root key, and of the API's objects and credentials"},
    {"kubeconfig", KIND_TEXT, offsetof(struct settings, kubeconfig), NULL,
     "how to reach the cluster; default: as the pod we run in, or ~/.kube/config"},
    {"listen", KIND_TEXT, offsetof(struct settings, listen), "[::]:15012",
     "address of discovery and certificates"},
    {"pod-listen", KIND_TEXT, offsetof(struct settings, pod_listen), "",
     "the same for waypoints on this host, which do not reach its loopback; empty: none"},
    {"api-listen", KIND_TEXT, offsetof(struct settings, api_listen), "[::]:6443",
     "stand-alone: address of the Kubernetes API"},
    {"advertise", KIND_TEXT, offsetof(struct settings, advertise), NULL,
     "stand-alone: host[:port] at which nodes reach that API"},
    {"node", KIND_LIST, offsetof(struct settings, nodes), NULL,
     "stand-alone: make a credential for this node (repeat)"},
    {"service-cidr", KIND_LIST, offsetof(struct settings, cidrs), NULL,
     "stand-alone: range of service addresses (repeat, one a family); default 10.96.0.0/16"},
    {"trust-domain", KIND_TEXT, offsetof(struct settings, trust_domain), "cluster.local",
     "first part of every identity"},
    {"trust-domain-alias", KIND_LIST, offsetof(struct settings, aliases), NULL,
     "another name of it: principals of policies in one of them hold in all (repeat)"},
    {"cluster-id", KIND_TEXT, offsetof(struct settings, cluster_id), "Kubernetes",
     "name of this cluster"},
    {"mesh-namespace", KIND_TEXT, offsetof(struct settings, mesh_namespace), "istio-system",
     "policies in this namespace are for everyone"},
    {"revision", KIND_TEXT, offsetof(struct settings, revision), "default",
     "policies labelled with another revision are not ours"},
    {"waypoint-image", KIND_TEXT, offsetof(struct settings, waypoint_image),
     "ambit-waypoint:" AMBIT_VERSION, "with a cluster: image of the waypoints' Deployments"},
    {"waypoint-discovery", KIND_TEXT, offsetof(struct settings, waypoint_discovery),
     "https://istiod.istio-system.svc:15012", "with a cluster: where waypoints find us"},
    {"trusted-account", KIND_LIST, offsetof(struct settings, accounts), NULL,
     "namespace/account of node proxies (repeat); default MESH-NAMESPACE/ztunnel"},
    {"name", KIND_LIST, offsetof(struct settings, names), NULL,
     "another name or address of ours, for our certificate (repeat)"},
    {"monitoring", KIND_TEXT, offsetof(struct settings, monitoring), "[::]:15014",
     "address of /metrics; empty: none"},
    {"readiness", KIND_TEXT, offsetof(struct settings, readiness), "[::]:8080",
     "address of /healthz/ready; empty: none"},
    {"admin", KIND_TEXT, offsetof(struct settings, admin), "127.0.0.1:9876",
     "address of pages about our state; empty: none"},
    {"log-level", KIND_TEXT, offsetof(struct settings, log_level), "info",
     "info, debug, or by scope: feed=debug,info"},
    {"log-json", KIND_BOOL, offsetof(struct settings, log_json), NULL, "log lines as JSON"},
};

static const struct flag *find(struct slice name)
{
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        if (slice_is(name, flags[i].name)) {
            return &flags[i];
        }
    }
    return NULL;
}

static void *field_of(struct settings *s, const struct flag *f)
{
    return (char *)s + f->offset;
}

static void set_text(struct settings *s, const struct flag *f, const char *value)
{
    char **field = field_of(s, f);

    mem_free(*field);
    *field = mem_strdup(value);
}

static int set_bool(struct settings *s, const struct flag *f, const char *value, struct diag *why)
{
    bool yes = strcmp(value, "true") == 0;

    if (!yes && strcmp(value, "false") != 0) {
        return FAIL(why, -ERR_SYNTAX, "%s: true or false", f->name);
    }
    *(bool *)field_of(s, f) = yes;
    return 0;
}

static int add_text(struct settings *s, const struct flag *f, const char *value, struct diag *why)
{
    struct text_list *l = field_of(s, f);

    if (l->count == SETTINGS_LIST_MAX) {
        return FAIL(why, -ERR_RANGE, "%s: at most %d", f->name, SETTINGS_LIST_MAX);
    }
    l->at[l->count++] = mem_strdup(value);
    return 0;
}

static int set(struct settings *s, const struct flag *f, const char *value, struct diag *why)
{
    switch (f->kind) {
    case KIND_TEXT:
        set_text(s, f, value);
        return 0;
    case KIND_BOOL:
        return set_bool(s, f, value, why);
    case KIND_LIST:
        return add_text(s, f, value, why);
    }
    return -ERR_UNSUPPORTED;
}

/* ---- the file */

static int set_json(struct settings *s, const struct flag *f, const struct json *value,
                    struct diag *why)
{
    int r = 0;

    if (json_kind(value) == JSON_KIND_BOOL) {
        return set(s, f, json_bool(value, false) ? "true" : "false", why);
    }
    if (json_kind(value) == JSON_KIND_STRING) {
        return set(s, f, json_str(value, ""), why);
    }
    if (!json_is_arr(value) || f->kind != KIND_LIST) {
        return FAIL(why, -ERR_SYNTAX, "%s: a value of another kind is needed", f->name);
    }
    for (size_t i = 0; r == 0 && i < json_count(value); i++) {
        r = set(s, f, json_str(json_item(value, i), ""), why);
    }
    return r;
}

static int read_file_blocking(struct settings *s, const char *path, struct diag *why)
{
    AUTO(text) char *text = NULL;
    AUTO(json) struct json *documents = NULL;
    size_t len = 0;
    int r = file_read_blocking(path, &text, &len, why);

    if (r == 0) {
        r = yaml_parse_all(&documents, text, len, why);
    }
    const struct json *all = json_item(documents, 0);
    for (struct json_iter it = {0}; r == 0 && json_each(all, &it);) {
        const struct flag *f = find(slice_of(it.key));
        r = f ? set_json(s, f, it.value, why)
              : FAIL(why, -ERR_SYNTAX, "%s: no such key in %s", it.key, path);
    }
    return r;
}

/* ---- flags */

/* "--name=value", "--name value", "--name" for a bool. *at stands at the flag. */
static int read_flag(struct settings *s, int argc, char **argv, int *at, struct diag *why)
{
    struct slice name;
    struct slice value;
    const char *arg = argv[*at];

    if (strncmp(arg, "--", 2) != 0) {
        return FAIL(why, -ERR_SYNTAX, "%s is no flag", arg);
    }
    bool joined = slice_cut(slice_of(arg + 2), '=', &name, &value);
    const struct flag *f = find(name);
    bool is_config = slice_is(name, "config");
    if (!f && !is_config) {
        return FAIL(why, -ERR_SYNTAX, "there is no flag %s", arg);
    }
    const char *text = joined ? value.p : NULL;
    if (!joined && f && f->kind == KIND_BOOL) {
        text = "true";
    } else if (!joined && *at + 1 < argc) {
        text = argv[++*at];
    }
    if (!text) {
        return FAIL(why, -ERR_SYNTAX, "%s needs a value", arg);
    }
    return is_config ? 0 : set(s, f, text, why);
}

/* The file first, so that flags win. */
static int read_config_blocking(struct settings *s, int argc, char **argv, struct diag *why)
{
    for (int i = 0; i < argc; i++) {
        const char *path = NULL;
        if (strncmp(argv[i], "--config=", 9) == 0) {
            path = argv[i] + 9;
        } else if (strcmp(argv[i], "--config") == 0 && i + 1 < argc) {
            path = argv[i + 1];
        }
        int r = path ? read_file_blocking(s, path, why) : 0;
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static int fill_lists(struct settings *s, struct diag *why)
{
    AUTO(strbuf) struct strbuf account = {0};
    int r = 0;

    if (s->accounts.count == 0) {
        strbuf_printf(&account, "%s/ztunnel", s->mesh_namespace);
        r = add_text(s, find(slice_of("trusted-account")), strbuf_text(&account), why);
    }
    if (r == 0 && s->cidrs.count == 0) {
        r = add_text(s, find(slice_of("service-cidr")), "10.96.0.0/16", why);
    }
    return r;
}

int settings_read_blocking(int argc, char **argv, struct settings *out, struct diag *why)
{
    struct settings s = {.data = NULL};

    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        if (flags[i].initial) {
            set_text(&s, &flags[i], flags[i].initial);
        }
    }
    int r = read_config_blocking(&s, argc, argv, why);
    for (int i = 0; r == 0 && i < argc; i++) {
        r = read_flag(&s, argc, argv, &i, why);
    }
    if (r == 0) {
        r = fill_lists(&s, why);
    }
    if (r < 0) {
        settings_fini(&s);
        return r;
    }
    *out = s;
    return 0;
}

static void list_fini(struct text_list *l)
{
    for (unsigned i = 0; i < l->count; i++) {
        mem_free(l->at[i]);
    }
}

void settings_fini(struct settings *s)
{
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        switch (flags[i].kind) {
        case KIND_TEXT:
            mem_free(*(char **)field_of(s, &flags[i]));
            break;
        case KIND_LIST:
            list_fini(field_of(s, &flags[i]));
            break;
        case KIND_BOOL:
            break;
        }
    }
    *s = (struct settings){.data = NULL};
}

void settings_help(struct strbuf *out)
{
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        strbuf_printf(out, "  --%-17s %s", flags[i].name, flags[i].help);
        if (flags[i].initial) {
            strbuf_printf(out, "; default %s", flags[i].initial);
        }
        strbuf_putc(out, '\n');
    }
    strbuf_printf(out, "  --%-17s %s\n", "config", "JSON or YAML file with the same names as keys");
}
