// A loud way out of a test case that this machine can not run.
//
//     TEST_CASE("the ring refuses a foreign descriptor") {
//         if (!io_uring_is_permitted())
//             SKIP("io_uring_setup: Operation not permitted");
//
// The case is reported as skipped with its reason, and counted as such; a case that failed before
// it skipped has failed. SKIP returns from the function it stands in: use it in the test case
// itself.
#pragma once

#include <string>

namespace riposte::test {

/// Marks the running test case as skipped. SKIP() also leaves it.
void mark_skipped(std::string reason);

} // namespace riposte::test

#define SKIP(reason)                                                                               \
    do {                                                                                           \
        ::riposte::test::mark_skipped(reason);                                                     \
        return;                                                                                    \
    } while (false)
