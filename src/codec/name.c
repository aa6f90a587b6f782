/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/name.h"

#include <string.h>

#include "base/ascii.h"
#include "base/str.h"

enum { LABEL_BYTES = 63, NAME_BYTES = 253 };

/* The sentences of Kubernetes to the letter: people search for them. */
#define NAME_1123                                                                                  \
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "   \
    "must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex "     \
    "used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
#define NAME_1035                                                                                  \
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "   \
    "alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or "           \
    "'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
#define NAME_SUB                                                                                   \
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "   \
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used "  \
    "for validation is "                                                                           \
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
#define QUALIFIED                                                                                  \
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end "  \
    "with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for " \
    "validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
#define LABEL_VALUE                                                                                \
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "    \
    "'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or "             \
    "'my_value',  or '12345', regex used for validation is "                                       \
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"

static bool is_label(struct slice s)
{
    if (s.len == 0 || s.len > LABEL_BYTES) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        if (!ascii_is_lower_alnum(s.p[i]) && s.p[i] != '-') {
            return false;
        }
    }
    return s.p[0] != '-' && s.p[s.len - 1] != '-';
}

/* In a subdomain only the whole is limited; a part may be longer than a label. */
static bool is_subdomain(struct slice s)
{
    char before = '.';

    if (s.len == 0 || s.len > NAME_BYTES) {
        return false;
    }
    for (size_t i = 0; i <= s.len; i++) {
        char c = i < s.len ? s.p[i] : '.';
        bool edge = before == '.' || c == '.';
        if (!ascii_is_lower_alnum(c) && (edge || c != '-') &&
            (c != '.' || !ascii_is_lower_alnum(before))) {
            return false;
        }
        before = c;
    }
    return true;
}

static bool is_path_segment(const char *name)
{
    return name[0] != '\0' && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
           strpbrk(name, "/%") == NULL && strlen(name) <= NAME_BYTES;
}

const char *name_problem(enum name_rule rule, const char *name)
{
    switch (rule) {
    case NAME_SUBDOMAIN:
        return is_subdomain(slice_of(name)) ? NULL : NAME_SUB;
    case NAME_LABEL:
        return is_label(slice_of(name)) ? NULL : NAME_1123;
    case NAME_LABEL_1035:
        return is_label(slice_of(name)) && ascii_is_letter(name[0]) ? NULL : NAME_1035;
    case NAME_PATH_SEGMENT:
        return is_path_segment(name) ? NULL : "may not contain '/' or '%'";
    }
    return "no rule";
}

static bool is_word(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!ascii_is_alnum(s.p[i]) && strchr("-_.", s.p[i]) == NULL) {
            return false;
        }
    }
    return s.len <= LABEL_BYTES &&
           (s.len == 0 || (ascii_is_alnum(s.p[0]) && ascii_is_alnum(s.p[s.len - 1])));
}

const char *name_key_problem(const char *key)
{
    struct slice prefix;
    struct slice name;

    if (!slice_cut(slice_of(key), '/', &prefix, &name)) {
        name = prefix;
    } else if (!is_subdomain(prefix)) {
        return "prefix part " NAME_SUB;
    }
    return name.len > 0 && is_word(name) ? NULL : QUALIFIED;
}

const char *name_value_problem(const char *value)
{
    return is_word(slice_of(value)) ? NULL : LABEL_VALUE;
}
