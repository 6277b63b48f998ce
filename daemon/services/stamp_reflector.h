// The reflector of STAMP (RFC 8762, RFC 8972): turns a question into its answer, in place.
//
// It is stricter than the RFC in what it replies to, because on the open internet everything that
// replies is a weapon:
//
//   - The answer of a reflector gets no reply (stamp::is_answer()), so two reflectors never talk.
//   - An answer is never longer than its question, except for TWAMP senders whose packets end
//     before an answer would, and only if `may_grow` says that their address cannot be forged.
//   - An authenticated question is answered once. Its time must be near ours if the sender says
//     that its clock is synchronized.
//
// It does no I/O and allocates nothing. Two clocks: CLOCK_REALTIME for timestamps, which the caller
// reads for it as late as it can, and milliseconds of CLOCK_MONOTONIC for the sessions.
#pragma once

#include "common/stamp/hmac.h"
#include "common/stamp/timestamp.h"
#include "daemon/services/stamp_sessions.h"
#include "daemon/services/stamp_tlvs.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace riposte {

/// A key, and for which SSID it is; without one, for those that have no key of their own.
struct StampKey {
    std::optional<uint16_t> ssid;
    stamp::Key key;
};

struct StampPolicy {
    bool stateful = true;             ///< own sequence numbers; else the sender's are copied
    bool authenticated_only = false;  ///< questions without a valid HMAC get no answer
    std::vector<StampKey> keys = {};  ///< empty: no authentication
    std::optional<uint8_t> dscp = {}; ///< of answers; absent: that of the question
    StampClock clock = StampClock::unknown;
    StampTlvPolicy tlvs = {};
};

/// What became of a question.
enum class StampOutcome : uint8_t {
    answered,
    too_short,       ///< shorter than its answer
    reflected,       ///< it is an answer
    no_multiplier,   ///< the error estimate has the multiplier 0 (RFC 4656, section 4.1.2)
    unauthenticated, ///< no valid HMAC, and authenticated_only
    /// It waited for more than a minute, or the clock was set meanwhile; or it is authenticated,
    /// and its time is far from ours, or it was seen before.
    stale,
    no_session, ///< the table is full
    not_wanted  ///< the sender asks for no reply (RFC 9503)
};

struct StampReply {
    StampOutcome outcome = StampOutcome::too_short;
    uint32_t size = 0; ///< of the answer
    uint8_t dscp = 0;  ///< with which it is to be sent
    /// StampSession::tag, if the sender wants to know when the answer was transmitted: then the
    /// caller gives that to StampSessions::transmitted(). Else 0.
    uint64_t session = 0;
    uint32_t sequence = 0;
    uint64_t sent_ns = 0; ///< the time that the answer states
};

class StampReflector {
public:
    /// How far the time of an authenticated question may be from that of its arrival, besides the
    /// errors that both ends state.
    static constexpr uint64_t freshness_ns = 30'000'000'000;

    explicit StampReflector(StampPolicy policy) : policy_(std::move(policy)) {}

    struct Request {
        /// The question at the front, and the room for the answer: as many bytes as the question
        /// has, unless `may_grow`.
        std::span<std::byte> buffer;
        size_t size = 0; ///< of the question
        const DatagramArrival& arrival;
        uint64_t now_ms = 0;
    };

    /// Leaves the answer at the front of the buffer. `sessions` is used only if the policy is
    /// stateful.
    StampReply reflect(
        const Request& request, StampSessions& sessions, const WallClock& clock) const noexcept;

private:
    struct Checked; ///< a question that may be answered

    std::optional<StampOutcome> check(
        const Request& request, Checked& checked, const WallClock& clock) const noexcept;
    const stamp::Key* find_key(uint16_t ssid) const noexcept;
    StampReply answer(
        const Request& request, const Checked& checked, StampSession* session,
        const WallClock& clock) const noexcept;
    StampReply answer_short(
        const Request& request, const Checked& checked, StampSession* session,
        const WallClock& clock) const noexcept;

    StampPolicy policy_;
};

} // namespace riposte
