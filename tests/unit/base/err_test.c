/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include "t.h"

TEST(an_error_comes_back_from_its_name)
{
    static const int codes[] = {-1,          -ENOENT,     -EOWNERDEAD,
                                -ERR_SYNTAX, -ERR_DENIED, -ERR_UNAVAILABLE};

    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        CHECK_INT(err_of_name(err_name(codes[i])), codes[i]);
    }
    for (int code = ERR_FIRST + 1; code < ERR_END; code++) {
        CHECK_INT(err_of_name(err_name(-code)), -code);
    }
    CHECK_INT(err_of_name("ERR_OF_TOMORROW"), -EIO);
    CHECK_INT(err_of_name(""), -EIO);
}
