// The account of a load run. Sans-I/O: given the outcome of each request, it keeps the counts and
// the latencies of those that count (load_result.h).
//
// Latencies go into the histogram of the time since the last fold(), from which the live line takes
// its figures; fold() adds it to the result.
// In a closed loop the latency from the intended time is the one from sending, and is copied from
// it at the end.
#pragma once

#include "client/load/load_result.h"
#include "client/measure/intervals.h"

#include <algorithm>
#include <cstdint>

namespace riposte::client {

/// A request that leaves later than that after its time was late.
inline constexpr uint64_t late_ns = 1'000'000;

/// When a request was to be sent and when it was, on CLOCK_MONOTONIC. The same in a closed loop.
struct RequestTimes {
    uint64_t intended_ns = 0;
    uint64_t sent_ns = 0;
};

class LoadAccount {
public:
    LoadAccount(LoadResult& result, bool open_loop) : result_(result), open_loop_(open_loop) {}

    /// Requests count that are intended at this time or later; none before it is called.
    void measure_from(uint64_t ns) { measured_from_ns_ = ns; }
    /// From now on the outcomes of requests go there, too; it outlives this.
    void count_in(Intervals& intervals) { intervals_ = &intervals; }
    bool counts(const RequestTimes& times) const { return times.intended_ns >= measured_from_ns_; }

    /// `count` requests of `bytes` each leave.
    void sent(const RequestTimes& times, uint64_t count, uint64_t bytes) {
        if (!counts(times))
            return;
        result_.counts.sent += count;
        result_.counts.bytes_sent += count * bytes;
        if (intervals_ != nullptr)
            intervals_->due(0, times.intended_ns, count);
        if (result_.transport == Transport::udp)
            result_.windows.sent(times.sent_ns - std::min(times.sent_ns, measured_from_ns_), count);
    }

    /// Open loop: how late a request leaves, and for which reason (load_schedule.h).
    void left(const RequestTimes& times, uint64_t lateness_ns, uint64_t wait_ns);

    /// A closed loop over UDP: how long a lost request kept its place.
    void kept_by_lost(const RequestTimes& times, uint64_t kept_ns) {
        if (counts(times))
            result_.loss_time_ns += kept_ns;
    }

    /// The correct answers, of `bytes` each, to `count` requests of the same times came at
    /// `now_ns`.
    void answered(const RequestTimes& times, uint64_t now_ns, uint64_t bytes, uint64_t count = 1) {
        answers_ += count;
        const uint64_t round_trip_ns = since(times.sent_ns, now_ns);
        greatest_round_trip_ns_ = std::max(greatest_round_trip_ns_, round_trip_ns);
        if (!counts(times))
            return;
        result_.counts.answered += count;
        result_.counts.bytes_received += count * bytes;
        last_answer_ns_ = std::max(last_answer_ns_, now_ns);
        const uint64_t latency_ns = since(times.intended_ns, now_ns);
        recent_.record(latency_ns, count);
        if (intervals_ != nullptr) {
            intervals_->arrived(0, now_ns, count);
            intervals_->decide(0, times.intended_ns, Outcome::answered, latency_ns, count);
        }
        if (open_loop_)
            result_.latency_from_send.record(round_trip_ns, count);
        if (result_.transport == Transport::udp)
            result_.windows.answered(now_ns - std::min(now_ns, measured_from_ns_), count);
        if (result_.series)
            for (uint64_t i = 0; i < count; i++)
                result_.series->record(times.intended_ns, latency_ns);
    }

    /// Any other outcome; `bytes` of an answer that was not correct.
    void failed(const RequestTimes& times, Outcome outcome, uint64_t bytes = 0);
    /// The same, for a cause, which is noted unless it is silence: the lost without a cause are
    /// counted as such (CauseTally::with_lost).
    void failed(const RequestTimes& times, const Cause& cause, uint64_t bytes = 0);
    /// The latest errno behind Outcome::local, for a hint; 0: none.
    int local_error() const { return local_error_; }

    /// A connection was made in `ns`, for a request or, of those that are kept, for many.
    void connected(uint64_t ns) {
        result_.counts.connections++;
        result_.connect.record(ns);
    }

    /// Adds the kernel's figures of a connection (tcp_info.h).
    void note_handshake(int fd, uint64_t took_ns) { result_.tcp.note_connected(fd, took_ns); }
    void note_socket(int fd, bool was_connected) { result_.tcp.add_socket(fd, was_connected); }

    /// UDP, for requests that count: other datagrams.
    void note_reordered() { result_.counts.reordered++; }
    void note_late() { result_.counts.late++; }
    void note_duplicate() { result_.counts.duplicated++; }
    void note_stray() { result_.counts.stray++; }
    /// A socket could not remember more requests.
    void note_full() { result_.outstanding_full = true; }
    void note_dropped(uint64_t datagrams) { result_.dropped_here += datagrams; }
    void set_path(std::optional<uint32_t> mtu, bool fragmented) {
        result_.path_mtu = mtu;
        result_.fragmented = fragmented;
    }

    const LoadResult& result() const { return result_; }

    /// Measured requests that have no outcome yet.
    uint64_t pending() const { return result_.counts.undecided(); }
    uint64_t last_answer_ns() const { return last_answer_ns_; }
    /// From sending to answer, of all answers so far, those to the warm-up's requests too.
    uint64_t greatest_round_trip_ns() const { return greatest_round_trip_ns_; }

    /// The latencies since the last fold().
    const Histogram& recent() const { return recent_; }
    /// All answers so far, those to the warm-up's requests too.
    uint64_t answers() const { return answers_; }
    /// Adds them to the result.
    void fold();
    /// The run is over: pending requests are undecided.
    void finish();

private:
    void count_failure(
        const RequestTimes& times, Outcome outcome, const Cause* cause, uint64_t bytes);
    static uint64_t since(uint64_t start_ns, uint64_t now_ns) {
        return now_ns > start_ns ? now_ns - start_ns : 0;
    }

    LoadResult& result_;
    bool open_loop_;
    uint64_t measured_from_ns_ = UINT64_MAX;
    uint64_t answers_ = 0;
    uint64_t last_answer_ns_ = 0;
    uint64_t greatest_round_trip_ns_ = 0;
    int local_error_ = 0;
    Histogram recent_;
    Intervals* intervals_ = nullptr; ///< with --every
};

} // namespace riposte::client
