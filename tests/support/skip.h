// Skips a test case that this machine cannot run, visibly.
//
//     TEST_CASE("the ring refuses a foreign descriptor") {
//         if (!io_uring_is_permitted())
//             SKIP("io_uring_setup: Operation not permitted");
//
// The case is reported and counted as skipped, with its reason; a case that failed before SKIP has
// failed. SKIP returns from the enclosing function, so use it in the test case itself.
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
