/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 as RFC 3629 has it: no surrogates, no overlong forms, nothing above U+10FFFF. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Length of the character that s starts with, 0 when it is none or len cuts it off. */
size_t utf8_char_len(const char *s, size_t len);
bool utf8_is_valid(const char *s, size_t len);
