/* SPDX-License-Identifier: Apache-2.0 */
/* Every subcommand, and what several of them share. */
#pragma once

#include "cli/command.h"
#include "cli/view.h"

extern const struct command cmd_allow_node;
extern const struct command cmd_apply;
extern const struct command cmd_can;
extern const struct command cmd_certs;
extern const struct command cmd_conns;
extern const struct command cmd_delete;
extern const struct command cmd_down;
extern const struct command cmd_flows;
extern const struct command cmd_get;
extern const struct command cmd_kubeconfig;
extern const struct command cmd_label;
extern const struct command cmd_logs;
extern const struct command cmd_ps;
extern const struct command cmd_routes;
extern const struct command cmd_run;
extern const struct command cmd_services;
extern const struct command cmd_status;
extern const struct command cmd_stop;
extern const struct command cmd_up;
extern const struct command cmd_version;
extern const struct command cmd_waypoint;
extern const struct command cmd_why;
extern const struct command cmd_workloads;

/* -n NAMESPACE, for views whose operands are names. */
extern const struct arg_option options_filter[];
struct view_filter view_filter_of(const struct cli *c);
/* Records that the filter keeps, sorted by time, the newest --last of them: with -o json an object a
 * line, else as put says. */
void print_records(struct cli *c, const struct json *rows, const struct view_filter *f,
                   void (*put)(const struct json *row, bool colour, struct strbuf *out));
