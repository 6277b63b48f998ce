// The faults of a simulated run, and how often each was injected: a fault that never happens tests
// nothing, so each is counted where it is injected, and the counts are printed and tested.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace riposte::sim {

enum class Fault : uint8_t {
    // The backend.
    late_event,
    reordered_event,
    short_receive,
    short_send,
    early_end,
    interrupted,
    spurious_no_buffers,
    no_stream_buffer,   ///< the pool was really empty
    no_datagram_buffer, ///< likewise
    lost_connection,    ///< reset before it was accepted
    no_descriptor,      ///< the process has as many as it may: EMFILE
    accept_error,       ///< by chance: EMFILE, ENFILE, ENOBUFS, ENOMEM
    receive_error,      ///< of a stream: ENOMEM and others that end it
    send_error,         ///< likewise
    datagram_error,     ///< of receiving: ENOMEM
    answer_failed,
    no_transmit_time, ///< of a timed answer
    // Peers and the network between.
    peer_reset,
    forged_datagram,
    cut_datagram,
    datagram_twice,
    datagram_lost,
    datagram_overtakes,
    datagram_queue_full,
    stamp_flood,      ///< questions from forged sources
    answer_sent_back, ///< an answer of STAMP that comes as a question
    stalled_peer,
    // The process.
    few_descriptors, ///< for a while
    little_memory,   ///< for a while: accept, and receiving datagrams, fail
    no_plan_memory,  ///< one of the allocations of a plan failed
    reload,
    changed_acl,
    drain,
    abort,
    restart,
    // The clocks.
    pause, ///< the process does not run for a while, of seconds or hours
    wall_clock_forward,
    wall_clock_back,
};

inline constexpr std::array fault_names = std::to_array<std::string_view>({
    "late events",
    "reordered events",
    "short receives",
    "short sends",
    "streams ended early",
    "interrupted calls",
    "spurious ENOBUFS",
    "no stream buffer left",
    "no datagram buffer left",
    "connections lost before accept",
    "no descriptor left",
    "errors of accept",
    "errors of receive",
    "errors of send",
    "errors of receive_from",
    "replies that failed",
    "times of transmission that never came",
    "resets by peers",
    "forged datagrams",
    "datagrams cut by the kernel",
    "datagrams that came twice",
    "datagrams lost",
    "datagrams that overtook others",
    "datagrams lost in a full queue",
    "forged questions of STAMP",
    "answers of STAMP that were sent back",
    "peers that stalled",
    "times of few descriptors",
    "times of little memory",
    "plans for which there was no memory",
    "reloads",
    "changes of access lists",
    "drains",
    "aborts",
    "restarts",
    "pauses of the process",
    "jumps forward of the wall clock",
    "jumps back of the wall clock",
});
inline constexpr size_t fault_kinds = fault_names.size();
static_assert(static_cast<size_t>(Fault::wall_clock_back) + 1 == fault_kinds);

class FaultCounts {
public:
    void add(Fault fault, uint64_t n = 1) { counts_[static_cast<size_t>(fault)] += n; }
    uint64_t operator[](Fault fault) const { return counts_[static_cast<size_t>(fault)]; }

    void add(const FaultCounts& other) {
        for (size_t kind = 0; kind < fault_kinds; ++kind)
            counts_[kind] += other.counts_[kind];
    }

    uint64_t sum() const {
        uint64_t sum = 0;
        for (const uint64_t count : counts_)
            sum += count;
        return sum;
    }

private:
    std::array<uint64_t, fault_kinds> counts_{};
};

} // namespace riposte::sim
