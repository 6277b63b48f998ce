// Every choice of a simulated run comes from here, so that a seed is a whole run. The engine's
// output is fixed by the standard; the distributions of the standard library are not, so they are
// not used: the same seed is the same run with every compiler.
#pragma once

#include <cstdint>
#include <random>

namespace riposte::sim {

class Random {
public:
    explicit Random(uint64_t seed) : engine_(seed * 0x9e3779b97f4a7c15ULL + 1) {}

    /// 0 .. n-1; n is at least 1. The bias of the remainder does not matter here.
    uint32_t below(uint32_t n) { return static_cast<uint32_t>(engine_() % n); }
    /// low .. high, both possible.
    uint32_t between(uint32_t low, uint32_t high) { return low + below(high - low + 1); }
    bool chance(uint32_t percent) { return below(100) < percent; }

private:
    std::mt19937_64 engine_;
};

} // namespace riposte::sim
