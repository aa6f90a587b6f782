/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How to reach an API server and as whom: from a kubeconfig file, or from what Kubernetes gives every
 * pod. Files that a kubeconfig names are looked for beside it. Credential plug-ins (exec,
 * auth-provider) are refused by name.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"

struct kube_config {
    char *server;          /* https://host:port, without a slash at the end */
    char *tls_server_name; /* NULL: the server's host */
    char *ca_pem;          /* NULL: the system's roots */
    char *client_cert_pem; /* NULL: none */
    char *client_key_pem;
    char *token;      /* NULL: none */
    char *token_file; /* read again every minute; wins over token */
    char *username;   /* basic authentication; NULL: none */
    char *password;
    char *proxy_url;
    char *namespace; /* of the context; never NULL */
    bool insecure;   /* the server's certificate is not looked at */
};

/* path NULL: $KUBECONFIG (its first file), a pod's environment, ~/.kube/config, in this order.
 * context NULL: the current one. */
MUST_USE int kube_config_load_blocking(const char *path, const char *context, struct diag *why,
                                       struct kube_config **out);
/* Out of the text of a kubeconfig; dir is where relative files lie. */
MUST_USE int kube_config_parse_blocking(struct slice text, const char *dir, const char *context,
                                        struct diag *why, struct kube_config **out);
/* dir holds token, ca.crt and namespace; host and port come from the environment. */
MUST_USE int kube_config_in_cluster_blocking(const char *dir, const char *host, const char *port,
                                             struct diag *why, struct kube_config **out);
void kube_config_free(struct kube_config *c);

AUTO_DEFINE(kube_config, struct kube_config *, kube_config_free);
