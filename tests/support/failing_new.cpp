#include "tests/support/failing_new.h"

#include <cstdlib>
#include <new>

namespace riposte::test {
namespace {

constexpr uint64_t unlimited = UINT64_MAX;
thread_local uint64_t left = unlimited;

} // namespace

FailAllocations::FailAllocations(uint64_t granted) noexcept {
    left = granted;
}

FailAllocations::~FailAllocations() {
    left = unlimited;
}

/// Whether one more allocation may succeed.
static bool grant() noexcept {
    if (left == unlimited)
        return true;
    if (left == 0)
        return false;
    --left;
    return true;
}

} // namespace riposte::test

// All forms without an alignment: a sanitizer would supply those that are missing here, and then
// one would free what the other has allocated. See [new.delete] of the standard.
void* operator new(size_t size) {
    void* memory = riposte::test::grant() ? std::malloc(size > 0 ? size : 1) : nullptr;
    if (memory == nullptr)
        throw std::bad_alloc();
    return memory;
}

void* operator new[](size_t size) {
    return operator new(size);
}

void* operator new(size_t size, const std::nothrow_t&) noexcept {
    return riposte::test::grant() ? std::malloc(size > 0 ? size : 1) : nullptr;
}

void* operator new[](size_t size, const std::nothrow_t& nothrow) noexcept {
    return operator new(size, nothrow);
}

void operator delete(void* memory) noexcept {
    std::free(memory);
}

void operator delete[](void* memory) noexcept {
    std::free(memory);
}

void operator delete(void* memory, size_t) noexcept {
    std::free(memory);
}

void operator delete[](void* memory, size_t) noexcept {
    std::free(memory);
}

void operator delete(void* memory, const std::nothrow_t&) noexcept {
    std::free(memory);
}

void operator delete[](void* memory, const std::nothrow_t&) noexcept {
    std::free(memory);
}
