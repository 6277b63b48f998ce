// Counters of one worker, by service: one thread writes, any thread reads. A reader that adds up
// several workers may see one a little later than another; each counter is right by itself.
//
// They belong to the service and not to a listener, because a reload can change what a listener
// serves while its connections go on with what they were accepted for: what a connection adds when
// it opens it must take away from the same row when it closes. What a listener is told of itself is
// less, and lies in ListenerCounts.
//
// Each worker's are in cache lines of their own (a worker is an allocation of its own, and larger
// than a line on either side of them), and adding is a load and a store: reading costs a worker
// nothing but the line that the reader takes to look at it.
#pragma once

#include "common/endpoint.h"
#include "daemon/services/service.h"
#include "daemon/telemetry/latency.h"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace riposte {

enum class Counter : uint8_t {
    connections_accepted,
    connections_closed,        ///< accepted + adopted - closed - handed over is what is open now
    connections_adopted,       ///< from the process before this one; open, like an accepted one
    connections_handed_over,   ///< kept for the next process; gone, like a closed one
    connections_denied,        ///< by 'allow' and 'deny'
    connections_refused,       ///< over 'connections'
    connections_over_source,   ///< over 'connections_per_source'
    connections_over_listener, ///< over the 'connections' of a [[listen]]
    connections_evicted,       ///< idle, when somebody else came and 'connections' was reached
    connections_reset,         ///< ended by the peer's RST or another error
    first_byte_timeouts,
    idle_timeouts,
    write_stall_timeouts,
    stalls_relieved, ///< took nothing, and others needed the buffers
    read_rates_low,  ///< sent less than rate_min
    write_rates_low, ///< took less than write_rate_min
    linger_timeouts,
    accept_emfile, ///< accepting paused for want of descriptors of the process
    accept_enfile, ///< ... of the system
    accept_enobufs,
    accept_enomem,
    accept_other,
    stream_received_bytes,
    stream_sent_bytes,
    datagram_received_bytes,
    datagram_sent_bytes,
    datagrams_received,
    datagrams_sent,
    datagrams_unanswered,  ///< the service answers nothing (discard)
    datagrams_too_long,    ///< the answer would have been longer than the question
    datagrams_longer,      ///< it was, by `longer_answers_to`; part of those sent or failed
    datagrams_send_failed, ///< EAGAIN, unreachable: dropped
    // Not asked of the service; see acl.h, source_filter.h and response_rate_limit.h.
    datagrams_denied, ///< by 'allow' and 'deny'
    datagrams_source_port,
    datagrams_own_port,
    datagrams_source_address,
    datagrams_to_group,
    datagrams_malformed,
    datagrams_over_prefix_rate,
    datagrams_crowded, ///< over the rate that those share who found no place in the table
    datagrams_over_newcomer_rate,
    datagrams_over_rate,
};

/// For people, where it has one: "datagrams from reserved ports".
std::string_view name_of(Counter count);

/// For `dropped_total{reason}`: what was not answered, not let in, or ended by us before its time.
struct Drop {
    Counter count;
    Transport transport;
    std::string_view reason; ///< "prefix_rate"
};
std::span<const Drop> drops();

/// Accepting paused, by the error's name; "other" is the last one.
struct AcceptError {
    Counter count;
    int error; ///< 0: any other
    std::string_view name;
};
std::span<const AcceptError> accept_errors();
Counter accept_error(int error);

inline constexpr size_t count_kinds = static_cast<size_t>(Counter::datagrams_over_rate) + 1;

/// One row of counters for each service.
template<class Value>
using CountTable = std::array<std::array<Value, count_kinds>, service_kinds>;

class Counters {
public:
    /// By the worker's thread only.
    void add(ServiceKind service, Counter count, uint64_t n = 1) noexcept {
        auto& value = values_[static_cast<size_t>(service)][static_cast<size_t>(count)];
        value.store(value.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }
    void answered(ServiceKind service, Transport transport, uint64_t ns, uint64_t n = 1) noexcept {
        latency_[static_cast<size_t>(service)][static_cast<size_t>(transport)].add(ns, n);
    }
    /// How many stream buffers are not free for anybody to take.
    void set_buffers_used(uint32_t buffers) noexcept {
        if (buffers_used_.load(std::memory_order_relaxed) != buffers)
            buffers_used_.store(buffers, std::memory_order_relaxed);
    }

    uint64_t get(ServiceKind service, Counter count) const noexcept {
        return values_[static_cast<size_t>(service)][static_cast<size_t>(count)].load(
            std::memory_order_relaxed);
    }
    uint64_t get(Counter count) const noexcept; ///< of all services
    const Latency& latency(ServiceKind service, Transport transport) const noexcept {
        return latency_[static_cast<size_t>(service)][static_cast<size_t>(transport)];
    }
    uint32_t buffers_used() const noexcept { return buffers_used_.load(std::memory_order_relaxed); }

private:
    CountTable<std::atomic<uint64_t>> values_{};
    std::array<std::array<Latency, transports>, service_kinds> latency_{};
    std::atomic<uint32_t> buffers_used_{0};
};

/// What one worker did on one listener; one thread writes, any reads.
struct alignas(64) ListenerCounts {
    std::atomic<uint64_t> accepted{0};
    std::atomic<uint64_t> opened{0};   ///< accepted, or adopted
    std::atomic<uint64_t> closed{0};   ///< of those
    std::atomic<uint64_t> refused{0};  ///< connections not let in, datagrams not answered
    std::atomic<uint64_t> received{0}; ///< datagrams
    std::atomic<uint64_t> answered{0}; ///< datagrams
    std::atomic<uint64_t> received_bytes{0};
    std::atomic<uint64_t> sent_bytes{0};

    /// By the worker's thread only.
    static void add(std::atomic<uint64_t>& value, uint64_t n = 1) noexcept {
        value.store(value.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }
};

/// The sum over workers.
class Totals {
public:
    void add(const Counters& metrics) noexcept;

    uint64_t operator[](Counter count) const noexcept; ///< of all services
    uint64_t of(ServiceKind service, Counter count) const noexcept {
        return values_[static_cast<size_t>(service)][static_cast<size_t>(count)];
    }
    const LatencyTotals& latency(ServiceKind service, Transport transport) const noexcept {
        return latency_[static_cast<size_t>(service)][static_cast<size_t>(transport)];
    }
    uint64_t buffers_used() const noexcept { return buffers_used_; }

    uint64_t connections_open() const noexcept;
    uint64_t connections_open(ServiceKind service) const noexcept;
    /// Accepting paused, for whatever reason.
    uint64_t accept_errors() const noexcept;
    /// Over a limit, whichever it was.
    uint64_t connections_over_limits() const noexcept;
    /// Datagrams that their service was not asked about, for whatever reason.
    uint64_t datagrams_refused() const noexcept;

    /// One line for people: "connections 2 open, 17 accepted; ...; 1 refused". What is not
    /// everyday is named only if it happened.
    std::string describe() const;

private:
    CountTable<uint64_t> values_{};
    std::array<std::array<LatencyTotals, transports>, service_kinds> latency_{};
    uint64_t buffers_used_ = 0;
};

} // namespace riposte
