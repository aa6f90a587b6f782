/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenSSL with nothing in it but what handshakes use. OpenSSL 3.0 asks all decoders and key managers
 * it has, over a hundred, for every public key it reads, and walks all algorithms for that: a
 * millisecond for the four certificates of a mutual handshake. Here it finds the default provider's
 * algorithms for TLS 1.3 and for EC, RSA and Ed25519 certificates; those of other kinds (Ed448, DSA)
 * cannot be verified. Providers of openssl.cnf have no say in it. Private to this folder.
 */
#pragma once

#include <openssl/crypto.h>

/* NULL, which stands for the whole library, when it cannot be made. For the life of the process. */
OSSL_LIB_CTX *tls_library(void);
