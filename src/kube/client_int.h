/* SPDX-License-Identifier: Apache-2.0 */
/* What transfers see of their client. */
#pragma once

#include <curl/curl.h>

#include "base/list.h"
#include "io/jobs.h"
#include "io/loop.h"

struct kube_config;
struct token_job;

struct kube_client {
    struct task task;
    struct timer curl_timer;
    struct timer token_timer;
    struct fd_watch ready; /* of the epoll set below */
    struct loop *loop;
    struct jobs *jobs;
    CURLM *multi;
    int sockets;  /* an epoll set of libcurl's sockets: level-triggered, as libcurl expects */
    char *server; /* what URLs begin with */
    struct curl_slist *connect_to; /* where that leads, when the certificate has another name */
    char *ca_pem;
    char *cert_pem;
    char *key_pem;
    char *token; /* NULL: none */
    char *token_file;
    char *username;
    char *password;
    char *proxy_url;
    char *namespace;
    char *user_agent;
    bool insecure;
    struct token_job *token_job; /* NULL: no token file */
    bool stopping;
};

/* Of transfer.c: libcurl says that this one is over. */
void transfer_finish(CURL *easy, CURLcode code);
/* Makes the client's task run soon. */
void client_poke(struct kube_client *c);
