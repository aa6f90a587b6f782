/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process that stands between the agent and a local command: it enters the workload's network
 * namespace, gives it name, hosts and resolver, becomes its user, starts it, waits for it, ends what
 * it leaves behind and writes down how it ended. So the command survives the agent, and a new agent
 * finds it by the shim's pid.
 *
 * Runs as a program of its own: "ambit-agent shim DIR", with the workload's standard input, output
 * and error as its own, and descriptor SHIM_STATUS_FD to say how the start went: "ok" and the command's pid, or an
 * error's name and a sentence.
 * DIR holds record.json (local_record.h), hosts and resolv.conf; the shim writes exit.json there.
 * SIGTERM ends the command, by force after its grace (a waypoint's is longer: it drains); other
 * signals are passed on.
 */
#pragma once

enum { SHIM_STATUS_FD = 3, SHIM_GRACE_S = 10, SHIM_WAYPOINT_GRACE_S = 35 };

/* The exit status of the program. */
int shim_main(const char *dir);
