/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credentials of the embedded API server, as files in the data folder: one token each for the
 * administrator and for every node, none for workloads. A token lies in credentials/NAME, the
 * kubeconfig that holds it beside the data, both mode 0600. A file that appears is a new credential, a
 * file that goes ends one; the running server follows. Blocking: program start, commands and jobs.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

enum { ACCESS_TOKEN_BYTES = 32, ACCESS_NAME_MAX = 200, ACCESS_FILES_MAX = 4096 };

#define ACCESS_ADMIN "admin"
#define ACCESS_NODE  "node." /* and the node's name */

/* Makes the folders of the data folder: what holds secrets is for its owner alone. */
MUST_USE int access_prepare_blocking(const char *data, struct diag *why);
/* A new one, stored nowhere; the caller's, a secret. */
char *access_token_new(void);
/* Writes admin.kubeconfig or nodes/NAME.kubeconfig, with a new token where NAME has none. *out_path is
 * the caller's. */
MUST_USE int access_kubeconfig_blocking(const char *data, const char *name, const char *server,
                                        const char *ca_pem, char **out_path, struct diag *why);

struct access_entry {
    char *name;
    char *token;
};
struct access_list {
    struct access_entry *at;
    unsigned count;
};
/* All of them. What cannot be read is left out. */
MUST_USE int access_list_blocking(const char *data, struct access_list *out, struct diag *why);
void access_list_fini(struct access_list *l);

/* A kubeconfig's text. */
void access_kubeconfig_text(struct strbuf *out, const char *server, const char *ca_pem,
                            const char *token);
