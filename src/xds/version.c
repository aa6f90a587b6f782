/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/xxh64.h"
#include "xds/resource.h"

const char *xds_version(struct slice wire, char buf[static XDS_VERSION_TEXT])
{
    (void)snprintf(buf, XDS_VERSION_TEXT, "%llx", (unsigned long long)xxh64(wire.p, wire.len));
    return buf;
}
