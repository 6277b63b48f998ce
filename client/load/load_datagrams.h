// Which datagram answers which request, for one socket. Sans-I/O.
//
// Requests are probes (probe.h), numbered from 1; the number is the probe's sequence number. What
// is known of each stands in a ring by its number. The ring grows to twice the distance from the
// oldest pending request to the newest: an answer finds its request in one step, the oldest is
// known, and the outcome of a request is remembered for some time. The ring has a limit (`window`);
// a tracker that has reached it is full.
//
// In a closed loop a request keeps a place of its socket until it is answered, or until its
// patience is over (give_up_places). It stays pending: an answer within the timeout still counts.
#pragma once

#include "client/load/load_account.h"
#include "client/measure/probe.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace riposte::client {

/// What datagrams look like on every socket of a run.
struct DatagramShape {
    uint32_t request_bytes = 0;
    uint32_t answer_bytes = 0;
    bool echo = true;
    bool compare = true; ///< byte for byte, if it is an echo
};

enum class DatagramKind : uint8_t {
    answer,
    corrupted,
    wrong_size,
    late,      ///< the first answer to a request that was lost, or failed otherwise
    duplicate, ///< a further answer
    stray,
};

struct DatagramArrival {
    DatagramKind kind = DatagramKind::stray;
    bool reordered = false; ///< a first answer, after that to a later request
    /// Of the request that it answers; none if that is no longer known, or of a stray.
    std::optional<RequestTimes> times = {};
};

class DatagramTracker {
public:
    /// `window`: how far the newest request may be from the oldest that waits, at least 1.
    DatagramTracker(uint32_t session, uint64_t window);

    /// Requests without an outcome.
    uint64_t outstanding() const { return waiting_; }
    /// Those of them that keep a place.
    uint64_t kept() const { return kept_; }
    bool is_full() const { return last_ + 1 - oldest_ >= window_; }
    /// How many may be sent until it is full.
    uint64_t room() const { return window_ - (last_ + 1 - oldest_); }

    /// A request is about to be sent, which there must be room for: its header.
    ProbeHeader send(const RequestTimes& times);

    /// A datagram came. `scratch` has at least request_bytes.
    DatagramArrival arrive(
        const DatagramShape& shape, std::span<const std::byte> bytes, std::span<std::byte> scratch);

    /// The request ended otherwise; nothing if it does not wait.
    std::optional<RequestTimes> fail(const ProbeHeader& header);
    /// As fail(), for the one that was sent first; nothing if none waits.
    std::optional<RequestTimes> fail_oldest();

    /// When the oldest request that waits was sent; UINT64_MAX: none does.
    uint64_t oldest_ns() const { return waiting_ > 0 ? at(oldest_).times.sent_ns : UINT64_MAX; }
    /// The same of those that keep a place.
    uint64_t oldest_kept_ns() const {
        return kept_ > 0 ? at(oldest_kept_).times.sent_ns : UINT64_MAX;
    }

    /// Requests that were sent `patience_ns` ago or earlier keep their places no longer; how many.
    uint64_t give_up_places(uint64_t now_ns, uint64_t patience_ns);

    /// Calls on_lost(RequestTimes, kept_ns) for each request that was sent `timeout_ns` ago or
    /// earlier: how long it kept its place.
    template<class OnLost>
    void expire(uint64_t now_ns, uint64_t timeout_ns, OnLost&& on_lost) {
        while (waiting_ > 0 && now_ns >= at(oldest_).times.sent_ns + timeout_ns) {
            const Request lost = at(oldest_);
            end(oldest_, Fate::given_up);
            on_lost(
                lost.times,
                lost.keeps_place ? now_ns - lost.times.sent_ns : uint64_t{lost.kept_us} * 1000);
        }
    }

private:
    enum class Fate : uint8_t { waiting, answered, given_up, late };

    struct Request {
        RequestTimes times;
        uint32_t kept_us = 0; ///< its place, once it does no longer
        Fate fate = Fate::answered;
        bool keeps_place = false;
    };

    Request& at(uint64_t number) { return ring_[number & (ring_.size() - 1)]; }
    const Request& at(uint64_t number) const { return ring_[number & (ring_.size() - 1)]; }
    bool was_sent(const ProbeHeader& header) const;
    bool is_known(uint64_t number) const {
        return number > 0 && number <= last_ && last_ - number < ring_.size();
    }
    bool waits(uint64_t number) const {
        return is_known(number) && at(number).fate == Fate::waiting;
    }
    ProbeHeader header_of(uint64_t number) const;
    void grow();
    void leave_place(uint64_t number);
    void end(uint64_t number, Fate fate);
    uint64_t likeliest() const;
    uint64_t most_alike(std::span<const std::byte> bytes, std::span<std::byte> probe) const;
    DatagramArrival settle(uint64_t number, DatagramKind kind);

    uint32_t session_;
    uint64_t window_;
    std::vector<Request> ring_; ///< a power of two
    uint64_t last_ = 0;         ///< sent
    uint64_t oldest_ = 1;       ///< that waits, or the next
    uint64_t oldest_kept_ = 1;  ///< that keeps a place, or the next
    uint64_t waiting_ = 0;
    uint64_t kept_ = 0;
    uint64_t greatest_answered_ = 0; ///< its number
};

} // namespace riposte::client
