/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/run_spec.h"

#include <string.h>

#include "base/ascii.h"
#include "base/mem.h"
#include "base/rand.h"
#include "cli/args.h"
#include "codec/json.h"
#include "codec/name.h"

enum { NAME_MAX_BYTES = 63, BASE_MAX_BYTES = 56 };

const struct arg_option options_run_spec[] = {
    {"namespace", 'n', ARG_TEXT, "NAMESPACE", "default", "namespace of the workload"},
    {"sa", 0, ARG_TEXT, "ACCOUNT", "default",
     "service account, which has to exist: it makes the identity, "
     "spiffe://DOMAIN/ns/NAMESPACE/sa/ACCOUNT"},
    {"name", 0, ARG_TEXT, "NAME", NULL, "name of the workload; otherwise made from the command's"},
    {"user", 'u', ARG_TEXT, "USER", "nobody", "run it as this user, or as UID:GID"},
    {"label", 'l', ARG_LIST, "KEY=VALUE", NULL, "label of the Pod object; services select by it"},
    {"env", 'e', ARG_LIST, "KEY=VALUE", NULL, "environment of the command"},
    {"workdir", 'w', ARG_TEXT, "DIR", "/", "folder it starts in"},
    {"restart", 0, ARG_CHOICE, "never|on-failure|always", "never", "start it again when it ends"},
    {"detach", 'd', ARG_FLAG, NULL, NULL, "come back once it runs; its output goes to a file"},
    {"quiet", 'q', ARG_FLAG, NULL, NULL, "do not say where it runs"},
    {0}};

/* What of a command's name a workload's name may hold (RFC 1123 label). */
static void base_name(const char *command, struct strbuf *out)
{
    const char *slash = strrchr(command, '/');

    for (const char *p = slash ? slash + 1 : command; *p && out->len < BASE_MAX_BYTES; p++) {
        if (ascii_is_alnum(*p)) {
            strbuf_putc(out, ascii_lower(*p));
        } else if (out->len > 0 && out->p[out->len - 1] != '-') {
            strbuf_putc(out, '-');
        }
    }
    if (out->len == 0) {
        strbuf_puts(out, "command");
    }
    if (out->p[out->len - 1] != '-') {
        strbuf_putc(out, '-');
    }
}

static void make_name(const char *command, struct strbuf *out)
{
    static const char letters[] = "bcdfghjklmnpqrstvwxz2456789";

    base_name(command, out);
    for (int i = 0; i < 5; i++) {
        strbuf_putc(out, letters[rand_u64() % (sizeof(letters) - 1)]);
    }
}

static const char label_letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                    "-_./=";

static int add_labels(const struct args *a, struct json *spec, struct diag *why)
{
    const char *one;

    for (unsigned i = 0; (one = args_item(a, "label", i)) != NULL; i++) {
        struct slice key;
        struct slice value;
        AUTO(strbuf) struct strbuf name = {0};
        if (!slice_cut(slice_of(one), '=', &key, &value) || key.len == 0) {
            return FAIL(why, -ERR_SYNTAX, "--label: %s is not KEY=VALUE", one);
        }
        if (one[strspn(one, label_letters)] != '\0') {
            return FAIL(why, -ERR_SYNTAX,
                        "--label: %.50s: letters, digits, '-', '_', '.' and a key's '/' are needed",
                        one);
        }
        strbuf_add(&name, key.p, key.len);
        json_set(json_make_object(spec, "labels"), strbuf_text(&name),
                 json_new_strn(value.p, value.len));
    }
    return 0;
}

static int add_env(const struct args *a, struct json *spec, struct diag *why)
{
    const char *one;

    for (unsigned i = 0; (one = args_item(a, "env", i)) != NULL; i++) {
        if (!strchr(one, '=') || one[0] == '=') {
            return FAIL(why, -ERR_SYNTAX, "--env: %s is not KEY=VALUE", one);
        }
        json_append_str(json_make_array(spec, "env"), one);
    }
    return 0;
}

static bool is_root(const char *user)
{
    return strcmp(user, "root") == 0 || strcmp(user, "0") == 0 || strncmp(user, "0:", 2) == 0;
}

static void add_command(const struct args *a, struct json *spec)
{
    struct json *command = json_make_array(spec, "command");

    for (unsigned i = 0; i < a->rest_count; i++) {
        json_append_str(command, a->rest[i]);
    }
}

int run_spec_make(const struct args *a, bool attach, struct json **out, struct diag *why)
{
    AUTO(json) struct json *request = json_new_object();
    struct json *spec = json_make_object(request, "spec");
    AUTO(strbuf) struct strbuf made = {0};
    const char *name = args_text(a, "name");
    const char *user = args_text(a, "user");

    if (!name) {
        make_name(a->rest[0], &made);
        name = strbuf_text(&made);
    }
    if (strlen(name) > NAME_MAX_BYTES) {
        return FAIL(why, -ERR_SYNTAX, "--name: at most %d letters", NAME_MAX_BYTES);
    }
    json_set_str(request, "op", "run");
    json_set_bool(request, "attach", attach);
    json_set_str(spec, "namespace", args_text(a, "namespace"));
    json_set_str(spec, "name", name);
    json_set_str(spec, "serviceAccount", args_text(a, "sa"));
    json_set_str(spec, "user", user);
    json_set_bool(spec, "allowRoot", is_root(user));
    json_set_str(spec, "workdir", args_text(a, "workdir"));
    json_set_str(spec, "restart", args_text(a, "restart"));
    add_command(a, spec);
    int r = add_labels(a, spec, why);
    if (r == 0) {
        r = add_env(a, spec, why);
    }
    if (r < 0) {
        return r;
    }
    *out = MOVE(request);
    return 0;
}

bool run_spec_namespace_fix(const char *ns, const char *error, struct strbuf *out)
{
    AUTO(strbuf) struct strbuf gone = {0};

    strbuf_printf(&gone, "namespaces \"%s\" not found", ns);
    if (!strstr(error, strbuf_text(&gone))) {
        return false;
    }
    strbuf_printf(
        out, "ambit apply -f - <<< '{apiVersion: v1, kind: Namespace, metadata: {name: %s}}'", ns);
    return true;
}

/* The account is other nodes' (apiserver/account_owner.h): "node n2 may not run account shop/web, only n1
 * may: ambit allow-node ...", of which the end may not have fitted. */
static bool account_fix(const struct args *a, const char *error, struct strbuf *said,
                        struct strbuf *fix)
{
    const char *end = strstr(error, " may not run account ");
    const char *node = end;

    while (node && node > error && node[-1] != ' ') {
        node--;
    }
    if (!node) {
        return false;
    }
    AUTO(text) char *name = mem_dup(node, (size_t)(end - node));
    if (name_problem(NAME_SUBDOMAIN, name)) {
        return false; /* somebody will type that command: no words of a taken node in it */
    }
    const char *command = strstr(end, ": ambit");
    strbuf_printf(said, "node %.*s", command ? (int)(command - node) : (int)strlen(node), node);
    strbuf_printf(fix, "ambit allow-node %s %s -n %s", name, args_text(a, "sa"),
                  args_text(a, "namespace"));
    return true;
}

bool run_spec_fix(const struct args *a, const char *error, struct strbuf *said, struct strbuf *fix)
{
    const char *ns = args_text(a, "namespace");
    const char *account = args_text(a, "sa");
    AUTO(strbuf) struct strbuf account_gone = {0};
    AUTO(strbuf) struct strbuf account_cut = {0}; /* the sentence before may be all that fits */

    strbuf_printf(&account_gone, "serviceaccount \"%s\" not found", account);
    strbuf_printf(&account_cut, "error looking up service account %s/%s", ns, account);
    if (run_spec_namespace_fix(ns, error, fix)) {
        strbuf_printf(said, "there is no namespace %s", ns);
        return true;
    }
    if (account_fix(a, error, said, fix)) {
        return true;
    }
    if (strstr(error, strbuf_text(&account_gone)) || strstr(error, strbuf_text(&account_cut))) {
        strbuf_printf(said, "there is no service account %s in namespace %s", account, ns);
        strbuf_printf(fix,
                      "ambit apply -f - <<< '{apiVersion: v1, kind: ServiceAccount, metadata: "
                      "{name: %s, namespace: %s}}'",
                      account, ns);
        return true;
    }
    return false;
}
