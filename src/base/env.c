/* SPDX-License-Identifier: Apache-2.0 */
#include "base/env.h"

#include <string.h>

#include "base/mem.h"
#include "base/num.h"

const char *env_get(char *const *env, const char *name)
{
    size_t n = strlen(name);

    for (; env && *env; env++) {
        if (strncmp(*env, name, n) == 0 && (*env)[n] == '=') {
            return *env + n + 1;
        }
    }
    return NULL;
}

int env_parse_bool(const char *text, bool *out)
{
    if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0) {
        return -ERR_SYNTAX;
    }
    *out = text[0] == 't';
    return 0;
}

static int row_parse(const struct env_row *row, const char *text, void *field)
{
    switch (row->kind) {
    case ENV_TEXT:
    case ENV_OPTIONAL:
        *(char **)field = text ? mem_strdup(text) : NULL;
        return 0;
    case ENV_BOOL:
        return env_parse_bool(text, field);
    case ENV_U32:
        return num_parse_u32(text, strlen(text), UINT32_MAX, field);
    case ENV_U16:
        return num_parse_u32(text, strlen(text), UINT16_MAX, field);
    case ENV_U31:
        return num_parse_u32(text, strlen(text), INT32_MAX, field);
    case ENV_DURATION:
        return num_parse_duration_ms(text, strlen(text), field);
    }
    return -ERR_SYNTAX;
}

static const char *row_wants(enum env_kind kind)
{
    switch (kind) {
    case ENV_BOOL:
        return "true or false";
    case ENV_U32:
        return "a number";
    case ENV_U16:
        return "a number up to 65535";
    case ENV_U31:
        return "a number up to 2147483647";
    case ENV_DURATION:
        return "a duration such as 5s or 1m30s";
    case ENV_TEXT:
    case ENV_OPTIONAL:
        break;
    }
    return "text";
}

int env_rows_read(void *into, const struct env_row *rows, size_t count, char *const *env,
                  struct diag *why)
{
    for (size_t i = 0; i < count; i++) {
        const char *text = env_get(env, rows[i].name);
        text = text ? text : rows[i].otherwise;
        int r = row_parse(&rows[i], text, (char *)into + rows[i].offset);
        if (r < 0) {
            return FAIL(why, r, "%s: '%.40s' is not %s", rows[i].name, text,
                        row_wants(rows[i].kind));
        }
    }
    return 0;
}

void env_rows_fini(void *into, const struct env_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (rows[i].kind == ENV_TEXT || rows[i].kind == ENV_OPTIONAL) {
            char **text = (char **)(void *)((char *)into + rows[i].offset);
            mem_free(*text);
            *text = NULL;
        }
    }
}
