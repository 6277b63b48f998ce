// A worker's log lines for each connection, at its end, and for every Nth datagram. Off unless the
// configuration switches it on ([access_log]).
//
// While it is off it has no memory and costs one branch at each call. While it is on, each
// connection slot has a record, allocated when the log is switched on or the table grows, never in
// between. Connections opened while logging was off are not logged: they have no counts.
//
// A connection has one line, written when its end and its reason are known. Its byte counts are
// final then, though its slot may still wait for the close. The first of several reasons counts.
//
// At most `rate` lines a second are written. The others are dropped and counted; a line reports
// their number a second later.
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

/// How many bytes of a payload the access log can show.
inline constexpr uint32_t access_log_bytes_max = 256;

/// [access_log] in riposted.toml(5).
struct AccessLogConfig {
    bool connections = false;     ///< a line for each, at its end
    uint32_t datagrams_every = 0; ///< a line for every Nth; 0: for none
    uint32_t rate = 100;          ///< at most this many lines a second
    uint32_t bytes = 32;          ///< how many bytes of the payload are shown

    bool operator==(const AccessLogConfig&) const = default;
};

/// The share of one of `workers`: at least one line a second.
AccessLogConfig worker_share(const AccessLogConfig& config, uint32_t workers);

/// The subject of a line.
struct AccessPeer {
    SocketAddress address;
    std::string_view listener; ///< its label
    ServiceKind service;
};

class AccessLog {
public:
    /// Allocates the memory for set() and grow() with these arguments. Throws std::bad_alloc and
    /// then changes nothing.
    void reserve(const AccessLogConfig& share, uint32_t slots);
    void give_up() noexcept;
    /// Takes effect at once, with a record for each of `slots`.
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
    /// The reason for the coming end, for an end that gives none itself. `why` is static.
    void note(uint32_t slot, std::string_view why) noexcept {
        if (told_of(slot) && records_[slot].why.empty()) [[unlikely]]
            records_[slot].why = why;
    }
    /// True from the opening to the end of a logged connection.
    bool told_of(uint32_t slot) const noexcept {
        return slot < records_.size() && records_[slot].open;
    }
    /// Only for a connection that is logged. `how` is written unless note() gave a reason.
    void ended(uint32_t slot, const AccessPeer& peer, std::string_view how, uint64_t now_ms);

    // Datagrams.

    /// The first of the next `count` datagrams to be logged; `count` if none is. After it, every
    /// datagrams_every()th one is.
    uint32_t first_sample(uint32_t count) noexcept {
        return config_.datagrams_every == 0 ? count : sample(count);
    }
    uint32_t datagrams_every() const noexcept { return config_.datagrams_every; }
    void datagram(
        const AccessPeer& peer, std::span<const std::byte> bytes, bool refused, uint64_t now_ms);

    // Dropped lines.

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
    uint32_t seen_ = 0; ///< datagrams since the last logged one
    log::Limit limit_{1, 1000};
    uint64_t left_out_ = 0;
    uint64_t tell_ms_ = TimerWheel::never; ///< when to report dropped lines
};

} // namespace riposte
