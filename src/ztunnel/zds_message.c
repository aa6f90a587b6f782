/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "zds.pb-c.h"
#include "ztunnel/zds_message_int.h"

static void request_unpacked_free(Zds__WorkloadRequest *m)
{
    if (m) {
        zds__workload_request__free_unpacked(m, NULL);
    }
}
AUTO_DEFINE(unpacked, Zds__WorkloadRequest *, request_unpacked_free);

static void info_set(struct pod_info *out, const char *uid, const Zds__WorkloadInfo *m)
{
    *out = (struct pod_info){.uid = mem_strdup(uid),
                             .name = mem_strdup(m ? m->name : ""),
                             .ns = mem_strdup(m ? m->namespace_ : ""),
                             .service_account = mem_strdup(m ? m->service_account : "")};
}

/* Which descriptors go with which request. */
static int check_descriptors(bool is_add, unsigned count, struct diag *why)
{
    if (is_add && count == 0) {
        return FAIL(why, -ERR_SYNTAX, "No control message");
    }
    if (is_add && count > 1) {
        return FAIL(why, -ERR_SYNTAX, "Expected 1 FD, got %u", count);
    }
    if (!is_add && count > 0) {
        return FAIL(why, -ERR_SYNTAX, "Unexpected control message");
    }
    return 0;
}

int zds_request_parse(struct zds_request *out, const uint8_t *packet, size_t len, bool truncated,
                      unsigned descriptors, struct diag *why)
{
    if (truncated) {
        return FAIL(why, -ERR_TOO_LARGE, "received truncated message");
    }
    AUTO(unpacked) Zds__WorkloadRequest *m = zds__workload_request__unpack(NULL, len, packet);
    if (!m) {
        return FAIL(why, -ERR_SYNTAX, "failed to decode Protobuf message");
    }
    int r =
        check_descriptors(m->payload_case == ZDS__WORKLOAD_REQUEST__PAYLOAD_ADD, descriptors, why);
    if (r < 0 && m->payload_case != ZDS__WORKLOAD_REQUEST__PAYLOAD__NOT_SET) {
        return r;
    }
    *out = (struct zds_request){.kind = ZDS_ADD};
    switch (m->payload_case) {
    case ZDS__WORKLOAD_REQUEST__PAYLOAD_ADD:
        out->has_info = m->add->workload_info != NULL;
        info_set(&out->info, m->add->uid, m->add->workload_info);
        return 0;
    case ZDS__WORKLOAD_REQUEST__PAYLOAD_DEL:
        out->kind = ZDS_DEL;
        info_set(&out->info, m->del->uid, NULL);
        return 0;
    case ZDS__WORKLOAD_REQUEST__PAYLOAD_KEEP:
        out->kind = ZDS_KEEP;
        info_set(&out->info, m->keep->uid, NULL);
        return 0;
    case ZDS__WORKLOAD_REQUEST__PAYLOAD_SNAPSHOT_SENT:
        out->kind = ZDS_SNAPSHOT_SENT;
        info_set(&out->info, "", NULL);
        return 0;
    case ZDS__WORKLOAD_REQUEST__PAYLOAD__NOT_SET:
    case _ZDS__WORKLOAD_REQUEST__PAYLOAD__CASE_IS_INT_SIZE:
        break;
    }
    return FAIL(why, -ERR_SYNTAX, "no payload");
}

size_t zds_hello_write(uint8_t out[static ZDS_ANSWER_MAX])
{
    Zds__ZdsHello m = ZDS__ZDS_HELLO__INIT;

    m.version = ZDS__VERSION__V1;
    return zds__zds_hello__pack(&m, out);
}

size_t zds_answer_write(uint8_t out[static ZDS_ANSWER_MAX], const char *error)
{
    char text[ZDS_ANSWER_MAX - 32];
    Zds__WorkloadResponse m = ZDS__WORKLOAD_RESPONSE__INIT;
    Zds__Ack ack = ZDS__ACK__INIT;

    (void)snprintf(text, sizeof(text), "%s", error ? error : ""); /* cut on purpose */
    ack.error = text;
    m.payload_case = ZDS__WORKLOAD_RESPONSE__PAYLOAD_ACK;
    m.ack = &ack;
    return zds__workload_response__pack(&m, out);
}
