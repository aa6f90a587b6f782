/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/up_settings.h"

#include <string.h>
#include <unistd.h>

#include "base/ascii.h"
#include "base/ip.h"
#include "base/mem.h"
#include "codec/json.h"

enum { NODE_NAME_MAX = 63, RANGES_MAX = 2, LISTS = 2 };

static const struct setting {
    const char *option;
    const char *key;
    const char *lists[RANGES_MAX]; /* of a list: what it is without a word; NULL: a text */
} rows[] = {{"node", "node", {NULL}},
            {"data", "data", {NULL}},
            {"log-dir", "logDir", {NULL}},
            {"listen", "listen", {NULL}},
            {"api-listen", "apiListen", {NULL}},
            {"pod-cidr", "podRanges", {"10.244.0.0/16", "fd00:10:244::/64"}},
            {"service-cidr", "serviceRanges", {"10.96.0.0/16", "fd00:10:96::/112"}},
            {"trust-domain", "trustDomain", {NULL}}};

/* ---- what they are */

/* A host's name as the name of an object: its first part, small letters. */
static struct json *host_name(void)
{
    AUTO(strbuf) struct strbuf b = {0};
    char name[256] = {0};

    if (gethostname(name, sizeof(name) - 1) < 0) {
        name[0] = '\0';
    }
    for (const char *p = name; *p && *p != '.' && b.len < NODE_NAME_MAX; p++) {
        if (ascii_is_alnum(*p) || (*p == '-' && b.len > 0)) {
            strbuf_putc(&b, ascii_lower(*p));
        }
    }
    while (b.len > 0 && b.p[b.len - 1] == '-') {
        b.p[--b.len] = '\0';
    }
    return json_new_str(b.len > 0 ? strbuf_text(&b) : "node");
}

static struct json *given(const struct args *a, const struct setting *s)
{
    const char *text;

    if (!args_has(a, s->option)) {
        return NULL;
    }
    if (!s->lists[0]) {
        return json_new_str(args_text(a, s->option));
    }
    struct json *list = json_new_array();
    for (unsigned i = 0; (text = args_item(a, s->option, i)) != NULL; i++) {
        json_append_str(list, text);
    }
    return list;
}

static struct json *fallback(const struct args *a, const struct setting *s)
{
    if (!s->lists[0]) {
        const char *text = args_text(a, s->option);
        return text ? json_new_str(text) : host_name();
    }
    struct json *list = json_new_array();
    for (size_t i = 0; i < RANGES_MAX; i++) {
        json_append_str(list, s->lists[i]);
    }
    return list;
}

struct json *up_settings_make(const struct args *a, const struct json *before)
{
    struct json *all = json_new_object();

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct json *v = given(a, &rows[i]);
        v = v ? v : json_clone(json_get(before, rows[i].key));
        json_set(all, rows[i].key, v ? v : fallback(a, &rows[i]));
    }
    return all;
}

void up_settings_keep(struct json *state, const struct json *from)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        json_set(state, rows[i].key, json_clone(json_get(from, rows[i].key)));
    }
}

/* ---- may they be so? */

static int check_endpoint(const char *option, const char *text, struct diag *why)
{
    struct endpoint e;

    if (endpoint_parse(&e, text, strlen(text)) < 0 || e.port == 0) {
        return FAIL(why, -ERR_SYNTAX, "--%s: %s is no address:port", option, text);
    }
    return 0;
}

/* Programs change to the root folder, so paths must not depend on where we are. */
static int check_path(const char *option, const char *text, struct diag *why)
{
    return text[0] == '/' ? 0 : FAIL(why, -ERR_SYNTAX, "--%s: write an absolute path", option);
}

/* Parts of small letters, digits and `more` between dots, none of them empty, beginning and ending with
 * no `more`. */
static bool is_dotted(const char *text, const char *more)
{
    size_t len = strlen(text);
    bool good = len > 0 && len <= NODE_NAME_MAX;

    for (size_t i = 0; good && i < len; i++) {
        bool edge = i == 0 || i + 1 == len || text[i - 1] == '.' || text[i + 1] == '.';
        good =
            ascii_is_lower_alnum(text[i]) || (!edge && (text[i] == '.' || strchr(more, text[i])));
    }
    return good;
}

static int check_name(const char *option, const char *text, const char *more, const char *like,
                      struct diag *why)
{
    return is_dotted(text, more)
               ? 0
               : FAIL(why, -ERR_SYNTAX, "--%s: %.40s is no name; write one like %s", option, text,
                      like);
}

struct ranges {
    struct ip_prefix at[RANGES_MAX * LISTS];
    size_t count;
};

/* A family has one range in each list, and none has an address of another one. */
static int add_range(const char *option, const char *text, size_t first, struct ranges *r,
                     struct diag *why)
{
    struct ip_prefix *p = &r->at[r->count];

    if (!strchr(text, '/') || ip_prefix_parse(p, text, strlen(text)) < 0) {
        return FAIL(why, -ERR_SYNTAX, "--%s: %.50s is no range of addresses", option, text);
    }
    if (ip_size(&p->ip) * 8 - p->len < 3) {
        return FAIL(why, -ERR_SYNTAX, "--%s: %.50s has too few addresses", option, text);
    }
    for (size_t i = 0; i < r->count; i++) {
        if (i >= first && r->at[i].ip.family == p->ip.family) {
            return FAIL(why, -ERR_SYNTAX, "--%s: %.50s is a second range of its family", option,
                        text);
        }
        if (ip_prefix_has(&r->at[i], &p->ip) || ip_prefix_has(p, &r->at[i].ip)) {
            return FAIL(why, -ERR_SYNTAX, "--%s: %.40s has addresses of --pod-cidr", option, text);
        }
    }
    r->count++;
    return 0;
}

static int check_ranges(const struct json *settings, struct diag *why)
{
    struct ranges r = {.count = 0};
    int err = 0;

    for (size_t i = 0; err == 0 && i < ARRAY_LEN(rows); i++) {
        const struct json *list = json_array_at(settings, rows[i].key);
        size_t first = r.count;
        for (size_t k = 0; err == 0 && k < json_count(list); k++) {
            err = add_range(rows[i].option, json_str(json_item(list, k), ""), first, &r, why);
        }
    }
    return err;
}

int up_settings_check(const struct json *settings, struct diag *why)
{
    int r = check_path("data", json_str_at(settings, "data", ""), why);

    if (r == 0) {
        r = check_path("log-dir", json_str_at(settings, "logDir", ""), why);
    }
    if (r == 0) {
        r = check_endpoint("listen", json_str_at(settings, "listen", ""), why);
    }
    if (r == 0) {
        r = check_endpoint("api-listen", json_str_at(settings, "apiListen", ""), why);
    }
    if (r == 0) {
        r = check_name("node", json_str_at(settings, "node", ""), "-", "node-1", why);
    }
    if (r == 0) {
        r = check_name("trust-domain", json_str_at(settings, "trustDomain", ""), "-_",
                       "cluster.local", why);
    }
    return r == 0 ? check_ranges(settings, why) : r;
}

/* ---- are they other ones? */

static void put_words(const struct json *v, struct strbuf *out)
{
    strbuf_puts(out, json_str(v, ""));
    for (size_t i = 0; i < json_count(v); i++) {
        strbuf_printf(out, "%s%s", i > 0 ? "," : "", json_str(json_item(v, i), ""));
    }
}

bool up_settings_clash(const struct args *a, const struct json *before, struct strbuf *out)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct json *was = json_get(before, rows[i].key);
        AUTO(json) struct json *now = given(a, &rows[i]);
        if (now && was && !json_same(now, was)) {
            strbuf_printf(out, "--%s: the mesh that is up here has ", rows[i].option);
            put_words(was, out);
            return true;
        }
    }
    return false;
}
