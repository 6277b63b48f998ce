// Counters of one worker, by service: one thread writes, any thread reads. A reader that adds up
// several workers reads them at slightly different times; each counter is correct by itself.
//
// Counters belong to the service and not to a listener, because a reload can change what a listener
// serves while its connections keep the service that they were accepted for: a connection must
// subtract from the row to which it added. ListenerCounts has the few figures of one listener.
//
// Each worker's counters lie in cache lines of their own (a worker is an allocation of its own,
// with more than a line on either side of them). Adding is a load and a store: a reader costs the
// worker no more than the transfer of that line.
//
// One table, counter_rows(), has the name of each counter in the metrics, in JSON, in the journal
// and in the statistics line; those four are loops over it.
#pragma once

#include "common/endpoint.h"
#include "daemon/services/service.h"
#include "daemon/telemetry/latency.h"

#include <array>
#include <atomic>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace riposte {

enum class Counter : uint8_t {
    connections_accepted,
    connections_closed,        ///< accepted + adopted - closed - handed over are open now
    connections_adopted,       ///< from the previous process; open, like an accepted one
    connections_handed_over,   ///< kept for the next process; gone, like a closed one
    connections_denied,        ///< by 'allow' and 'deny'
    connections_refused,       ///< over 'connections'
    connections_over_source,   ///< over 'connections_per_source'
    connections_over_listener, ///< over the 'connections' of a [[listen]]
    connections_evicted,       ///< idle when 'connections' was reached and a new peer connected
    connections_reset,         ///< ended by the peer's RST or another error
    first_byte_timeouts,
    idle_timeouts,
    write_stall_timeouts,
    stalls_relieved, ///< reset: read nothing while others needed the buffers
    read_rates_low,  ///< sent less than rate_min
    write_rates_low, ///< read less than write_rate_min
    linger_timeouts,
    accept_emfile, ///< accepting paused because the process has no descriptors left
    accept_enfile, ///< ... because the system has none left
    accept_enobufs,
    accept_enomem,
    accept_other,
    stream_received_bytes,
    stream_sent_bytes,
    datagram_received_bytes,
    datagram_sent_bytes,
    datagrams_received,
    datagrams_sent,
    datagrams_unanswered, ///< the service does not answer (discard)
    datagrams_longer,     ///< answers longer than their request; part of those sent or failed
    datagrams_denied,     ///< by 'allow' and 'deny'
    datagrams_source_port,
    datagrams_own_port,
    datagrams_source_address,
    datagrams_to_group,
    datagrams_malformed,
    datagrams_reflected,     ///< the answer of another reflector
    datagrams_no_multiplier, ///< a question whose error estimate is invalid
    datagrams_no_session,    ///< a question whose session found no place in the table
    datagrams_unauthenticated,
    datagrams_stale, ///< an authenticated question that is old, or was seen before
    datagrams_over_prefix_rate,
    datagrams_crowded, ///< over the rate shared by prefixes that found no place in the table
    datagrams_over_newcomer_rate,
    datagrams_over_rate,
    datagrams_too_long,    ///< the answer would have been longer than the request
    datagrams_send_failed, ///< EAGAIN, unreachable: dropped
    end,                   ///< not a counter; new ones go before it, and into the table
};
inline constexpr auto counter_count = static_cast<size_t>(Counter::end);

/// The families of counters that Prometheus sees, in the order in which they are written.
enum class CounterFamily : uint8_t {
    connections_accepted,
    connections_adopted,
    connections_handed_over,
    connections_closed,
    connections_reset,
    accept_errors,
    receive_bytes,
    transmit_bytes,
    datagrams_received,
    datagrams,
    longer_answers,
    dropped,
    end, ///< not a family
};

struct CounterFamilyRow {
    CounterFamily family;
    std::string_view name; ///< without "_total"
    std::string_view help;
    bool by_service;        ///< one sample a service; else one of all services together
    bool by_transport;      ///< label "transport"
    std::string_view label; ///< further label, whose value is the counter's token; "" if none
};
std::span<const CounterFamilyRow> family_rows();

/// Whether a counter counts what was dropped, and how far that had come.
enum class DropStage : uint8_t {
    none,       ///< not dropped
    refused,    ///< before the service was asked
    over_limit, ///< likewise, by a limit on connections
    later,      ///< a connection that the daemon ended, a reply that was not sent
};

/// All texts about a counter. Its row is in counters.cpp only.
struct CounterRow {
    Counter counter;
    CounterFamily family;
    Transport transport;
    std::string_view token; ///< one word, in labels, JSON and the journal: "prefix_rate"
    std::string_view text;  ///< "datagrams from reserved ports"; "": not an exception
    DropStage drop = DropStage::none;
    int accept_error = 0; ///< the errno for which accepting paused
};
/// In the order of Counter, each once.
std::span<const CounterRow> counter_rows();
const CounterRow& row_of(Counter counter);

/// The counter of this errno of accept(); accept_other if it has none of its own.
Counter accept_error(int error);

/// One row of counters for each service.
template<class Value>
using CountTable = std::array<std::array<Value, counter_count>, service_kinds>;

class Counters {
public:
    /// By the worker's thread only.
    void add(ServiceKind service, Counter counter, uint64_t n = 1) noexcept {
        assert(counter < Counter::end);
        auto& value = values_[static_cast<size_t>(service)][static_cast<size_t>(counter)];
        value.store(value.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }
    void answered(ServiceKind service, Transport transport, uint64_t ns, uint64_t n = 1) noexcept {
        latency_[static_cast<size_t>(service)][static_cast<size_t>(transport)].add(ns, n);
    }
    /// How many stream buffers are in use.
    void set_buffers_used(uint32_t buffers) noexcept {
        if (buffers_used_.load(std::memory_order_relaxed) != buffers)
            buffers_used_.store(buffers, std::memory_order_relaxed);
    }

    uint64_t get(ServiceKind service, Counter counter) const noexcept {
        assert(counter < Counter::end);
        return values_[static_cast<size_t>(service)][static_cast<size_t>(counter)].load(
            std::memory_order_relaxed);
    }
    uint64_t get(Counter counter) const noexcept; ///< of all services
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

    uint64_t operator[](Counter counter) const noexcept; ///< of all services
    uint64_t of(ServiceKind service, Counter counter) const noexcept {
        assert(counter < Counter::end);
        return values_[static_cast<size_t>(service)][static_cast<size_t>(counter)];
    }
    const LatencyTotals& latency(ServiceKind service, Transport transport) const noexcept {
        return latency_[static_cast<size_t>(service)][static_cast<size_t>(transport)];
    }
    uint64_t buffers_used() const noexcept { return buffers_used_; }

    uint64_t connections_open() const noexcept;
    uint64_t connections_open(ServiceKind service) const noexcept;
    /// How often accepting paused, for all reasons.
    uint64_t accept_errors() const noexcept;
    /// Connections refused by any limit.
    uint64_t connections_over_limits() const noexcept;
    /// Datagrams dropped before their service saw them, for all reasons.
    uint64_t datagrams_refused() const noexcept;

    /// One readable line: "connections 2 open, 17 accepted; ...; 1 refused". Exceptions are named
    /// only if they happened.
    std::string describe() const;

private:
    /// The sum of the counters whose row `chosen` accepts, of all services.
    uint64_t sum(auto&& chosen) const noexcept;

    CountTable<uint64_t> values_{};
    std::array<std::array<LatencyTotals, transports>, service_kinds> latency_{};
    uint64_t buffers_used_ = 0;
};

} // namespace riposte
