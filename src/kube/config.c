/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/config.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "codec/base64.h"
#include "codec/json.h"
#include "codec/yaml.h"
#include "io/file.h"

static const char account_dir[] = "/var/run/secrets/kubernetes.io/serviceaccount";

static void wipe(char *secret)
{
    if (secret) {
        mem_free_secret(secret, strlen(secret));
    }
}

void kube_config_free(struct kube_config *c)
{
    if (!c) {
        return;
    }
    wipe(c->client_key_pem);
    wipe(c->token);
    wipe(c->password);
    mem_free(c->server);
    mem_free(c->tls_server_name);
    mem_free(c->ca_pem);
    mem_free(c->client_cert_pem);
    mem_free(c->token_file);
    mem_free(c->username);
    mem_free(c->proxy_url);
    mem_free(c->namespace);
    mem_free(c);
}

static char *join(const char *dir, const char *file)
{
    struct strbuf path = {0};

    if (file[0] != '/') {
        strbuf_puts(&path, dir);
        strbuf_putc(&path, '/');
    }
    strbuf_puts(&path, file);
    return strbuf_take(&path);
}

/* The entry of that name in a list of {name, KEY}: its KEY. */
static const struct json *find_named(const struct json *list, const char *name, const char *key)
{
    for (size_t i = 0; i < json_count(list); i++) {
        if (strcmp(json_str_at(json_item(list, i), "name", ""), name) == 0) {
            return json_get(json_item(list, i), key);
        }
    }
    return NULL;
}

static char *text_or_null(const struct json *j, const char *key)
{
    const char *s = json_str(json_get(j, key), "");

    return s[0] != '\0' ? mem_strdup(s) : NULL;
}

static int decode_data(const char *key, const char *text, struct diag *why, char **out)
{
    size_t room = strlen(text) / 4 * 3 + 3;
    char *bytes = mem_try(room, FILE_READ_MAX);

    if (!bytes) {
        return FAIL(why, -ERR_TOO_LARGE, "kubeconfig: %s", key);
    }
    int n = base64_decode(bytes, room - 1, text, strlen(text));
    if (n < 0) {
        mem_free(bytes);
        return FAIL(why, n, "kubeconfig: %s is not base64", key);
    }
    bytes[n] = '\0';
    *out = bytes;
    return 0;
}

/* KEY-data holds it, or KEY names a file. Absent: *out stays. */
static int read_pem(const struct json *j, const char *key, const char *dir, struct diag *why,
                    char **out)
{
    AUTO(strbuf) struct strbuf data_key = {0};

    strbuf_printf(&data_key, "%s-data", key);
    const char *data = json_str(json_get(j, strbuf_text(&data_key)), "");
    const char *file = json_str(json_get(j, key), "");
    if (data[0] != '\0') {
        return decode_data(strbuf_text(&data_key), data, why, out);
    }
    if (file[0] == '\0') {
        return 0;
    }
    AUTO(text) char *path = join(dir, file);
    return file_read_blocking(path, out, NULL, why);
}

static int read_cluster(struct kube_config *c, const struct json *cluster, const char *dir,
                        struct diag *why)
{
    const char *server = json_str_at(cluster, "server", "");
    size_t n = strlen(server);

    if (n == 0) {
        return FAIL(why, -ERR_SYNTAX, "kubeconfig: the cluster has no server");
    }
    while (n > 0 && server[n - 1] == '/') {
        n--;
    }
    c->server = mem_dup(server, n);
    c->tls_server_name = text_or_null(cluster, "tls-server-name");
    c->proxy_url = text_or_null(cluster, "proxy-url");
    c->insecure = json_bool(json_get(cluster, "insecure-skip-tls-verify"), false);
    return read_pem(cluster, "certificate-authority", dir, why, &c->ca_pem);
}

static int read_user(struct kube_config *c, const struct json *user, const char *dir,
                     struct diag *why)
{
    static const char *const plugins[] = {"exec", "auth-provider"};
    const char *file = json_str(json_get(user, "tokenFile"), "");

    for (size_t i = 0; i < ARRAY_LEN(plugins); i++) {
        if (json_get(user, plugins[i])) {
            return FAIL(why, -ERR_UNSUPPORTED, "kubeconfig: users with %s are not supported",
                        plugins[i]);
        }
    }
    c->token = text_or_null(user, "token");
    c->token_file = file[0] != '\0' ? join(dir, file) : NULL;
    c->username = text_or_null(user, "username");
    c->password = text_or_null(user, "password");
    int r = read_pem(user, "client-certificate", dir, why, &c->client_cert_pem);
    if (r == 0) {
        r = read_pem(user, "client-key", dir, why, &c->client_key_pem);
    }
    if (r == 0 && (c->client_cert_pem == NULL) != (c->client_key_pem == NULL)) {
        r = FAIL(why, -ERR_SYNTAX, "kubeconfig: a client certificate and its key come together");
    }
    return r;
}

static int read_context(struct kube_config *c, const struct json *doc, const char *name,
                        const char *dir, struct diag *why)
{
    const char *wanted = name ? name : json_str(json_get(doc, "current-context"), "");
    const struct json *context = find_named(json_get(doc, "contexts"), wanted, "context");
    const char *cluster = json_str_at(context, "cluster", "");
    const struct json *found = find_named(json_get(doc, "clusters"), cluster, "cluster");

    if (!context) {
        return FAIL(why, -ERR_NOT_FOUND, "kubeconfig: no context \"%s\"", wanted);
    }
    if (!found) {
        return FAIL(why, -ERR_NOT_FOUND, "kubeconfig: no cluster \"%s\"", cluster);
    }
    const char *ns = json_str_at(context, "namespace", "");
    c->namespace = mem_strdup(ns[0] != '\0' ? ns : "default");
    int r = read_cluster(c, found, dir, why);
    if (r < 0) {
        return r;
    }
    return read_user(
        c, find_named(json_get(doc, "users"), json_str_at(context, "user", ""), "user"), dir, why);
}

int kube_config_parse_blocking(struct slice text, const char *dir, const char *context,
                               struct diag *why, struct kube_config **out)
{
    AUTO(yaml_reader) struct yaml_reader *reader = NULL;
    AUTO(json) struct json *doc = NULL;
    AUTO(kube_config) struct kube_config *c = mem_new(struct kube_config);
    int r = yaml_reader_new(&reader, text.p, text.len, why);

    if (r == 0) {
        r = yaml_reader_next(reader, &doc, why);
    }
    if (r <= 0) {
        return r < 0 ? r : FAIL(why, -ERR_SYNTAX, "kubeconfig: it is empty");
    }
    r = read_context(c, doc, context, dir, why);
    if (r == 0) {
        *out = MOVE(c);
    }
    return r;
}

static int load_file(const char *path, const char *context, struct diag *why,
                     struct kube_config **out)
{
    AUTO(text) char *text = NULL;
    size_t len = 0;
    int r = file_read_blocking(path, &text, &len, why);

    if (r < 0) {
        return r;
    }
    const char *slash = strrchr(path, '/');
    AUTO(text) char *dir = slash ? mem_dup(path, (size_t)(slash - path)) : mem_strdup(".");
    struct diag inner = {0};
    r = kube_config_parse_blocking((struct slice){text, len}, dir, context, &inner, out);
    return r < 0 ? FAIL(why, r, "%s: %s", path, inner.text) : r;
}

int kube_config_in_cluster_blocking(const char *dir, const char *host, const char *port,
                                    struct diag *why, struct kube_config **out)
{
    AUTO(kube_config) struct kube_config *c = mem_new(struct kube_config);
    AUTO(text) char *ca = join(dir, "ca.crt");
    AUTO(text) char *ns = join(dir, "namespace");
    struct strbuf server = {0};
    bool is_v6 = strchr(host, ':') != NULL;

    strbuf_printf(&server, is_v6 ? "https://[%s]:%s" : "https://%s:%s", host, port);
    c->server = strbuf_take(&server);
    c->token_file = join(dir, "token");
    int r = file_read_blocking(ca, &c->ca_pem, NULL, why);
    if (r < 0) {
        return r;
    }
    if (file_read_blocking(ns, &c->namespace, NULL, NULL) < 0) {
        c->namespace = mem_strdup("default"); /* older clusters do not give it */
    }
    *out = MOVE(c);
    return 0;
}

int kube_config_load_blocking(const char *path, const char *context, struct diag *why,
                              struct kube_config **out)
{
    const char *list = getenv("KUBECONFIG"); /* at program start */
    const char *host = getenv("KUBERNETES_SERVICE_HOST");
    const char *port = getenv("KUBERNETES_SERVICE_PORT");
    const char *home = getenv("HOME");

    if (path) {
        return load_file(path, context, why, out);
    }
    if (list && list[0] != '\0') {
        AUTO(text) char *first = mem_dup(list, strcspn(list, ":"));
        return load_file(first, context, why, out);
    }
    if (host && port) {
        return kube_config_in_cluster_blocking(account_dir, host, port, why, out);
    }
    AUTO(text) char *usual = join(home ? home : "/root", ".kube/config");
    return load_file(usual, context, why, out);
}
