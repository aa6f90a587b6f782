/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/patch.h"

#include <string.h>

#include "apiserver/strategic.h"
#include "base/mem.h"
#include "base/num.h"
#include "codec/json.h"

enum patch_type patch_type_of(struct slice content_type)
{
    static const struct {
        const char *name;
        enum patch_type type;
    } types[] = {
        {"application/merge-patch+json", PATCH_MERGE},
        {"application/json-patch+json", PATCH_JSON},
        {"application/strategic-merge-patch+json", PATCH_STRATEGIC},
        {"application/apply-patch+yaml", PATCH_APPLY},
    };
    struct slice type;
    struct slice parameters;

    (void)slice_cut(content_type, ';', &type, &parameters); /* parameters change nothing */
    type = slice_trim(type);
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        if (slice_is_any_case(type, types[i].name)) {
            return types[i].type;
        }
    }
    return PATCH_UNKNOWN;
}

/* ---- JSON patch: RFC 6902 over RFC 6901 pointers */

/* One step of a pointer, unescaped. The caller's. */
static char *take_token(const char **pointer)
{
    struct strbuf token = {0};
    const char *p = *pointer + 1; /* behind the '/' */

    for (; *p != '\0' && *p != '/'; p++) {
        bool escaped = *p == '~' && (p[1] == '0' || p[1] == '1');
        strbuf_putc(&token, escaped ? (p[1] == '0' ? '~' : '/') : *p);
        p += escaped;
    }
    *pointer = p;
    return strbuf_take(&token);
}

/* An index into an array of count items; "-" is one past the end. */
static bool parse_index(const char *token, size_t count, size_t *out)
{
    uint32_t n = 0;

    if (strcmp(token, "-") == 0) {
        *out = count;
        return true;
    }
    bool padded = token[0] == '0' && token[1] != '\0';
    if (padded || num_parse_u32(token, strlen(token), UINT32_MAX, &n) < 0 || n > count) {
        return false;
    }
    *out = n;
    return true;
}

static struct json *step(struct json *at, const char *token)
{
    size_t i = 0;

    if (json_is_obj(at)) {
        return json_get(at, token);
    }
    return json_is_arr(at) && parse_index(token, json_count(at), &i) ? json_item(at, i) : NULL;
}

/* The container that pointer's last token names something in; *token is that token, the caller's. */
static struct json *find_parent(struct json *root, const char *pointer, char **token)
{
    struct json *at = root;

    *token = NULL;
    if (pointer[0] != '/') {
        return NULL;
    }
    for (;;) {
        char *next = take_token(&pointer);
        if (*pointer == '\0') {
            *token = next;
            return at;
        }
        at = step(at, next);
        mem_free(next);
        if (!at) {
            return NULL;
        }
    }
}

static struct json *find(struct json *root, const char *pointer)
{
    AUTO(text) char *token = NULL;

    if (pointer[0] == '\0') {
        return root;
    }
    struct json *parent = find_parent(root, pointer, &token);
    return parent && token && strcmp(token, "-") != 0 ? step(parent, token) : NULL;
}

/* A JSON patch on its way. "copy" can double the object with every operation, and nest it; "move" can carry a large
 * value to and fro: what is copied and what is walked is counted, and nothing may come to lie deeper than a parser
 * would take. */
struct patching {
    struct json *root;
    size_t copied;
    size_t to_walk; /* values whose depth may still be measured */
    struct diag *why;
};

static int cannot(const struct patching *p, const char *op, const char *path)
{
    return FAIL(p->why, -ERR_CONFLICT, "%s: nothing to do at %.60s", op, path);
}

static int check_depth(struct patching *p, const char *path, const struct json *value)
{
    unsigned n = json_depth(value, &p->to_walk);

    if (n == 0) {
        return FAIL(p->why, -ERR_LIMIT, "more than %d values are moved", PATCH_WALKED);
    }
    for (const char *c = path; *c != '\0'; c++) {
        n += *c == '/';
    }
    return n < JSON_DEPTH_MAX ? 0
                              : FAIL(p->why, -ERR_LIMIT, "deeper than %d levels", JSON_DEPTH_MAX);
}

static int op_add(struct patching *p, const char *path, struct json *take_value)
{
    AUTO(text) char *token = NULL;
    AUTO(json) struct json *value = take_value;
    size_t i = 0;
    int r = check_depth(p, path, value);

    if (r < 0) {
        return r;
    }
    if (path[0] == '\0') {
        json_unref(p->root);
        p->root = MOVE(value);
        return 0;
    }
    struct json *parent = find_parent(p->root, path, &token);
    if (parent && token && json_is_obj(parent)) {
        json_set(parent, token, MOVE(value));
        return 0;
    }
    if (parent && token && json_is_arr(parent) && parse_index(token, json_count(parent), &i)) {
        json_insert(parent, i, MOVE(value));
        return 0;
    }
    return cannot(p, "add", path);
}

static int op_remove(struct patching *p, const char *path)
{
    AUTO(text) char *token = NULL;
    struct json *parent = find_parent(p->root, path, &token);
    size_t i = 0;

    if (parent && token && json_is_obj(parent) && json_remove(parent, token)) {
        return 0;
    }
    if (parent && token && json_is_arr(parent) && parse_index(token, json_count(parent), &i) &&
        json_remove_item(parent, i)) {
        return 0;
    }
    return cannot(p, "remove", path);
}

static int op_replace(struct patching *p, const char *path, struct json *take_value)
{
    AUTO(text) char *token = NULL;
    AUTO(json) struct json *value = take_value;
    size_t i = 0;

    if (!find(p->root, path)) {
        return cannot(p, "replace", path);
    }
    struct json *parent = path[0] != '\0' ? find_parent(p->root, path, &token) : NULL;
    if (!json_is_arr(parent)) { /* an object's member, or the whole: adding replaces */
        return op_add(p, path, MOVE(value));
    }
    int r = check_depth(p, path, value);
    if (r == 0 && !parse_index(token, json_count(parent), &i)) {
        r = cannot(p, "replace", path);
    }
    if (r == 0) {
        json_replace(parent, i, MOVE(value));
    }
    return r;
}

static int op_move(struct patching *p, const char *from, const char *path)
{
    struct json *there = find(p->root, from);
    size_t n = strlen(from);

    if (!there || (strncmp(path, from, n) == 0 && path[n] == '/')) {
        return cannot(p, "move", from);
    }
    AUTO(json) struct json *value = json_ref(there);
    int r = from[0] == '\0' ? 0 : op_remove(p, from);
    return r < 0 ? r : op_add(p, path, MOVE(value));
}

static int op_copy(struct patching *p, const char *from, const char *path)
{
    struct json *there = find(p->root, from);
    AUTO(strbuf) struct strbuf text = {.limit = PATCH_COPY_BYTES};

    if (!there) {
        return cannot(p, "copy", from);
    }
    json_print(there, 0, &text);
    p->copied += text.len;
    if (text.overflow || p->copied > PATCH_COPY_BYTES) {
        return FAIL(p->why, -ERR_LIMIT, "copies of more than %d bytes", PATCH_COPY_BYTES);
    }
    return op_add(p, path, json_clone(there));
}

static int run_with_value(struct patching *p, const char *name, const char *path,
                          const struct json *value)
{
    if (!value) {
        return FAIL(p->why, -ERR_SYNTAX, "an operation lacks a field, or its name is none: %.20s",
                    name);
    }
    if (strcmp(name, "add") == 0) {
        return op_add(p, path, json_clone(value));
    }
    if (strcmp(name, "replace") == 0) {
        return op_replace(p, path, json_clone(value));
    }
    if (strcmp(name, "test") == 0) {
        struct json *is = find(p->root, path);
        return is && json_same(is, value) ? 0 : cannot(p, "test", path);
    }
    return FAIL(p->why, -ERR_SYNTAX, "no such operation: %.20s", name);
}

static int run_operation(struct patching *p, const struct json *op)
{
    const char *name = json_str_at(op, "op", "");
    const char *path = json_str_at(op, "path", NULL);
    const char *from = json_str_at(op, "from", NULL);

    if (!path || (path[0] != '\0' && path[0] != '/')) {
        return FAIL(p->why, -ERR_SYNTAX, "an operation has no path");
    }
    if (strcmp(name, "remove") == 0) {
        return op_remove(p, path);
    }
    if (strcmp(name, "move") == 0 && from) {
        return op_move(p, from, path);
    }
    if (strcmp(name, "copy") == 0 && from) {
        return op_copy(p, from, path);
    }
    return run_with_value(p, name, path, json_get(op, "value"));
}

static int run_patch(const struct json *old, const struct json *patch, struct diag *why,
                     struct json **out)
{
    struct patching p = {.root = json_clone(old), .to_walk = PATCH_WALKED, .why = why};
    int r = 0;

    if (!json_is_arr(patch)) {
        r = FAIL(why, -ERR_SYNTAX, "a JSON patch is an array");
    } else if (json_count(patch) > PATCH_OPERATIONS) {
        r = FAIL(why, -ERR_LIMIT, "more than %d operations", PATCH_OPERATIONS);
    }
    for (size_t i = 0; i < json_count(patch) && r == 0; i++) {
        r = run_operation(&p, json_item(patch, i));
    }
    if (r == 0 && !json_is_obj(p.root)) {
        r = FAIL(why, -ERR_CONFLICT, "the result is no object");
    }
    if (r == 0) {
        *out = MOVE(p.root);
    }
    json_unref(p.root);
    return r;
}

int patch_apply(enum patch_type type, const struct schema *schema, const struct json *old,
                const struct json *patch, struct diag *why, struct json **out)
{
    if (type == PATCH_JSON) {
        return run_patch(old, patch, why, out);
    }
    if (!json_is_obj(patch)) {
        return FAIL(why, -ERR_SYNTAX, "a merge patch is an object");
    }
    if (type == PATCH_STRATEGIC) {
        return strategic_merge(schema, old, patch, why, out);
    }
    *out = json_merge_patch(json_clone(old), patch);
    return 0;
}
