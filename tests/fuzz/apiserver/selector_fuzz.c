/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Selectors. The input is a selector's text, which must not crash; and it is a recipe for one, whose
 * verdict is compared with a model that never sees text.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "apiserver/kind.h"
#include "apiserver/object.h"
#include "apiserver/selector.h"
#include "codec/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const keys[] = {"a", "b.c/d", "e-f", "g"};
static const char *const values[] = {"", "x", "12", "-3", "y.z"};

static const char *label(const uint8_t *data, size_t k)
{
    unsigned v = data[k] % (ARRAY_LEN(values) + 1);

    return v < ARRAY_LEN(values) ? values[v] : NULL;
}

/* One requirement as text; what it says of the labels. */
static bool term(const uint8_t *data, const uint8_t *t, struct strbuf *text)
{
    const char *key = keys[t[0] % ARRAY_LEN(keys)];
    const char *is = label(data, t[0] % ARRAY_LEN(keys));
    const char *v = values[t[2] % ARRAY_LEN(values)];
    const char *u = values[t[2] / ARRAY_LEN(values) % ARRAY_LEN(values)];
    long n = is ? strtol(is, NULL, 10) : 0;
    bool number = is && (strcmp(is, "12") == 0 || strcmp(is, "-3") == 0);

    switch (t[1] % 9) {
    case 0:
        strbuf_printf(text, "%s", key);
        return is != NULL;
    case 1:
        strbuf_printf(text, " ! %s", key);
        return is == NULL;
    case 2:
        strbuf_printf(text, "%s=%s", key, v);
        return is && strcmp(is, v) == 0;
    case 3:
        strbuf_printf(text, "%s == %s", key, v);
        return is && strcmp(is, v) == 0;
    case 4:
        strbuf_printf(text, "%s != %s", key, v);
        return !is || strcmp(is, v) != 0;
    case 5:
        strbuf_printf(text, "%s in (%s, %s)", key, u, v);
        return is && (strcmp(is, v) == 0 || strcmp(is, u) == 0);
    case 6:
        strbuf_printf(text, "%s notin (%s,%s)", key, u, v);
        return !is || (strcmp(is, v) != 0 && strcmp(is, u) != 0);
    case 7:
        strbuf_printf(text, "%s>%d", key, t[2] % 20);
        return number && n > t[2] % 20;
    default:
        strbuf_printf(text, "%s < %d", key, t[2] % 20);
        return number && n < t[2] % 20;
    }
}

static struct object *make_object(const uint8_t *data)
{
    AUTO(json) struct json *body = json_new_object();
    struct json *labels = json_new_object();

    json_set_str(json_make_object(body, "metadata"), "name", "n");
    for (size_t k = 0; k < ARRAY_LEN(keys); k++) {
        if (label(data, k)) {
            json_set_str(labels, keys[k], label(data, k));
        }
    }
    json_set(json_get(body, "metadata"), "labels", labels);
    return object_new(kind_named("", "Pod"), 1, body);
}

static void check_recipe(const uint8_t *data, size_t size)
{
    AUTO(object) struct object *o = make_object(data);
    AUTO(strbuf) struct strbuf text = {0};
    AUTO(selector) struct selector *s = NULL;
    struct diag why = {0};
    bool want = true;

    for (size_t i = ARRAY_LEN(keys); i + 3 <= size && i < 40; i += 3) {
        strbuf_puts(&text, text.len > 0 ? "," : "");
        want = term(data, data + i, &text) && want;
    }
    if (selector_parse_labels(slice_of(strbuf_text(&text)), &why, &s) < 0 ||
        selector_matches(s, o) != want) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = {(const char *)data, size};
    struct diag why = {0};
    AUTO(selector) struct selector *labels = NULL;
    AUTO(selector) struct selector *fields = NULL;
    static const uint8_t none[4] = {5, 5, 5, 5};
    AUTO(object) struct object *bare = make_object(none);

    if (selector_parse_labels(text, &why, &labels) == 0) {
        selector_matches(labels, bare);
    }
    if (selector_parse_fields(bare->kind, text, &why, &fields) == 0) {
        selector_matches(fields, bare);
    }
    if (size > 4) {
        check_recipe(data, size);
    }
    return 0;
}
