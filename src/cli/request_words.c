/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/request_words.h"

#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "codec/jwt.h"
#include "codec/url.h"
#include "io/file.h"

const struct arg_option options_request[] = {
    {"method", 0, ARG_TEXT, "METHOD", NULL, "of the request; otherwise GET"},
    {"path", 0, ARG_TEXT, "PATH", NULL, "of the request, with its query; otherwise /"},
    {"header", 'H', ARG_LIST, "NAME:VALUE", NULL,
     "of the request; @FILE: those that this file holds, one a line"},
    {"host", 0, ARG_TEXT, "NAME", NULL, "of the request; otherwise the service's"},
    {"token", 0, ARG_TEXT, "FILE", NULL,
     "the request carries the token (JWT) in this file as `Authorization: Bearer`; -: standard "
     "input"},
    {0}};

bool request_words_any(const struct args *a)
{
    for (const struct arg_option *o = options_request; o->name; o++) {
        if (args_has(a, o->name)) {
            return true;
        }
    }
    return false;
}

/* The caller's. "-": standard input. */
static int read_blocking(const char *option, const char *file, char **out, struct diag *why)
{
    AUTO(strbuf) struct strbuf text = {.limit = FILE_READ_MAX};
    struct diag inner = {0};
    int r;

    if (strcmp(file, "-") != 0) {
        r = file_read_blocking(file, out, NULL, &inner);
        return r < 0 ? FAIL(why, r, "--%s: %s", option, inner.text) : 0;
    }
    r = file_read_input_blocking(&text);
    if (r < 0) {
        return FAIL(why, r, "--%s: standard input: %s", option, err_text(r));
    }
    *out = strbuf_take(&text);
    return 0;
}

/* ---- headers */

static bool is_named(const char *header, const char *name)
{
    size_t n = strlen(name);

    return strncasecmp(header, name, n) == 0 && header[n + strspn(header + n, " \t")] == ':';
}

static int add_lines_blocking(const char *file, struct strbuf *query, struct diag *why)
{
    char *text = NULL;
    int r = read_blocking("header", file, &text, why);

    if (r < 0) {
        return r;
    }
    for (char *line = text; *line;) {
        size_t len = strcspn(line, "\r\n");
        bool last = line[len] == '\0';
        line[len] = '\0';
        if (len > 0) {
            url_query_add(query, "header", line);
        }
        line += len + !last;
    }
    mem_free(text);
    return 0;
}

static int add_headers_blocking(const struct args *a, struct strbuf *query, struct diag *why)
{
    const char *header;
    int r = 0;

    for (unsigned i = 0; r == 0 && (header = args_item(a, "header", i)) != NULL; i++) {
        if (header[0] == '@') {
            r = add_lines_blocking(header + 1, query, why);
        } else if (is_named(header, "authorization")) {
            r = FAIL(why, -ERR_SYNTAX,
                     "--header: everybody here can read command lines; say --token FILE, or "
                     "--header @FILE");
        } else if (strchr(header, ':') == NULL || header[0] == ':') {
            r = FAIL(why, -ERR_SYNTAX, "--header: %.60s is not NAME:VALUE", header);
        } else {
            url_query_add(query, "header", header);
        }
    }
    return r;
}

/* ---- the token */

static int check_token(struct slice token, struct diag *why)
{
    if (token.len == 0) {
        return FAIL(why, -ERR_SYNTAX, "--token: the file is empty");
    }
    if (token.len > JWT_BYTES_MAX) {
        return FAIL(why, -ERR_TOO_LARGE, "--token: %zu bytes; a token has at most %d", token.len,
                    JWT_BYTES_MAX);
    }
    for (size_t i = 0; i < token.len; i++) {
        if (token.p[i] <= ' ' || token.p[i] >= 0x7f) {
            return FAIL(why, -ERR_SYNTAX,
                        "--token: the file holds more than one word; a token alone is needed");
        }
    }
    return 0;
}

static int add_token_blocking(const char *file, struct strbuf *query, struct diag *why)
{
    AUTO(strbuf) struct strbuf header = {0};
    char *text = NULL;
    int r;

    if (strncmp(file, "eyJ", 3) == 0 && strchr(file, '.')) { /* how every token begins */
        return FAIL(why, -ERR_SYNTAX,
                    "--token: that is a token; everybody here can read command lines. Say the file "
                    "that holds it, or - for standard input");
    }
    r = read_blocking("token", file, &text, why);
    if (r < 0) {
        return r;
    }
    struct slice token = {text + strspn(text, " \t\r\n"), 0};
    for (token.len = strlen(token.p); token.len > 0 && strchr(" \t\r\n", token.p[token.len - 1]);) {
        token.len--;
    }
    r = check_token(token, why);
    if (r == 0) {
        strbuf_puts(&header, "authorization: Bearer ");
        strbuf_add(&header, token.p, token.len);
        url_query_add(query, "header", strbuf_text(&header));
    }
    mem_free(text);
    return r;
}

int request_words_blocking(const struct args *a, struct strbuf *query, struct diag *why)
{
    static const char *const copied[] = {"method", "path", "host"};
    const char *path = args_text(a, "path");
    int r;

    if (path && path[0] != '/') {
        return FAIL(why, -ERR_SYNTAX, "--path: %.60s does not begin with /", path);
    }
    for (size_t i = 0; i < ARRAY_LEN(copied); i++) {
        if (args_has(a, copied[i])) {
            url_query_add(query, copied[i], args_text(a, copied[i]));
        }
    }
    r = add_headers_blocking(a, query, why);
    return r == 0 && args_has(a, "token") ? add_token_blocking(args_text(a, "token"), query, why)
                                          : r;
}
