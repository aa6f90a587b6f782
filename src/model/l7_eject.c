/* SPDX-License-Identifier: Apache-2.0 */
#include "model/l7_eject.h"

enum { EJECTION_MAX_MS = 300 * 1000 };

enum l7_result l7_result_of(unsigned status)
{
    if (status == 0 || status == 502 || status == 503 || status == 504) {
        return L7_RESULT_GATEWAY;
    }
    return status >= 500 ? L7_RESULT_5XX : L7_RESULT_GOOD;
}

bool l7_is_ejected(const struct l7_health *h, uint64_t now_ms)
{
    return now_ms < h->until_ms;
}

/* Each whole interval since the end of the last ejection forgives one of them. */
static void forgive(struct l7_health *h, const struct l7_outlier *o, uint64_t now_ms)
{
    uint64_t since = h->checked_ms > h->until_ms ? h->checked_ms : h->until_ms;

    if (h->times == 0 || now_ms < since || o->interval_ms == 0) {
        return;
    }
    uint64_t clean = (now_ms - since) / o->interval_ms;
    h->times -= clean < h->times ? (uint32_t)clean : h->times;
    h->checked_ms = since + clean * o->interval_ms;
}

static bool reached(uint32_t have, uint32_t limit)
{
    return limit > 0 && have >= limit;
}

bool l7_health_result(struct l7_health *h, const struct l7_outlier *o, enum l7_result r,
                      uint64_t now_ms)
{
    forgive(h, o, now_ms);
    if (l7_is_ejected(h, now_ms)) {
        return false; /* an answer to a request from before */
    }
    switch (r) {
    case L7_RESULT_GOOD:
        h->errors_5xx = 0;
        h->errors_gateway = 0;
        break;
    case L7_RESULT_5XX:
        h->errors_5xx += h->errors_5xx < UINT32_MAX;
        h->errors_gateway = 0;
        break;
    case L7_RESULT_GATEWAY:
        h->errors_5xx += h->errors_5xx < UINT32_MAX;
        h->errors_gateway += h->errors_gateway < UINT32_MAX;
        break;
    }
    return reached(h->errors_5xx, o->consecutive_5xx) ||
           reached(h->errors_gateway, o->consecutive_gateway);
}

bool l7_may_eject(const struct l7_outlier *o, size_t ejected, size_t endpoints)
{
    return ejected == 0 || (ejected + 1) * 100 <= (size_t)o->max_ejection_percent * endpoints;
}

void l7_eject(struct l7_health *h, const struct l7_outlier *o, uint64_t now_ms)
{
    uint64_t longest =
        o->base_ejection_ms > EJECTION_MAX_MS ? o->base_ejection_ms : EJECTION_MAX_MS;

    h->times += h->times < UINT32_MAX;
    uint64_t length =
        o->base_ejection_ms > longest / h->times ? longest : o->base_ejection_ms * h->times;
    h->until_ms = now_ms + length;
    h->errors_5xx = 0;
    h->errors_gateway = 0;
}
