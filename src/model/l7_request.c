/* SPDX-License-Identifier: Apache-2.0 */
#include "model/l7_request.h"

struct slice l7_request_header(const struct l7_request *q, const char *name)
{
    return q->header ? q->header(q->header_arg, name) : (struct slice){NULL, 0};
}
