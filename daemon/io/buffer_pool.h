// Buffers, and the owner of each one.
//
// A pool is one mapping of `count` buffers of `bytes` each. Memory is reserved at the start and
// touched only when used, page by page. The free list is a stack, so that warm buffers are reused
// first and the memory of those deep in it can be returned to the system (trim()). Each buffer has
// one owner at a time; every move names both owners and asserts them, because a buffer with two
// owners, or none, corrupts another connection's bytes.
//
// Used by one thread: worker and backend run on the same one.
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
    /// `count` is at most 2^20 (see Token), `bytes` at least 1. Exit::os if the system refuses the
    /// memory.
    static Result<BufferPool> create(uint32_t count, uint32_t bytes);

    BufferPool(BufferPool&& other) noexcept;
    BufferPool& operator=(BufferPool&&) = delete;
    ~BufferPool();

    /// A free buffer, now owned by `to`; no_buffer if there is none.
    BufferId take(Owner to) noexcept;
    /// Passes a buffer from one owner to another; passed to the pool, it is free.
    void move(BufferId id, Owner from, Owner to) noexcept;
    /// Returns the memory of free buffers to the system, except that of the `keep` warmest ones.
    void trim(uint32_t keep) noexcept;
    /// Was a buffer taken or freed since the last trim()? Only then can another trim() free memory.
    bool used_since_trim() const noexcept { return used_since_trim_; }
    /// Frees every buffer of `from`, which is being destroyed.
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
    BufferId touched_end_ = 0; ///< no buffer from here on was touched since the last trim()
    bool used_since_trim_ = false;
};

/// The peer of a datagram, or of a train, and the address of ours that it was sent to: the reply
/// leaves from that one. Families are those of the socket (v4-mapped addresses on a dual-stack
/// one). The first cache line has all that an IPv4 or IPv6 datagram needs; the rest is touched only
/// on a socket that measures (measure_datagrams() in listen_socket.h).
struct alignas(64) DatagramInfo {
    socklen_t peer_size;
    sa_family_t local_family; ///< AF_UNSPEC: not reported; the kernel chooses for the reply
    /// 0: one datagram. Otherwise the buffer holds a train: consecutive datagrams of this size, the
    /// last of which may be shorter (UDP_GRO). None of them is empty.
    uint16_t segment_bytes;
    union {
        in_pktinfo v4;
        in6_pktinfo v6;
    } local;
    /// Sent to a broadcast or multicast address, so not to us alone.
    bool to_group : 1;
    /// The kernel truncated data or control data (MSG_TRUNC, MSG_CTRUNC): unreliable.
    bool cut : 1;
    /// Of a reply that says when it was sent: it leaves alone, never in a train, and in
    /// `traffic_class` instead of the socket's.
    bool measured : 1;
    bool has_received_ns : 1; ///< `received_ns` was reported
    /// Of a measured reply: report when it was transmitted, if that can be known.
    bool timed : 1;
    uint8_t ttl;           ///< or hop limit, as it arrived; 0: not reported
    uint8_t traffic_class; ///< DSCP and ECN, as they arrived; 0 if not reported
    union {
        sockaddr_storage any;
        sockaddr_in v4;
        sockaddr_in6 v6;
    } peer;
    uint64_t received_ns; ///< when the kernel received it, of CLOCK_REALTIME
    uint32_t transmit_id; ///< of a timed reply that was sent; see backend.h
};
static_assert(offsetof(DatagramInfo, peer) + sizeof(sockaddr_in6) <= 64);

/// The largest datagram: 65,535 bytes of IPv6 payload, rounded up.
inline constexpr uint32_t datagram_bytes_max = 65'536;

/// A pool of datagram buffers with a DatagramInfo each.
class DatagramPool {
public:
    static Result<DatagramPool> create(uint32_t count, uint32_t bytes = datagram_bytes_max);

    BufferPool& buffers() noexcept { return buffers_; }
    const BufferPool& buffers() const noexcept { return buffers_; }
    DatagramInfo& info(BufferId id) noexcept { return infos_[id]; }

private:
    DatagramPool(BufferPool buffers, uint32_t count)
        : buffers_(std::move(buffers)), infos_(count) {}

    BufferPool buffers_;
    std::vector<DatagramInfo> infos_;
};

} // namespace riposte
