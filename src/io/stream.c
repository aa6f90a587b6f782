/* SPDX-License-Identifier: Apache-2.0 */
#include "io/stream.h"

#include "base/mem.h"

const struct diag *stream_diag(const struct stream *s)
{
    static const struct diag nothing = {.code = 0};

    return s->said ? s->said : &nothing;
}

struct diag *stream_why(struct stream *s)
{
    s->said = s->said ? s->said : mem_new(struct diag);
    return s->said;
}

void stream_note(struct stream *s, const struct diag *why)
{
    if (s->said || why->code != 0) {
        *stream_why(s) = *why;
    }
}

void stream_fini(struct stream *s)
{
    mem_free(s->said);
    s->said = NULL;
}
