// The limits of a test's waits for events that must happen. They are far longer than an idle
// machine needs, and slow no test down; RIPOSTE_TEST_PATIENCE multiplies them where they are still
// too short.
#pragma once

#include <chrono>
#include <cstdlib>

namespace riposte::test {

/// A factor; 1 unless the environment says otherwise.
inline double patience_factor() {
    static const double factor = [] {
        const char* text = std::getenv("RIPOSTE_TEST_PATIENCE"); // NOLINT(concurrency-mt-unsafe)
        const double value = text != nullptr ? std::strtod(text, nullptr) : 1;
        return value > 0 ? value : 1;
    }();
    return factor;
}

/// Longer than an idle machine ever needs.
inline std::chrono::milliseconds patience(std::chrono::seconds idle = std::chrono::seconds(60)) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(idle * patience_factor());
}

/// For poll(2).
inline int patience_ms() {
    return static_cast<int>(patience().count());
}

} // namespace riposte::test
