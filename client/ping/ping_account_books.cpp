// What a ping account (ping_account.h) remembers and writes down of the run and of each answer;
// which probe has which outcome is decided in ping_account.cpp.
#include "client/ping/ping_account.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace riposte::client {

namespace {

/// Probes are remembered for a minute, if that is no more than so many, so that the memory of an
/// endpoint is small where there are thousands.
constexpr uint64_t remembered_ns = 60'000'000'000;
constexpr size_t window_min = 64;
constexpr size_t window_usual = 1024;
constexpr size_t window_max = size_t{1} << 20;

uint64_t absolute_difference(uint64_t one, uint64_t other) {
    return one > other ? one - other : other - one;
}

} // namespace

size_t window_for(uint64_t interval_ns, uint64_t timeout_ns) {
    const uint64_t spacing_ns = std::max(interval_ns, uint64_t{1});
    const uint64_t intervals = timeout_ns / spacing_ns;
    if (intervals >= window_max / 2)
        return window_max;
    const size_t least =
        std::clamp(static_cast<size_t>(remembered_ns / spacing_ns), window_min, window_usual);
    // One at the beginning, and one at the end, of each interval.
    return std::bit_ceil(std::max(static_cast<size_t>(intervals + 1) * 2, least));
}

void PingAccount::begin(double started_at, uint64_t started_ns, std::unique_ptr<Series> series) {
    result_.started_at = started_at;
    result_.started_ns = started_ns;
    result_.series = std::move(series);
    if (!result_.series)
        return;
    result_.outages.keep_list();
    for (FlowResult& flow : result_.flows)
        flow.fates.emplace(started_ns);
}

void PingAccount::note_connected(uint64_t connect_ns) {
    result_.connect.record(connect_ns);
    result_.connections++;
}

void PingAccount::set_address(std::string address) {
    std::vector<std::string>& earlier = result_.earlier_addresses;
    if (earlier.size() == PingResult::earlier_addresses_max)
        earlier.erase(earlier.begin());
    if (!result_.address.empty())
        earlier.push_back(std::move(result_.address));
    result_.address = std::move(address);
}

void PingAccount::set_path(std::optional<uint32_t> mtu, bool fragmented) {
    result_.path_mtu = mtu;
    result_.fragmented = fragmented;
}

void PingAccount::set_flows(std::span<const uint16_t> ports) {
    for (const uint16_t port : ports)
        result_.flows.push_back({.port = port, .counts = {}, .rtt = {}, .fates = {}});
}

void PingAccount::set_segments(size_t flow, const FlowSegments& segments) {
    result_.flows[flow].segments = segments.sent;
    result_.flows[flow].retransmits = segments.retransmits;
    result_.flows[flow].out_of_order = segments.out_of_order;
}

ProbeOutcome PingAccount::judged(const JudgedAnswer& answer) {
    Probe* const probe = find(answer.sequence);
    assert(probe != nullptr);
    ProbeOutcome arrival = describe(*probe, answer.bytes, answer.received_ns);
    const uint64_t began_ns = answer.sent_ns + answer.apart_ns;
    arrival.rtt_ns = answer.received_ns - std::min(began_ns, answer.received_ns);
    ProbeOutcome settled = settle(*probe, answer.outcome, arrival);
    count_order(settled);
    return settled;
}

ProbeOutcome PingAccount::connected(uint64_t sequence, uint64_t made_ns) {
    Probe* const probe = find(sequence);
    assert(probe != nullptr);
    ProbeOutcome settled = settle(*probe, Outcome::answered, describe(*probe, 0, made_ns));
    count_order(settled);
    return settled;
}

/// RFC 4737, section 3.3, over the first answers.
void PingAccount::count_order(ProbeOutcome& arrival) {
    if (arrival.duplicate)
        return;
    arrival.reordered = arrival.sequence < highest_answered_;
    result_.counts.reordered += static_cast<uint64_t>(arrival.reordered);
    highest_answered_ = std::max(highest_answered_, arrival.sequence);
}

FlowResult* PingAccount::flow_of(const Probe& probe) {
    std::vector<FlowResult>& flows = result_.flows;
    return flows.empty() ? nullptr : &flows[(probe.sequence - 1) % flows.size()];
}

/// A run of unanswered probes, and one more for each second that it lasts. Those of a connection
/// that fell silent expire while later ones, on the next connection, are answered.
void PingAccount::count_run(FlowResult& flow, uint64_t due_ns, Outcome outcome) {
    constexpr uint64_t second_ns = 1'000'000'000;
    if (outcome == Outcome::local)
        return;
    if (!is_unanswered(outcome)) {
        flow.answered_ns = std::max(flow.answered_ns, due_ns);
        return;
    }
    const bool is_first = flow.failure_runs == 0;
    const bool was_answered = flow.failed_ns < flow.answered_ns && flow.answered_ns < due_ns;
    flow.failed_ns = due_ns;
    if (!is_first && !was_answered && due_ns < flow.run_ns + second_ns)
        return;
    flow.run_ns = due_ns;
    ++flow.failure_runs;
}

void PingAccount::record_rtt(Probe& probe, uint64_t rtt_ns) {
    // A service that speaks first may have answered before the probe left: no round trip.
    if (rtt_ns == 0)
        return;
    probe.rtt_ns = rtt_ns;
    result_.rtt.record(rtt_ns);
    if (FlowResult* const flow = flow_of(probe))
        flow->rtt.record(rtt_ns);
    result_.delay_variation.record(rtt_ns);
    update_wait();
    if (result_.series)
        result_.series->record(probe.sent_ns, rtt_ns);
    // Whichever of two neighbours is answered last finds the other one's round trip.
    for (const uint64_t neighbour : {probe.sequence - 1, probe.sequence + 1})
        if (const Probe* const other = find(neighbour); other != nullptr && other->rtt_ns > 0)
            result_.ipdv.record(absolute_difference(rtt_ns, other->rtt_ns));
    if (last_rtt_ns_) {
        const auto step = static_cast<double>(absolute_difference(rtt_ns, *last_rtt_ns_));
        result_.rfc3550_jitter_ns += (step - result_.rfc3550_jitter_ns) / 16;
    }
    last_rtt_ns_ = rtt_ns;
}

} // namespace riposte::client
