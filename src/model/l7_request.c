/* SPDX-License-Identifier: Apache-2.0 */
#include "model/l7_request.h"

#include <string.h>

struct slice l7_request_header(const struct l7_request *q, const char *name)
{
    if (strcmp(name, "host") == 0) {
        return q->authority;
    }
    return q->header ? q->header(q->header_arg, name) : (struct slice){NULL, 0};
}
