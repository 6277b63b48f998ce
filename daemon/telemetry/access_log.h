// A worker's lines for single connections, at their end, and for one in so many datagrams. Off
// unless the configuration switches it on ([access_log]).
//
// While it is off it has no memory, and costs one branch where it would count. While it is on, each
// slot of a connection has a record, allocated when the log is switched on or the slots become
// more, never in between. Connections opened while logging was off are not logged: they have no
// counts.
//
// A connection has one line, written when it is known how it ended; its byte counts are final then,
// though its slot may still wait for the close. Of several reasons the first one counts.
//
// At most `rate` lines a second are written. The others are counted, and a second later a line
// says how many.
#pragma once

#include "common/address.h"
#include "daemon/core/timer_wheel.h"
#include "daemon/core/vector_reservation.h"
#include "daemon/log/log.h"
#include "daemon/services/service.h"

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace riposte {

/// How much of a content the access log can show.
inline constexpr uint32_t access_log_bytes_max = 256;

/// [access_log] in riposted.toml(5).
struct AccessLogConfig {
    bool connections = false;     ///< a line for each, at its end
    uint32_t datagrams_every = 0; ///< a line for one in so many; 0: for none
    uint32_t rate = 100;          ///< lines a second, at most
    uint32_t bytes = 32;          ///< of the content, at its front

    bool operator==(const AccessLogConfig&) const = default;
};

/// Of `workers`, each at least one line a second.
AccessLogConfig worker_share(const AccessLogConfig& config, uint32_t workers);

/// Whose line it is.
struct AccessPeer {
    SocketAddress address;
    std::string_view listener; ///< its label
    ServiceKind service;
};

class AccessLog {
public:
    /// Memory for set() and grow() with these. Throws std::bad_alloc, and then nothing has changed.
    void reserve(const AccessLogConfig& share, uint32_t slots);
    void give_up() noexcept;
    /// From now on, with a record for each of `slots`.
    void set(const AccessLogConfig& share, uint32_t slots);
    void grow(uint32_t slots);
    static uint64_t memory_bytes(const AccessLogConfig& share, uint64_t slots) noexcept;

    // Connections. Each call does nothing for a connection that is not logged.

    void opened(uint32_t slot, uint64_t now_ms) noexcept;
    void received(uint32_t slot, std::span<const std::byte> bytes) noexcept {
        if (told_of(slot)) [[unlikely]]
            add_received(records_[slot], slot, bytes);
    }
    void sent(uint32_t slot, uint32_t size) noexcept {
        if (told_of(slot)) [[unlikely]]
            records_[slot].sent_bytes += size;
    }
    /// Why it will end, for an end that says no more than that it is one. `why` is static.
    void note(uint32_t slot, std::string_view why) noexcept {
        if (told_of(slot) && records_[slot].why.empty()) [[unlikely]]
            records_[slot].why = why;
    }
    /// From the opening to the end.
    bool told_of(uint32_t slot) const noexcept {
        return slot < records_.size() && records_[slot].open;
    }
    /// Only for a connection that is logged. `how` is written unless note() gave a reason.
    void ended(uint32_t slot, const AccessPeer& peer, std::string_view how, uint64_t now_ms);

    // Datagrams.

    /// Which of the next `count` datagrams is the first to be logged? `count` if none is. After it,
    /// each datagrams_every()th one is.
    uint32_t first_sample(uint32_t count) noexcept {
        return config_.datagrams_every == 0 ? count : sample(count);
    }
    uint32_t datagrams_every() const noexcept { return config_.datagrams_every; }
    void datagram(
        const AccessPeer& peer, std::span<const std::byte> bytes, bool refused, uint64_t now_ms);

    // What was left out.

    uint64_t next_ms() const noexcept { return tell_ms_; }
    void expire(uint64_t now_ms) {
        if (now_ms >= tell_ms_)
            tell_left_out();
    }
    void tell_left_out();

private:
    struct Record {
        uint64_t since_ms = 0;
        uint64_t received_bytes = 0;
        uint64_t sent_bytes = 0;
        std::string_view why{};
        bool open = false;
    };

    void add_received(Record& record, uint32_t slot, std::span<const std::byte> bytes) noexcept;
    uint32_t sample(uint32_t count) noexcept;
    bool may_write(uint64_t now_ms) noexcept;
    std::string shown(std::span<const std::byte> bytes, uint64_t of) const;

    AccessLogConfig config_{};
    std::vector<Record> records_;     ///< by slot; empty while off
    std::vector<std::byte> contents_; ///< the first bytes, `config_.bytes` for each slot
    VectorReservation<Record> records_room_;
    VectorReservation<std::byte> contents_room_;
    uint32_t seen_ = 0; ///< datagrams since the last one that was logged
    log::Limit limit_{1, 1000};
    uint64_t left_out_ = 0;
    uint64_t tell_ms_ = TimerWheel::never; ///< when to say so
};

} // namespace riposte
