// operator new of a test program that links failing_new.cpp: fails on request, as when memory is
// exhausted.
#pragma once

#include <cstdint>

namespace riposte::test {

/// While it lives, this thread's allocations beyond the first `granted` throw std::bad_alloc.
class FailAllocations {
public:
    explicit FailAllocations(uint64_t granted) noexcept;
    ~FailAllocations();
    FailAllocations(const FailAllocations&) = delete;
    FailAllocations& operator=(const FailAllocations&) = delete;
};

} // namespace riposte::test
