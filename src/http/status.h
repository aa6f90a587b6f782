/* SPDX-License-Identifier: Apache-2.0 */
/* Status codes' names and dates as HTTP writes them (RFC 9110 15, 5.6.7). Pure; any thread. */
#pragma once

#include <stdint.h>

/* "Not Found"; "" when the code has no name. */
const char *http_reason(unsigned status);

/* "Wed, 25 Nov 2026 14:16:24 GMT" into out. Years 1970 to 9999. */
enum { HTTP_DATE_TEXT = 64 };
void http_date(int64_t unix_s, char out[static HTTP_DATE_TEXT]);
