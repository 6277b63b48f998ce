// The account of a STAMP session. Sans-I/O: it makes the questions, finds the one that an answer is
// to, and keeps what answers show (stamp_result.h). What became of each probe, and the round trips,
// are the business of the account that every ping has (ping_account.h).
//
// Question n has the number n on the wire, from 1 (direction_books.h says why). An answer is to a
// question if it repeats its number and its time: a forger would have to guess 64 bits. Behind the
// last probe closing questions may follow, which are in no figure.
#pragma once

#include "client/stamp/stamp_packet.h"
#include "client/stamp/stamp_result.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace riposte::client {

/// Both clocks of this machine, read together.
struct OwnTime {
    uint64_t monotonic_ns = 0;
    uint64_t realtime_ns = 0;
};

class StampAccount {
public:
    struct Asked {
        uint64_t sequence = 0;
        uint64_t time = 0; ///< T1 as it was written
        OwnTime sent = {};
        std::optional<uint64_t> error_ns = {}; ///< of this machine's clock, if it is synchronized
    };
    /// An answer to a question that is remembered.
    struct Found {
        Asked asked;
        Reply reply;
        FarTimes far; ///< without a fault
        bool is_closing = false;
    };

    /// As many questions are remembered as `window` says, a power of two.
    StampAccount(const QuestionShape& shape, size_t window);

    /// Another probe, or closing question, leaves.
    uint64_t ask();
    /// Its packet, with T1 and what is known of this machine's clock; valid until the next call.
    std::span<const std::byte> write(
        uint64_t sequence, OwnTime now, const stamp::ErrorEstimate& own_error);
    /// It has another outcome than an answer or a loss, or is answered by what cannot be trusted.
    void note_failed(uint64_t sequence) { result_->books.failed(sequence); }
    /// Those that follow are closing questions.
    void close();

    /// The answer that a datagram is; nothing if it is none to a question of ours.
    std::optional<Found> read(std::span<const std::byte> bytes) const;
    /// The question that an ICMP error quotes, if it can be identified.
    std::optional<uint64_t> quoted(std::span<const std::byte> bytes) const;

    /// An improper answer came.
    void note_fault(ReplyFault fault);
    /// Something else came. A reflector that authenticates nothing answers signed questions in a
    /// way that does not say which.
    void note_stray(std::span<const std::byte> bytes);
    /// A proper one came, be it the first or not.
    OrderMarks note_order(const Found& found);
    /// How much of the time from the sending to `received_ns` (CLOCK_MONOTONIC) the reflector
    /// took: 0 if its times are impossible.
    static uint64_t residence_ns(const Found& found, uint64_t received_ns);
    /// The first proper answer to a probe, in time.
    void note_first(const Found& found, uint64_t received_ns);

    bool is_closing(uint64_t sequence) const { return sequence > last_probe_; }
    std::shared_ptr<const StampResult> result() const { return result_; }
    void set_ttl(uint8_t ttl) { result_->ttl = ttl; }
    /// The ways shall be plotted over time.
    void keep_series(uint64_t start_ns) { result_->clocks.keep_series(start_ns); }

private:
    const Asked* find(uint32_t question) const;

    QuestionShape shape_;
    std::shared_ptr<StampResult> result_;
    std::vector<std::byte> packet_;
    std::vector<Asked> asked_; ///< by the low bits of their numbers
    uint64_t last_ = 0;
    uint64_t last_probe_ = UINT64_MAX; ///< once close() was called
};

} // namespace riposte::client
