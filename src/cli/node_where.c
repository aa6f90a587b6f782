/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/node_where.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/args.h"
#include "codec/json.h"
#include "io/file.h"
#include "io/netns.h"

void node_where_fini(struct node_where *n)
{
    mem_free(n->name);
    mem_free(n->netns);
    mem_free(n->runtime);
    *n = (struct node_where){0};
}

void nodes_fini(struct nodes *n)
{
    for (unsigned i = 0; i < n->count; i++) {
        node_where_fini(&n->at[i]);
    }
    n->count = 0;
}

static struct endpoint loopback(uint16_t port)
{
    return (struct endpoint){{IP_V4, {127, 0, 0, 1}}, port};
}

static void set_defaults(struct node_where *n, const char *name, const char *run_dir)
{
    struct strbuf runtime = {0};

    strbuf_printf(&runtime, "%s/runtime.sock", run_dir);
    *n = (struct node_where){.name = mem_strdup(name),
                             .runtime = strbuf_take(&runtime),
                             .admin = loopback(NODE_PORT_ADMIN),
                             .readiness = loopback(NODE_PORT_READINESS)};
}

static void read_text(const struct json *j, const char *key, char **field)
{
    const char *text = json_str(json_get(j, key), NULL);

    if (text) {
        mem_free(*field);
        *field = mem_strdup(text);
    }
}

static int read_endpoint(const struct json *j, const char *key, struct endpoint *out,
                         struct diag *why)
{
    const char *text = json_str(json_get(j, key), NULL);

    if (text && endpoint_parse(out, text, strlen(text)) < 0) {
        return FAIL(why, -ERR_SYNTAX, "%s: %s is no address:port", key, text);
    }
    return 0;
}

int node_where_read(const char *text, size_t len, const char *name, const char *run_dir,
                    struct node_where *out, struct diag *why)
{
    AUTO(json) struct json *j = NULL;
    struct node_where n;
    int r = json_parse(&j, text, len, NULL, why);

    if (r < 0) {
        return r;
    }
    if (json_int(json_get(j, "version"), 0) != NODE_FILE_VERSION) {
        return FAIL(why, -ERR_VERSION, "version must be %d", NODE_FILE_VERSION);
    }
    set_defaults(&n, name, run_dir);
    read_text(j, "name", &n.name);
    read_text(j, "netns", &n.netns);
    read_text(j, "runtime", &n.runtime);
    r = read_endpoint(j, "admin", &n.admin, why);
    if (r == 0) {
        r = read_endpoint(j, "readiness", &n.readiness, why);
    }
    if (r < 0) {
        node_where_fini(&n);
        return r;
    }
    *out = n;
    return 0;
}

/* ---- the folder */

static int is_description(const struct dirent *e)
{
    size_t len = strlen(e->d_name);

    return len > 5 && e->d_name[0] != '.' && strcmp(e->d_name + len - 5, ".json") == 0;
}

static int load_one(const char *dir, const char *file, const char *run_dir, struct node_where *out,
                    struct diag *why)
{
    AUTO(strbuf) struct strbuf path = {0};
    AUTO(strbuf) struct strbuf name = {0};
    struct diag inner = {0};
    char *bytes;
    size_t len;

    strbuf_printf(&path, "%s/%s", dir, file);
    strbuf_add(&name, file, strlen(file) - 5);
    int r = file_read_blocking(strbuf_text(&path), &bytes, &len, why);
    if (r < 0) {
        return r;
    }
    AUTO(text) char *text = bytes;
    r = node_where_read(text, len, strbuf_text(&name), run_dir, out, &inner);
    return r < 0 ? FAIL(why, r, "%s: %s", strbuf_text(&path), inner.text) : 0;
}

static int load_all_blocking(const char *run_dir, struct nodes *out, struct diag *why)
{
    AUTO(strbuf) struct strbuf dir = {0};
    struct dirent **files = NULL;
    int r = 0;

    strbuf_printf(&dir, "%s/nodes", run_dir);
    int count = scandir(strbuf_text(&dir), &files, is_description, alphasort);
    if (count < 0 && errno != ENOENT && errno != ENOTDIR) {
        return FAIL(why, neg_errno(), "read %s: %s", strbuf_text(&dir), err_text(neg_errno()));
    }
    for (int i = 0; i < count; i++) {
        if (r == 0 && out->count == NODES_MAX) {
            r = FAIL(why, -ERR_LIMIT, "%s: more than %d nodes", strbuf_text(&dir), NODES_MAX);
        }
        if (r == 0) {
            r = load_one(strbuf_text(&dir), files[i]->d_name, run_dir, &out->at[out->count], why);
            out->count += r == 0;
        }
        mem_free(files[i]); /* scandir's, of the same allocator */
    }
    mem_free(files);
    return r;
}

/* ---- choosing */

static int keep_only(struct nodes *n, const char *name, struct diag *why)
{
    AUTO(strbuf) struct strbuf known = {0};
    unsigned kept = 0;

    for (unsigned i = 0; i < n->count; i++) {
        strbuf_printf(&known, "%s%s", i > 0 ? ", " : "", n->at[i].name);
        if (strcmp(n->at[i].name, name) == 0) {
            struct node_where found = n->at[i];
            n->at[i] = n->at[kept];
            n->at[kept++] = found;
        }
    }
    if (kept == 0) {
        return FAIL(why, -ERR_SYNTAX, "--node: no node %s; there are: %s", name,
                    strbuf_text(&known));
    }
    while (n->count > kept) {
        node_where_fini(&n->at[--n->count]);
    }
    return 0;
}

/* A namespace that is not there is said before the proxy inside of it is said not to answer. */
static int check_netns(const char *path, struct diag *why)
{
    struct diag inner = {0};
    int fd = -1;
    int r = netns_open(path, &fd, &inner);

    if (r < 0) {
        return FAIL(why, r, "--netns: %s", inner.text);
    }
    (void)close(fd); /* nothing was written to it */
    return 0;
}

static int given(const struct args *a, const char *run_dir, struct nodes *out, struct diag *why)
{
    const char *admin = args_text(a, "node-admin");
    const char *netns = args_text(a, "netns");
    const char *name = args_text(a, "node");
    struct endpoint at;

    if (admin && endpoint_parse(&at, admin, strlen(admin)) < 0) {
        return FAIL(why, -ERR_SYNTAX, "--node-admin: %s is no address:port", admin);
    }
    int r = netns ? check_netns(netns, why) : 0;
    if (r < 0) {
        return r;
    }
    set_defaults(&out->at[0], name ? name : "given", run_dir);
    out->count = 1;
    if (admin) {
        out->at[0].admin = at;
        out->at[0].readiness.ip = at.ip;
    }
    if (netns) {
        out->at[0].netns = mem_strdup(netns);
    }
    return 0;
}

int nodes_find_blocking(const struct args *a, struct nodes *out, struct diag *why)
{
    const char *run_dir = args_text(a, "run-dir");
    const char *name = args_text(a, "node");
    int r;

    *out = (struct nodes){.count = 0};
    if (args_knows(a, "netns") && (args_has(a, "node-admin") || args_has(a, "netns"))) {
        return given(a, run_dir, out, why);
    }
    r = load_all_blocking(run_dir, out, why);
    if (r == 0 && out->count == 0) {
        set_defaults(&out->at[out->count++], "local", run_dir);
    }
    if (r == 0 && name) {
        r = keep_only(out, name, why);
    }
    if (r < 0) {
        nodes_fini(out);
    }
    return r;
}
