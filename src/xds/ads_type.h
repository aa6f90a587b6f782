/* SPDX-License-Identifier: Apache-2.0 */
/* The types of resources that a discovery server has. */
#pragma once

/* What the server has, in the order in which it is pushed: policies before what they protect, and what
 * is protected no more is taken away before them. Those of layer 7 belong to one waypoint each. */
enum ads_type {
    ADS_ADDRESS,
    ADS_AUTHORIZATION,
    ADS_L7_POLICY,
    ADS_L7_TRAFFIC,
    ADS_L7_ROUTE,
    ADS_L7_BINDING,
    ADS_TYPES,
    ADS_UNKNOWN = ADS_TYPES
};
extern const char *const ads_type_urls[ADS_TYPES];
