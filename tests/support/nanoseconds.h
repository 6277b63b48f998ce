// Units of time in nanoseconds, for tests that write out durations.
#pragma once

#include <cstdint>

namespace riposte::test {

constexpr uint64_t ms = 1'000'000;
constexpr uint64_t second = 1'000 * ms;

} // namespace riposte::test
