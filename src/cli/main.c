/* SPDX-License-Identifier: Apache-2.0 */
/* The program `ambit`: its subcommands, in the order in which people meet them. */
#include "cli/commands.h"

static const struct command *const commands[] = {
    &cmd_up,        &cmd_down,     &cmd_status, &cmd_run,        &cmd_ps,         &cmd_stop,
    &cmd_apply,     &cmd_get,      &cmd_label,  &cmd_delete,     &cmd_allow_node, &cmd_waypoint,
    &cmd_routes,    &cmd_why,      &cmd_can,    &cmd_flows,      &cmd_conns,      &cmd_logs,
    &cmd_workloads, &cmd_services, &cmd_certs,  &cmd_kubeconfig, &cmd_version,    NULL};

int main(int argc, char **argv)
{
    return (int)command_main(commands, argc > 0 ? argc - 1 : 0, argv + 1);
}
