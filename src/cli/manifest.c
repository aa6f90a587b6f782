/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/manifest.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/args.h"
#include "codec/json.h"
#include "codec/yaml.h"
#include "io/file.h"

static void add(struct json *into, const char *name, size_t line, const struct json *object)
{
    AUTO(strbuf) struct strbuf from = {0};
    struct json *one = json_new_object();

    strbuf_printf(&from, "%s:%zu", name, line);
    json_set_str(one, "from", strbuf_text(&from));
    json_set(one, "object", json_ref(object));
    json_append(into, one);
}

/* kubectl's kind List holds objects of any kind. */
static void add_document(struct json *into, const char *name, size_t line,
                         const struct json *document)
{
    const struct json *items = json_get(document, "items");

    if (strcmp(json_str_at(document, "kind", ""), "List") != 0 || !json_is_arr(items)) {
        add(into, name, line, document);
        return;
    }
    for (size_t i = 0; i < json_count(items); i++) {
        add(into, name, line, json_item(items, i));
    }
}

int manifest_read(const char *text, size_t len, const char *name, struct json *into,
                  struct diag *why)
{
    AUTO(yaml_reader) struct yaml_reader *y = NULL;
    struct diag inner = {0};
    int r = yaml_reader_new(&y, text, len, &inner);

    while (r >= 0) {
        AUTO(json) struct json *document = NULL;
        r = yaml_reader_next(y, &document, &inner);
        if (r == 0) {
            return 0;
        }
        size_t line;
        const char *twice = r > 0 ? yaml_reader_twice(y, &line) : NULL;
        if (twice) {
            return FAIL(why, -ERR_SYNTAX, "%s:%zu: %.60s is there twice, and only one would count",
                        name, line, twice);
        }
        if (r > 0 && json_kind(document) != JSON_KIND_NULL) {
            add_document(into, name, yaml_reader_line(y), document);
        }
    }
    return FAIL(why, r, "%s: %s", name, inner.text);
}

/* ---- files */

static int load_input_blocking(struct json *into, struct diag *why)
{
    AUTO(strbuf) struct strbuf text = {.limit = YAML_BYTES_MAX};
    int r = file_read_input_blocking(&text);

    if (r < 0) {
        return FAIL(why, r, "standard input: %s", err_text(r));
    }
    return manifest_read(strbuf_text(&text), text.len, "stdin", into, why);
}

static int load_file_blocking(const char *path, struct json *into, struct diag *why)
{
    char *bytes;
    size_t len;
    int r = file_read_blocking(path, &bytes, &len, why);

    if (r < 0) {
        return r;
    }
    AUTO(text) char *text = bytes;
    return manifest_read(text, len, path, into, why);
}

static int is_manifest(const struct dirent *e)
{
    static const char *const endings[] = {".yaml", ".yml", ".json"};
    size_t len = strlen(e->d_name);

    for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
        size_t n = strlen(endings[i]);
        if (e->d_name[0] != '.' && len > n && strcmp(e->d_name + len - n, endings[i]) == 0) {
            return 1;
        }
    }
    return 0;
}

static int load_folder_blocking(const char *path, struct json *into, struct diag *why)
{
    struct dirent **files = NULL;
    int count = scandir(path, &files, is_manifest, alphasort);
    int r = count < 0 ? FAIL(why, neg_errno(), "read %s: %s", path, err_text(neg_errno())) : 0;

    for (int i = 0; i < count; i++) {
        AUTO(strbuf) struct strbuf file = {0};
        strbuf_printf(&file, "%s/%s", path, files[i]->d_name);
        if (r == 0) {
            r = load_file_blocking(strbuf_text(&file), into, why);
        }
        mem_free(files[i]); /* scandir's, of the same allocator */
    }
    mem_free(files);
    return r;
}

static int manifest_load_blocking(const char *path, struct json *into, struct diag *why)
{
    struct stat st;

    if (strcmp(path, "-") == 0) {
        return load_input_blocking(into, why);
    }
    if (stat(path, &st) < 0) {
        return FAIL(why, neg_errno(), "%s: %s", path, err_text(neg_errno()));
    }
    return S_ISDIR(st.st_mode) ? load_folder_blocking(path, into, why)
                               : load_file_blocking(path, into, why);
}

int manifest_load_all_blocking(const struct args *a, struct json *into, struct diag *why)
{
    const char *path;
    int r = 0;

    for (unsigned i = 0; r == 0 && (path = args_item(a, "filename", i)) != NULL; i++) {
        r = manifest_load_blocking(path, into, why);
    }
    if (r == 0 && json_count(into) == 0) {
        path = args_text(a, "filename");
        r = FAIL(why, -ERR_SYNTAX,
                 "%s: no object in it (of a folder, its own *.yaml, *.yml and *.json are read)",
                 strcmp(path, "-") == 0 ? "standard input" : path);
    }
    return r;
}
