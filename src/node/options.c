/* SPDX-License-Identifier: Apache-2.0 */
#include "node/options.h"

#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "codec/json.h"
#include "codec/yaml.h"
#include "io/file.h"

enum kind { KIND_TEXT, KIND_BOOL, KIND_CIDR, KIND_EXCLUDED };

static const struct flag {
    const char *name;
    enum kind kind;
    size_t offset; /* of the field, for KIND_TEXT and KIND_BOOL */
    const char *help;
} flags[] = {
    {"node", KIND_TEXT, offsetof(struct options, node), "name of this node (needed)"},
    {"kubeconfig", KIND_TEXT, offsetof(struct options, kubeconfig),
     "file with the API's address and our credentials; default: those of our own pod"},
    {"run-dir", KIND_TEXT, offsetof(struct options, run_dir),
     "where sockets and records of local workloads are; default /run/ambit"},
    {"zds-path", KIND_TEXT, offsetof(struct options, zds_path),
     "socket for node proxies; default /var/run/ztunnel/ztunnel.sock"},
    {"mesh-namespace", KIND_TEXT, offsetof(struct options, mesh_namespace),
     "namespace of the node proxies' own pods; default istio-system"},
    {"exclude-namespace", KIND_EXCLUDED, 0,
     "its pods are never in the mesh (repeat); default kube-system"},
    {"proxy-token", KIND_TEXT, offsetof(struct options, proxy_token),
     "file that is kept filled with a token of this node's proxy, where no kubelet does it"},
    {"pod-cidr", KIND_CIDR, 0, "range of local workloads' addresses (repeat, one a family)"},
    {"dns", KIND_BOOL, offsetof(struct options, dns),
     "capture DNS unless a pod says otherwise; default true"},
    {"probes", KIND_BOOL, offsetof(struct options, probes),
     "let the node's health probes pass, with rules on the node that guard it; default false"},
    {"readiness", KIND_TEXT, offsetof(struct options, readiness), "address:port of /healthz/ready"},
    {"stats", KIND_TEXT, offsetof(struct options, stats), "address:port of /metrics"},
    {"discovery", KIND_TEXT, offsetof(struct options, discovery),
     "https://HOST:PORT of the control plane as waypoints of this node reach it; default: this "
     "node "
     "runs none"},
    {"root-cert", KIND_TEXT, offsetof(struct options, root_cert),
     "root certificate of the control plane, for waypoints; everybody may read it"},
    {"waypoint-program", KIND_TEXT, offsetof(struct options, waypoint_program),
     "what a waypoint is; default: ambit-waypoint beside this program"},
    {"trust-domain", KIND_TEXT, offsetof(struct options, trust_domain), "of waypoints"},
    {"cluster-id", KIND_TEXT, offsetof(struct options, cluster_id), "of waypoints"},
    {"network", KIND_TEXT, offsetof(struct options, network), "of waypoints"},
    {"log-level", KIND_TEXT, offsetof(struct options, log_level),
     "info, debug, or by scope: enrol=debug,info"},
    {"log-json", KIND_BOOL, offsetof(struct options, log_json), "log lines as JSON"},
};

static const struct flag *find(const char *name, size_t len)
{
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        if (strlen(flags[i].name) == len && memcmp(flags[i].name, name, len) == 0) {
            return &flags[i];
        }
    }
    return NULL;
}

static void set_text(struct options *o, const struct flag *f, const char *value)
{
    char **field = (char **)(void *)((char *)o + f->offset);

    mem_free(*field);
    *field = mem_strdup(value);
}

static int set_bool(struct options *o, const struct flag *f, const char *value, struct diag *why)
{
    bool yes = strcmp(value, "true") == 0;

    if (!yes && strcmp(value, "false") != 0) {
        return FAIL(why, -ERR_SYNTAX, "%s: true or false", f->name);
    }
    *(bool *)(void *)((char *)o + f->offset) = yes;
    return 0;
}

static int add_cidr(struct options *o, const char *value, struct diag *why)
{
    if (o->cidr_count == OPTIONS_CIDRS_MAX) {
        return FAIL(why, -ERR_RANGE, "pod-cidr: at most %d", OPTIONS_CIDRS_MAX);
    }
    if (ip_prefix_parse(&o->cidrs[o->cidr_count], value, strlen(value)) < 0) {
        return FAIL(why, -ERR_SYNTAX, "pod-cidr: %s is no range of addresses", value);
    }
    o->cidr_count++;
    return 0;
}

static int add_excluded(struct options *o, const char *value, struct diag *why)
{
    if (o->excluded_count == OPTIONS_NAMES_MAX) {
        return FAIL(why, -ERR_RANGE, "exclude-namespace: at most %d", OPTIONS_NAMES_MAX);
    }
    o->excluded[o->excluded_count++] = mem_strdup(value);
    return 0;
}

static int set(struct options *o, const struct flag *f, const char *value, struct diag *why)
{
    switch (f->kind) {
    case KIND_TEXT:
        set_text(o, f, value);
        return 0;
    case KIND_BOOL:
        return set_bool(o, f, value, why);
    case KIND_CIDR:
        return add_cidr(o, value, why);
    case KIND_EXCLUDED:
        return add_excluded(o, value, why);
    }
    return -ERR_UNSUPPORTED;
}

/* ---- the command line */

struct argument {
    struct slice name;
    const char *value;
};

/* "--name=value", "--name value", or "--name" alone for a bool. How many words were used. */
static int read_argument(int argc, char **argv, struct argument *out, struct diag *why)
{
    struct slice word = slice_of(argv[0]);
    struct slice rest;

    if (!slice_has_prefix(word, "--")) {
        return FAIL(why, -ERR_SYNTAX, "%s: flags begin with --", argv[0]);
    }
    word = (struct slice){word.p + 2, word.len - 2};
    if (slice_cut(word, '=', &out->name, &rest)) {
        out->value = rest.p;
        return 1;
    }
    const struct flag *f = find(word.p, word.len);
    if (f && f->kind == KIND_BOOL) {
        out->value = "true";
        return 1;
    }
    if (argc < 2) {
        return FAIL(why, -ERR_SYNTAX, "%s: a value is missing", argv[0]);
    }
    out->value = argv[1];
    return 2;
}

static int apply(struct options *o, const struct argument *a, struct diag *why)
{
    const struct flag *f = find(a->name.p, a->name.len);

    if (slice_is(a->name, "config")) {
        return 0; /* has been read before the flags */
    }
    if (!f) {
        return FAIL(why, -ERR_NOT_FOUND, "no flag --%.*s", (int)a->name.len, a->name.p);
    }
    return set(o, f, a->value, why);
}

static int apply_flags(struct options *o, int argc, char **argv, struct diag *why)
{
    struct argument a;

    for (int i = 0; i < argc;) {
        int n = read_argument(argc - i, argv + i, &a, why);
        int r = n < 0 ? n : apply(o, &a, why);
        if (r < 0) {
            return r;
        }
        i += n;
    }
    return 0;
}

/* ---- the file */

static int apply_value(struct options *o, const struct flag *f, const struct json *v,
                       struct diag *why)
{
    if (json_kind(v) == JSON_KIND_BOOL) {
        return set(o, f, json_bool(v, false) ? "true" : "false", why);
    }
    if (json_kind(v) != JSON_KIND_STRING) {
        return FAIL(why, -ERR_SYNTAX, "%s: a text is needed", f->name);
    }
    return set(o, f, json_str(v, ""), why);
}

static int apply_key(struct options *o, const struct json_iter *it, struct diag *why)
{
    const struct flag *f = find(it->key, strlen(it->key));

    if (!f) {
        return FAIL(why, -ERR_NOT_FOUND, "no option %s", it->key);
    }
    if (!json_is_arr(it->value)) {
        return apply_value(o, f, it->value, why);
    }
    for (size_t i = 0; i < json_count(it->value); i++) {
        int r = apply_value(o, f, json_item(it->value, i), why);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static int apply_file(struct options *o, const char *path, struct diag *why)
{
    AUTO(json) struct json *documents = NULL;
    char *bytes;
    size_t len;
    int r = file_read_blocking(path, &bytes, &len, why);

    if (r < 0) {
        return r;
    }
    AUTO(text) char *owned = bytes;
    r = yaml_parse_all(&documents, owned, len, why);
    const struct json *first = json_item(documents, 0);
    for (struct json_iter it = {0}; r == 0 && json_each(first, &it);) {
        r = apply_key(o, &it, why);
    }
    return r;
}

static const char *find_file(int argc, char **argv)
{
    struct argument a;

    for (int i = 0; i < argc;) {
        int n = read_argument(argc - i, argv + i, &a, NULL);
        if (n < 0) {
            return NULL; /* said when the flags are applied */
        }
        if (slice_is(a.name, "config")) {
            return a.value;
        }
        i += n;
    }
    return NULL;
}

/* ---- the whole */

static void set_default(char **field, const char *value)
{
    if (!*field) {
        *field = mem_strdup(value);
    }
}

/* The path of a program in our own folder. */
static char *beside_us(const char *name)
{
    char self[4096] = {0};
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    const char *slash = n > 0 ? strrchr(self, '/') : NULL;
    struct strbuf path = {0};

    if (slash) {
        strbuf_add(&path, self, (size_t)(slash - self));
    }
    strbuf_printf(&path, "/%s", name);
    return strbuf_take(&path);
}

static int complete(struct options *o, struct diag *why)
{
    set_default(&o->run_dir, "/run/ambit");
    set_default(&o->zds_path, "/var/run/ztunnel/ztunnel.sock");
    set_default(&o->mesh_namespace, "istio-system");
    set_default(&o->log_level, "info");
    if (!o->waypoint_program) {
        o->waypoint_program = beside_us("ambit-waypoint");
    }
    if (!o->node || o->node[0] == '\0') {
        return FAIL(why, -ERR_SYNTAX, "--node is needed");
    }
    return o->excluded_count > 0 ? 0 : add_excluded(o, "kube-system", why);
}

int options_read_blocking(int argc, char **argv, struct options *out, struct diag *why)
{
    struct options o = {.dns = true};
    const char *path = find_file(argc, argv);
    int r = path ? apply_file(&o, path, why) : 0;

    if (r == 0) {
        r = apply_flags(&o, argc, argv, why);
    }
    if (r == 0) {
        r = complete(&o, why);
    }
    if (r < 0) {
        options_fini(&o);
        return r;
    }
    *out = o;
    return 0;
}

void options_fini(struct options *o)
{
    char *texts[] = {o->node,         o->kubeconfig, o->run_dir,    o->zds_path,
                     o->stats,        o->log_level,  o->readiness,  o->mesh_namespace,
                     o->discovery,    o->root_cert,  o->network,    o->waypoint_program,
                     o->trust_domain, o->cluster_id, o->proxy_token};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        mem_free(texts[i]);
    }
    for (unsigned i = 0; i < o->excluded_count; i++) {
        mem_free(o->excluded[i]);
    }
    *o = (struct options){0};
}

void options_help(struct strbuf *out)
{
    strbuf_puts(out, "ambit-agent takes the pods of this node into the mesh.\n\n");
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        strbuf_printf(out, "  --%-18s %s\n", flags[i].name, flags[i].help);
    }
    strbuf_printf(out, "  --%-18s %s\n", "config", "file with the same names as keys (JSON, YAML)");
}
