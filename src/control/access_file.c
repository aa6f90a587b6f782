/* SPDX-License-Identifier: Apache-2.0 */
#include "control/access_file.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/rand.h"
#include "codec/base64.h"
#include "codec/json.h"
#include "codec/name.h"
#include "io/file.h"

static char *path_of(const char *data, const char *folder, const char *name)
{
    AUTO(strbuf) struct strbuf path = {0};

    strbuf_printf(&path, "%s/%s%s", data, folder, name);
    return strbuf_take(&path);
}

static int make_folder(const char *path, mode_t mode, struct diag *why)
{
    if (mkdir(path, mode) < 0 && errno != EEXIST) {
        return FAIL(why, neg_errno(), "make folder %s", path);
    }
    return 0;
}

int access_prepare_blocking(const char *data, struct diag *why)
{
    static const char *const folders[] = {"ca", "credentials", "nodes"};
    int r = make_folder(data, 0755, why); /* the root certificate in it is for everyone */

    for (size_t i = 0; r == 0 && i < ARRAY_LEN(folders); i++) {
        AUTO(text) char *path = path_of(data, folders[i], "");
        r = make_folder(path, 0700, why);
    }
    return r;
}

/* Names become file names: nothing that leads elsewhere. */
static int check_name(const char *name, struct diag *why)
{
    bool good = strlen(name) <= ACCESS_NAME_MAX && !name_problem(NAME_SUBDOMAIN, name);

    return good ? 0 : FAIL(why, -ERR_SYNTAX, "%.60s is no name for a credential", name);
}

char *access_token_new(void)
{
    unsigned char raw[ACCESS_TOKEN_BYTES];
    struct strbuf text = {0};

    rand_bytes(raw, sizeof(raw));
    base64url_encode(&text, raw, sizeof(raw));
    mem_wipe(raw, sizeof(raw));
    return strbuf_take(&text);
}

/* The token of that name, made if there is none; the caller's, a secret. */
static int token_blocking(const char *data, const char *name, char **out, struct diag *why)
{
    AUTO(text) char *path = path_of(data, "credentials/", name);
    int r = check_name(name, why);

    if (r < 0) {
        return r;
    }
    if (file_exists_blocking(path)) {
        return file_read_blocking(path, out, NULL, why);
    }
    char *token = access_token_new();
    r = file_write_blocking(path, token, strlen(token), 0600, why);
    if (r < 0) {
        mem_free_secret(token, strlen(token));
        return r;
    }
    *out = token;
    return 0;
}

void access_kubeconfig_text(struct strbuf *out, const char *server, const char *ca_pem,
                            const char *token)
{
    AUTO(strbuf) struct strbuf ca = {0};
    AUTO(json) struct json *config = json_new_object();
    struct json *cluster = json_new_object();
    struct json *context = json_new_object();
    struct json *user = json_new_object();

    base64_encode(&ca, ca_pem, strlen(ca_pem));
    json_set_str(cluster, "name", "ambit");
    json_set_str(json_make_object(cluster, "cluster"), "server", server);
    json_set_str(json_at(cluster, "cluster"), "certificate-authority-data", strbuf_text(&ca));
    json_set_str(user, "name", "ambit");
    json_set_str(json_make_object(user, "user"), "token", token);
    json_set_str(context, "name", "ambit");
    json_set_str(json_make_object(context, "context"), "cluster", "ambit");
    json_set_str(json_at(context, "context"), "user", "ambit");
    json_set_str(config, "apiVersion", "v1");
    json_set_str(config, "kind", "Config");
    json_set_str(config, "current-context", "ambit");
    json_append(json_make_array(config, "clusters"), cluster);
    json_append(json_make_array(config, "contexts"), context);
    json_append(json_make_array(config, "users"), user);
    json_print(config, JSON_PRINT_INDENT, out); /* JSON is YAML too */
    strbuf_putc(out, '\n');
}

int access_kubeconfig_blocking(const char *data, const char *name, const char *server,
                               const char *ca_pem, char **out_path, struct diag *why)
{
    bool is_node = strncmp(name, ACCESS_NODE, strlen(ACCESS_NODE)) == 0;
    AUTO(strbuf) struct strbuf path = {0};
    AUTO(strbuf) struct strbuf text = {0};
    char *token = NULL;
    int r = token_blocking(data, name, &token, why);

    if (r < 0) {
        return r;
    }
    strbuf_printf(&path, "%s/%s%s.kubeconfig", data, is_node ? "nodes/" : "",
                  is_node ? name + strlen(ACCESS_NODE) : name);
    access_kubeconfig_text(&text, server, ca_pem, token);
    r = file_write_blocking(strbuf_text(&path), text.p, text.len, 0600, why);
    mem_wipe(text.p, text.len);
    mem_free_secret(token, strlen(token));
    if (r == 0) {
        *out_path = strbuf_take(&path);
    }
    return r;
}

static void add(struct access_list *l, const char *data, const char *name)
{
    AUTO(text) char *path = path_of(data, "credentials/", name);
    struct diag unread = {0};
    char *token = NULL;

    if (l->count == ACCESS_FILES_MAX || check_name(name, &unread) < 0 ||
        file_read_blocking(path, &token, NULL, &unread) < 0) {
        return;
    }
    l->at = mem_resize(l->at, (l->count + 1) * sizeof(*l->at));
    l->at[l->count++] = (struct access_entry){mem_strdup(name), token};
}

int access_list_blocking(const char *data, struct access_list *out, struct diag *why)
{
    AUTO(text) char *path = path_of(data, "credentials", "");
    struct access_list l = {.at = NULL};
    DIR *d = opendir(path);

    if (!d) {
        return FAIL(why, neg_errno(), "open folder %s", path);
    }
    for (const struct dirent *e; (e = readdir(d));) {
        size_t n = strlen(e->d_name);
        bool is_half = n > 4 && strcmp(e->d_name + n - 4, ".new") == 0; /* being written */
        if (e->d_name[0] != '.' && !is_half) {
            add(&l, data, e->d_name);
        }
    }
    (void)closedir(d); /* it was only read */
    *out = l;
    return 0;
}

void access_list_fini(struct access_list *l)
{
    for (unsigned i = 0; i < l->count; i++) {
        mem_free(l->at[i].name);
        mem_free_secret(l->at[i].token, strlen(l->at[i].token));
    }
    mem_free(l->at);
    *l = (struct access_list){.at = NULL};
}
