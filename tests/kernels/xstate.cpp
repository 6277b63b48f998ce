// Lets User Mode Linux before 6.16 run on processors with more state than it knows: preloaded
// (ld.so(8)) into it by tests/kernels/start.
//
// That kernel saves the registers of its processes with ptrace(2), NT_X86_XSTATE, into a buffer for
// AVX-512 and what came before. Where the processor has more (AMX: 11,008 bytes instead of 2,696),
// the kernel of the machine fills the buffer with the beginning of the state, but takes back only a
// whole state: EFAULT, and the guest panics. So the beginning that it gives is put over the state
// as it is.
//
// Built without the C++ library, and with nothing of the C library that Debian 11's lacks: no
// dlsym(3).
#include <cerrno>
#include <cstdarg>
#include <cstring>

#include <elf.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

namespace {

constexpr size_t state_bytes_max = 1 << 16;
alignas(64) char state[state_bytes_max]; // User Mode Linux has one thread that traces

long call(long request, pid_t pid, void* address, void* data) {
    return ::syscall(SYS_ptrace, request, pid, address, data);
}

/// The kernel stores what it peeks; the C library returns it.
long peek(long request, pid_t pid, void* address) {
    long word = 0;
    if (call(request, pid, address, &word) < 0)
        return -1;
    errno = 0;
    return word;
}

} // namespace

extern "C" long ptrace(enum __ptrace_request request, ...) noexcept {
    va_list arguments;
    va_start(arguments, request);
    const pid_t pid = va_arg(arguments, pid_t);
    void* const address = va_arg(arguments, void*);
    void* const data = va_arg(arguments, void*);
    va_end(arguments);
    if (request == PTRACE_PEEKTEXT || request == PTRACE_PEEKDATA || request == PTRACE_PEEKUSER)
        return peek(request, pid, address);
    const long result = call(request, pid, address, data);
    const bool is_too_short = request == PTRACE_SETREGSET && result < 0 && errno == EFAULT &&
                              address == reinterpret_cast<void*>(NT_X86_XSTATE);
    if (!is_too_short)
        return result;
    const iovec given = *static_cast<const iovec*>(data);
    iovec whole{.iov_base = state, .iov_len = state_bytes_max};
    if (call(PTRACE_GETREGSET, pid, address, &whole) < 0)
        return -1;
    if (given.iov_len >= whole.iov_len) {
        errno = EFAULT;
        return -1;
    }
    std::memcpy(state, given.iov_base, given.iov_len);
    return call(PTRACE_SETREGSET, pid, address, &whole);
}
