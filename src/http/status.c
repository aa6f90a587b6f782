/* SPDX-License-Identifier: Apache-2.0 */
#include "http/status.h"

#include <stdio.h>

#include "base/auto.h"

static const struct {
    unsigned status;
    const char *reason;
} reasons[] = {
    {100, "Continue"},
    {101, "Switching Protocols"},
    {102, "Processing"},
    {103, "Early Hints"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {203, "Non-Authoritative Information"},
    {204, "No Content"},
    {205, "Reset Content"},
    {206, "Partial Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {407, "Proxy Authentication Required"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Payload Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Entity"},
    {425, "Too Early"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
};

const char *http_reason(unsigned status)
{
    for (unsigned i = 0; i < ARRAY_LEN(reasons); i++) {
        if (reasons[i].status == status) {
            return reasons[i].reason;
        }
    }
    return "";
}

struct civil {
    unsigned year;
    unsigned month; /* 1 to 12 */
    unsigned day;
};

/* Days since 1970 to a date: years are counted from March, so that the leap day is the last one. */
static struct civil civil_from_days(uint32_t days)
{
    uint32_t z = days + 719468; /* since 1 March of year 0 */
    uint32_t era = z / 146097;
    uint32_t of_era = z % 146097;
    uint32_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    uint32_t of_year = of_era - (365 * year + year / 4 - year / 100);
    uint32_t month = (5 * of_year + 2) / 153; /* 0 = March */
    struct civil c = {.year = year + era * 400,
                      .month = month < 10 ? month + 3 : month - 9,
                      .day = of_year - (153 * month + 2) / 5 + 1};

    c.year += c.month <= 2;
    return c;
}

void http_date(int64_t unix_s, char out[static HTTP_DATE_TEXT])
{
    static const char days[] = "ThuFriSatSunMonTueWed";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    uint64_t s = unix_s > 0 ? (uint64_t)unix_s : 0;
    uint32_t day = (uint32_t)(s / 86400 % 2932897); /* up to the end of 9999 */
    unsigned of_day = (unsigned)(s % 86400);
    struct civil c = civil_from_days(day);

    (void)snprintf(out, HTTP_DATE_TEXT, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT",
                   days + (size_t)(day % 7) * 3, c.day, months + (size_t)(c.month - 1) * 3, c.year,
                   of_day / 3600, of_day / 60 % 60, of_day % 60); /* always fits */
}
