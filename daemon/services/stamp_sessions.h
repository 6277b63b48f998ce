// The sessions of a STAMP reflector: what it must remember of each sender to count losses by
// direction, and to answer no authenticated question twice.
//
// A session is an SSID and the addresses and ports of both ends (RFC 8972, section 3). Its numbers
// begin at zero, with the first question.
//
// The table has a fixed size, `ways` places in each set. A keyed hash with a secret key selects the
// set, and is all that is stored of the session's identity, so an attacker can neither choose which
// sessions compete nor find two that are taken for one. A session without a place gets no answer:
// an answer that counts from zero each time would invent losses.
//
// Sources can be forged, and a forged source looks like an honest one that asks as often. So a
// place has its price, and it is paid in questions:
//
//   - A session is confirmed by a question that comes `confirm_ms` or more after its first one.
//     Until then it has to give its place to another one: in `quick_ways` of a set when it was idle
//     for `quick_newcomer_ms`, so that places become free again and again; in the others after
//     `newcomer_ms`, for senders that are slow.
//   - A confirmed one keeps its place until it was idle for `idle_ms`; in the quick ways for
//     `newcomer_ms` alone. So every session that asks at least that often keeps its place, whatever
//     others send, and half of the table is never taken by sources that ask twice and no more: to
//     keep new sessions out of it, each place needs a forged question in `newcomer_ms`.
//
// A place is taken only if there is no free one: a session that is still in its place continues
// there up to `idle_ms`, confirmed or not.
//
// Reads no clock. Allocates only when constructed.
#pragma once

#include "common/address.h"
#include "common/siphash.h"
#include "daemon/services/stamp_session_count.h"

#include <cstdint>
#include <memory>
#include <span>

namespace riposte {

struct StampSession {
    uint64_t tag = 0;           ///< the hash of its identity; 0: the place is free
    uint32_t seen_ms = 0;       ///< the low 32 bits of the clock: only differences matter
    uint32_t began_ms = 0;      ///< as seen_ms, of its first question
    bool confirmed = false;     ///< it was seen `confirm_ms` or more after its first question
    bool has_questions = false; ///< authenticated ones; see is_new()
    bool adopted = false; ///< and not seen since; the tables of other workers may have it, too

    uint32_t received = 0;
    uint32_t sent = 0;          ///< answers; also the sequence number of the next one
    uint32_t last_sequence = 0; ///< of the last answer
    uint64_t last_sent = 0;     ///< when it was transmitted, in NTP format; 0: not known (yet)

    // Of authenticated questions.
    uint32_t newest_sequence = 0;
    uint64_t newest_ns = 0;   ///< the sender's time in the newest one
    uint64_t began_ns = 0;    ///< the sender's time in the first one of this run of its numbers
    uint64_t seen_window = 0; ///< bit i: newest_sequence - i was seen

    /// Has the session not had this question yet? If so, it is noted. The sender's clock must go
    /// forward: a question is new if its time is later than that of all before it (its number may
    /// have begun again), or if it is one of the last 64 numbers, missing so far, and not from
    /// before the numbers began. `sender_ns` is nanoseconds since 1970.
    bool is_new(uint32_t sequence, uint64_t sender_ns) noexcept;
};

/// What makes a session.
struct StampSessionId {
    SocketAddress peer;
    SocketAddress local;
    uint16_t ssid = 0;
};

class StampSessions {
public:
    static constexpr uint32_t ways = 8;
    static constexpr uint32_t quick_ways = 4; ///< of these; the last ones of a set
    static constexpr uint32_t confirm_ms = 1'000;
    static constexpr uint32_t quick_newcomer_ms = 1'500; ///< longer than a second between questions
    static constexpr uint32_t newcomer_ms = 15'000;      ///< longer than ten seconds between them
    static constexpr uint32_t idle_ms = 900'000;         ///< REFWAIT of RFC 5357, section 3.1

    /// `sessions` is rounded up to a power of two, at least one set. `in_use` counts the sessions
    /// of several tables together.
    StampSessions(
        uint32_t sessions, const HashSecret& secret,
        std::shared_ptr<StampSessionCount> in_use = std::make_shared<StampSessionCount>());

    static uint64_t memory_bytes(uint32_t sessions) noexcept;

    /// The session, new or not; null: there is no place for it.
    StampSession* find(const StampSessionId& id, uint64_t now_ms) noexcept;

    /// The answer `sequence` of a session was transmitted at `time` (NTP format). Of interest only
    /// while it is the last one.
    void transmitted(uint64_t tag, uint32_t sequence, uint64_t time) noexcept;

    /// The session with this tag, whenever it was seen; null: it has no place.
    const StampSession* find_tag(uint64_t tag) const noexcept;

    /// Takes a session of another table with the same secret, and does not count it. False: there
    /// is no free place.
    bool adopt(const StampSession& session) noexcept;

    /// Every place of the table, for those who count and save them.
    std::span<StampSession> places() noexcept { return {sessions_.get(), count_}; }
    std::span<const StampSession> places() const noexcept { return {sessions_.get(), count_}; }

private:
    std::span<StampSession, ways> set_of(uint64_t tag) const noexcept;

    std::unique_ptr<StampSession[]> sessions_;
    std::shared_ptr<StampSessionCount> in_use_;
    uint32_t count_;
    HashSecret secret_;
};

} // namespace riposte
