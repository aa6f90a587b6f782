/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is served, described for clients (OpenAPI 2.0 and 3.0), made of the tables that the server
 * itself goes by: kinds (kind.h) and their schemas (schema.h). A field whose insides nothing here
 * knows is described as open, so that no client refuses what the server would take.
 *
 * The same documents for as long as the program runs. kubectl before 1.27 checks objects by the older
 * one and reads it as protobuf (message Document of openapi.v2) whatever it asked for; newer ones
 * read the other for `explain` and leave the checking to the server, whose parameter fieldValidation
 * they find in it.
 */
#pragma once

#include <stddef.h>

struct json;
struct schema;
struct strbuf;

/* All kinds; schemas one a kind, as they are numbered (kind_index). The caller's. */
struct json *openapi_v2(struct schema *const *schemas);
/* Of one group and version; NULL: no kind has it. The caller's. */
struct json *openapi_v3(struct schema *const *schemas, const char *group, const char *version);

/* Documents that were asked for, as they were sent. */
struct openapi_page;
void openapi_pages_free(struct openapi_page *first);

/* A document of openapi_v2 as protobuf. */
void openapi_v2_encode(const struct json *document, struct strbuf *out);
