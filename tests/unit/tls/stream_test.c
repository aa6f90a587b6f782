#include "t.h"
TEST(x)
{
    CHECK(1);
}
