/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a DestinationRule may say of connections, outliers and balancing. Asked by the stand-alone
 * API server before it takes one, and by the control plane of those that another API server took.
 */
#pragma once

struct faults;
struct json;

/* Adds what is wrong with spec, each with its field. */
void traffic_rule_check(struct faults *f, const struct json *spec);
