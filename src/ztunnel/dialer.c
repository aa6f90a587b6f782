/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/dialer.h"

#include "io/failed_stream.h"
#include "io/tcp_stream.h"
#include "ztunnel/pod.h"

static const char *const alpn[] = {"h2"};

struct stream *pod_dial_secure(void *arg, const struct hbone_target *target)
{
    struct pod *p = arg;
    struct credential *credential = NULL;
    struct diag why = {0};
    /* Who dials has waited for the credential, so it is there unless it expired this very moment. */
    int r = pod_credential(p, &credential, &why);

    if (r < 0) {
        return failed_stream_new(r == -EAGAIN ? -ERR_UNAVAILABLE : r,
                                 "own certificate is not there");
    }
    struct sock_ask *ask =
        pod_ask_connect(p, (enum ip_family)target->gateway.ip.family, NULL, NULL);
    struct stream *tcp = tcp_stream_dial(p->plane->loop, ask, &target->gateway, CONNECT_MS);
    struct handshake_spec spec = {.role = TLS_MESH_CLIENT,
                                  .credential = credential,
                                  .expect = target->expect,
                                  .expect_count = target->expect_count,
                                  .alpn = alpn,
                                  .alpn_count = 1};
    return tls_stream_new(p->plane->tls, tcp, &spec, pod_lane(p, POD_OUT));
}
