/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/file.h"
#include "t.h"

static const char whole[] =
    "apiVersion: v1\n"
    "kind: Config\n"
    "current-context: one\n"
    "clusters:\n"
    "- name: c\n"
    "  cluster: {server: 'https://10.0.0.1:6443/', certificate-authority-data: Y2E=,\n"
    "            tls-server-name: kubernetes}\n"
    "- name: bare\n"
    "  cluster: {insecure-skip-tls-verify: true, server: 'http://h:80'}\n"
    "- name: none\n"
    "  cluster: {}\n"
    "contexts:\n"
    "- name: one\n"
    "  context: {cluster: c, user: t, namespace: shop}\n"
    "- name: two\n"
    "  context: {cluster: bare, user: nobody}\n"
    "- name: plugin\n"
    "  context: {cluster: c, user: p}\n"
    "- name: half\n"
    "  context: {cluster: c, user: h}\n"
    "- name: lost\n"
    "  context: {cluster: gone, user: t}\n"
    "- name: noserver\n"
    "  context: {cluster: none, user: t}\n"
    "- name: broken\n"
    "  context: {cluster: c, user: b}\n"
    "- name: file\n"
    "  context: {cluster: c, user: f}\n"
    "users:\n"
    "- name: t\n"
    "  user: {token: secret}\n"
    "- name: p\n"
    "  user: {exec: {command: aws}}\n"
    "- name: h\n"
    "  user: {client-certificate-data: Yw==}\n"
    "- name: b\n"
    "  user: {client-key-data: '*'}\n"
    "- name: f\n"
    "  user: {client-certificate: c.pem, client-key: /k.pem, tokenFile: tok}\n";

static int parse(const char *context, struct diag *why, struct kube_config **out)
{
    return kube_config_parse_blocking(slice_of(whole), "/nowhere", context, why, out);
}

TEST(the_current_context_is_what_counts)
{
    AUTO(kube_config) struct kube_config *c = NULL;
    struct diag why = {0};

    CHECK_INT(parse(NULL, &why, &c), 0);
    CHECK_STR(c->server, "https://10.0.0.1:6443");
    CHECK_STR(c->ca_pem, "ca");
    CHECK_STR(c->tls_server_name, "kubernetes");
    CHECK_STR(c->token, "secret");
    CHECK_STR(c->namespace, "shop");
    CHECK(!c->insecure);
}

TEST(another_context_can_be_named)
{
    AUTO(kube_config) struct kube_config *c = NULL;
    struct diag why = {0};

    CHECK_INT(parse("two", &why, &c), 0);
    CHECK_STR(c->server, "http://h:80");
    CHECK(c->insecure && !c->token && !c->ca_pem);
    CHECK_STR(c->namespace, "default");
}

TEST(what_cannot_be_used_is_refused_by_name)
{
    static const struct {
        const char *context;
        int code;
        const char *text;
    } cases[] = {
        {"absent", -ERR_NOT_FOUND, "kubeconfig: no context \"absent\""},
        {"lost", -ERR_NOT_FOUND, "kubeconfig: no cluster \"gone\""},
        {"noserver", -ERR_SYNTAX, "kubeconfig: the cluster has no server"},
        {"plugin", -ERR_UNSUPPORTED, "kubeconfig: users with exec are not supported"},
        {"half", -ERR_SYNTAX, "kubeconfig: a client certificate and its key come together"},
        {"broken", -ERR_SYNTAX, "kubeconfig: client-key-data is not base64"},
        {"file", -ENOENT, "open /nowhere/c.pem"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(kube_config) struct kube_config *c = NULL;
        struct diag why = {0};
        CHECK_INT(parse(cases[i].context, &why, &c), cases[i].code);
        CHECK(strncmp(why.text, cases[i].text, strlen(cases[i].text)) == 0);
    }
}

TEST(a_pod_finds_its_server_in_its_environment)
{
    char dir[] = "/tmp/kube-config-XXXXXX";
    char path[64];
    struct diag why = {0};
    struct kube_config *c = NULL;

    CHECK(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/ca.crt", dir);
    CHECK_INT(kube_config_in_cluster_blocking(dir, "fd00::1", "443", &why, &c), -ENOENT);
    CHECK_INT(file_write_blocking(path, "CA", 2, 0600, &why), 0);
    int r = kube_config_in_cluster_blocking(dir, "fd00::1", "443", &why, &c);
    unlink(path);
    rmdir(dir);
    CHECK_INT(r, 0);
    CHECK_STR(c->server, "https://[fd00::1]:443");
    CHECK_STR(c->ca_pem, "CA");
    CHECK_STR(c->namespace, "default");
    kube_config_free(c);
}
