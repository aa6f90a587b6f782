/* SPDX-License-Identifier: Apache-2.0 */
/* Packets of a node proxy. Oracle: only the three known outcomes; what is accepted is small; a refusal
 * brings words. */
#include <assert.h>

#include "node/zds_msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct diag why = {0};
    int hello = zds_read_hello(data, size);
    int answer = zds_read_response(data, size, &why);

    assert(hello == 0 || hello == -ERR_SYNTAX || hello == -ERR_VERSION);
    assert(answer == 0 || answer == -ERR_SYNTAX || answer == -ERR_DENIED);
    assert(size <= ZDS_PACKET_MAX || (hello == -ERR_SYNTAX && answer == -ERR_SYNTAX));
    assert(answer != -ERR_DENIED || (why.code == -ERR_DENIED && why.text[0] != '\0'));
    return 0;
}
