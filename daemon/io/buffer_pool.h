// Buffers, and who owns each one.
//
// A pool is one mapping of `count` buffers of `bytes` each. Memory is reserved at start and touched
// only when used, page by page; the free list is a stack, so that the warm buffers are used again
// first, and what lies deep in it can be given back to the system (trim()). Each
// buffer has one owner at a time, and every move states from whom to whom and is asserted at both
// ends: a buffer that two own, or none, is the fault that corrupts other people's bytes.
//
// One thread's: worker and backend are the same thread.
#pragma once

#include "common/error.h"

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <netinet/in.h>
#include <sys/socket.h>

namespace riposte {

using BufferId = uint32_t;
inline constexpr BufferId no_buffer = UINT32_MAX;

enum class Owner : uint8_t { pool, backend, worker };

class BufferPool {
public:
    /// `count` is at most 2^20 (see Token), `bytes` at least 1. Exit::os if memory is refused.
    static Result<BufferPool> create(uint32_t count, uint32_t bytes);

    BufferPool(BufferPool&& other) noexcept;
    BufferPool& operator=(BufferPool&&) = delete;
    ~BufferPool();

    /// A free buffer for `to`, or no_buffer.
    BufferId take(Owner to) noexcept;
    /// Passes a buffer on. To the pool means: it is free again.
    void move(BufferId id, Owner from, Owner to) noexcept;
    /// Gives the memory of free buffers back to the system, but for the `keep` warmest ones.
    void trim(uint32_t keep) noexcept;
    /// Was a buffer taken or freed since the last trim()? Then another one may find something.
    bool stirred() const noexcept { return stirred_; }
    /// Everything that `from` has is free again, because it is going away.
    void reclaim(Owner from) noexcept;

    std::span<std::byte> bytes(BufferId id) const noexcept {
        assert(id < count());
        return {memory_ + size_t{id} * buffer_bytes_, buffer_bytes_};
    }

    uint32_t count() const noexcept { return static_cast<uint32_t>(owner_.size()); }
    uint32_t buffer_bytes() const noexcept { return buffer_bytes_; }
    uint32_t held(Owner owner) const noexcept { return held_[static_cast<size_t>(owner)]; }
    Owner owner(BufferId id) const noexcept { return owner_[id]; }

private:
    BufferPool(std::byte* memory, uint32_t count, uint32_t bytes);

    std::byte* memory_;
    uint32_t buffer_bytes_;
    std::vector<Owner> owner_;
    std::vector<BufferId> free_; ///< capacity reserved: never allocates after create()
    uint32_t held_[3];
    BufferId touched_end_ = 0; ///< from here on no buffer has been touched since the last trim()
    bool stirred_ = false;
};

/// Where a datagram, or a train of them, came from and to which of our addresses: the reply leaves
/// from that one. Families are those of the socket (v4-mapped addresses on a dual-stack one). What
/// an IPv4 or IPv6 datagram needs is in the first cache line; the rest of `any` is never touched.
struct alignas(64) DatagramInfo {
    socklen_t peer_size;
    sa_family_t local_family; ///< AF_UNSPEC: the kernel did not say; it chooses for the reply
    /// 0: one datagram. Else the buffer holds a train: datagrams of this size one behind the other,
    /// the last of which may be shorter (UDP_GRO). None of them is empty.
    uint16_t segment_bytes;
    union {
        in_pktinfo v4;
        in6_pktinfo v6;
    } local;
    bool to_group; ///< sent to a broadcast or multicast address, so not to us alone
    bool cut;      ///< the kernel had more to tell than there was room for: not to be relied on
    union {
        sockaddr_storage any;
        sockaddr_in v4;
        sockaddr_in6 v6;
    } peer;
};

/// The largest datagram: 65,535 bytes of IPv6 payload, rounded up.
inline constexpr uint32_t datagram_bytes_max = 65'536;

/// A pool of datagram buffers with a DatagramInfo each.
class DatagramPool {
public:
    static Result<DatagramPool> create(uint32_t count, uint32_t bytes = datagram_bytes_max);

    BufferPool& buffers() noexcept { return buffers_; }
    const BufferPool& buffers() const noexcept { return buffers_; }
    DatagramInfo& arrival(BufferId id) noexcept { return arrivals_[id]; }

private:
    DatagramPool(BufferPool buffers, uint32_t count)
        : buffers_(std::move(buffers)), arrivals_(count) {}

    BufferPool buffers_;
    std::vector<DatagramInfo> arrivals_;
};

} // namespace riposte
