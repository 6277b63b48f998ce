// The build without libseccomp.
#include "daemon/platform/sandbox.h"

#include <doctest/doctest.h>

using namespace riposte;

TEST_CASE("a build without libseccomp says so") {
    CHECK(sandbox::seal({}).error().token == "not_built");
}
