/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/yaml_print.h"

#include <strings.h>

#include "base/ascii.h"
#include "codec/json.h"
#include "codec/utf8.h"

enum { PLAIN_MAX = 200, KEY_LINE_MAX = 1000 };

/* Words that YAML 1.1 takes for something else than text. */
static bool is_word_of_yaml(const char *s)
{
    static const char *const words[] = {"y",  "yes", "n",    "no", "true", "false",
                                        "on", "off", "null", "~",  ".inf", ".nan"};

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcasecmp(s, words[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Letters first, then what has no meaning to YAML anywhere: everything else is quoted. */
static bool is_plain(const char *s)
{
    size_t len = strlen(s);

    if (len == 0 || len > PLAIN_MAX || !(ascii_is_letter(s[0]) || s[0] == '/') ||
        is_word_of_yaml(s)) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (!ascii_is_alnum(s[i]) && !strchr("-_./", s[i])) {
            return false;
        }
    }
    return true;
}

static unsigned code_point(const char *s, size_t len)
{
    static const unsigned char masks[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    unsigned c = (unsigned char)s[0] & masks[len];

    for (size_t i = 1; i < len; i++) {
        c = c << 6 | ((unsigned char)s[i] & 0x3f);
    }
    return c;
}

/* JSON lets these stand in a text as they are. YAML does not, or takes them for line ends (YAML 1.1
 * 5.1, 5.4). */
static bool must_be_escaped(unsigned c)
{
    return (c >= 0x7f && c <= 0x9f) || c == 0x2028 || c == 0x2029 || c == 0xfeff || c == 0xfffe ||
           c == 0xffff;
}

static void put_quoted(const char *s, struct strbuf *out)
{
    AUTO(json) struct json *j = json_new_str(s);
    AUTO(strbuf) struct strbuf quoted = {0};

    json_print(j, 0, &quoted);
    for (size_t i = 0; i < quoted.len;) {
        size_t len = utf8_char_len(quoted.p + i, quoted.len - i);
        unsigned c = code_point(quoted.p + i, len);
        if (must_be_escaped(c)) {
            strbuf_printf(out, "\\u%04x", c);
        } else {
            strbuf_add(out, quoted.p + i, len);
        }
        i += len;
    }
}

static void put_text(const char *s, struct strbuf *out)
{
    if (is_plain(s)) {
        strbuf_puts(out, s);
    } else {
        put_quoted(s, out);
    }
}

/* A key that stands before its colon on one line has at most 1,024 characters (YAML 1.1 7.3.3); a
 * longer one is announced by "? ". */
static void put_key(const char *s, unsigned indent, struct strbuf *out)
{
    AUTO(strbuf) struct strbuf key = {0};

    put_text(s, &key);
    if (key.len > KEY_LINE_MAX) {
        strbuf_puts(out, "? ");
        strbuf_add(out, key.p, key.len);
        strbuf_printf(out, "\n%*s:", (int)indent, "");
        return;
    }
    strbuf_add(out, key.p, key.len);
    strbuf_putc(out, ':');
}

static bool is_empty_or_scalar(const struct json *j)
{
    return json_count(j) == 0;
}

static void put_scalar(const struct json *j, struct strbuf *out)
{
    if (json_kind(j) == JSON_KIND_STRING) {
        put_text(json_str(j, ""), out);
    } else {
        json_print(j, 0, out);
    }
    strbuf_putc(out, '\n');
}

static void put_value(const struct json *j, unsigned indent, bool in_line, struct strbuf *out);

/* What stands behind "key:" or "-". */
static void put_object(const struct json *j, unsigned indent, bool in_line, struct strbuf *out)
{
    struct json_iter it = {0};

    while (json_each(j, &it)) {
        strbuf_printf(out, "%*s", in_line ? 0 : (int)indent, "");
        in_line = false;
        put_key(it.key, indent, out);
        if (is_empty_or_scalar(it.value)) {
            strbuf_putc(out, ' ');
            put_scalar(it.value, out);
        } else {
            strbuf_putc(out, '\n');
            put_value(it.value, json_is_arr(it.value) ? indent : indent + 2, false, out);
        }
    }
}

static void put_value(const struct json *j, unsigned indent, bool in_line, struct strbuf *out)
{
    if (is_empty_or_scalar(j)) {
        strbuf_printf(out, "%*s", in_line ? 0 : (int)indent, "");
        put_scalar(j, out);
        return;
    }
    if (json_is_obj(j)) {
        put_object(j, indent, in_line, out);
        return;
    }
    for (size_t i = 0; i < json_count(j); i++) {
        strbuf_printf(out, "%*s- ", in_line ? 0 : (int)indent, "");
        in_line = false;
        put_value(json_item(j, i), indent + 2, true, out);
    }
}

void yaml_print(const struct json *j, struct strbuf *out)
{
    put_value(j, 0, false, out);
}
