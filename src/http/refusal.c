/* SPDX-License-Identifier: Apache-2.0 */
#include "http/refusal.h"

#include "base/mem.h"

void refusal_free(struct refusal *r)
{
    if (r) {
        list_remove(&r->in_list);
        message_fini(&r->in);
        mem_free(r);
    }
}
