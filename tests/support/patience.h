// How long a test waits for what must come. The bounds are far beyond what an idle machine needs,
// and no test is slower for them; RIPOSTE_TEST_PATIENCE multiplies them where even they are too
// short.
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

/// So much as an idle machine never needs.
inline std::chrono::milliseconds patience(std::chrono::seconds idle = std::chrono::seconds(60)) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(idle * patience_factor());
}

/// For poll(2).
inline int patience_ms() {
    return static_cast<int>(patience().count());
}

} // namespace riposte::test
