// The questions of a STAMP sender and what it reads of the answers (RFC 8762, RFC 8972), on top of
// common/stamp. Pure: bytes in, bytes out.
//
// A question is a base packet, behind it a Class of Service TLV if the class of answers is asked
// for, in authenticated mode then the TLVs' HMAC, and Extra Padding up to the wanted size.
#pragma once

#include "common/stamp/hmac.h"
#include "common/stamp/packet.h"
#include "common/stamp/timestamp.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

namespace riposte::client {

/// What all questions of a session have in common.
struct QuestionShape {
    std::shared_ptr<const stamp::Key> key = {}; ///< authenticated mode; null: open
    uint16_t ssid = 0;                          ///< 0: none
    std::optional<uint8_t> dscp = {};           ///< that answers shall have, by a TLV
    size_t bytes = 0; ///< of the payload: base_bytes(), or padding_bytes_min more and up

    stamp::Mode mode() const {
        return key == nullptr ? stamp::Mode::open : stamp::Mode::authenticated;
    }
};

/// The least that padding takes: the header of its TLV.
inline constexpr size_t padding_bytes_min = 4;

/// Of a question of this shape without padding.
size_t base_bytes(const QuestionShape& shape);

/// Fills the packet, which has shape.bytes. The shape's SSID takes the place of the question's.
void write_question(
    std::span<std::byte> packet, const QuestionShape& shape, stamp::Question question);

/// Why a datagram is no proper answer.
enum class ReplyFault : uint8_t {
    none,
    echo,            ///< it is the question again: there is no reflector
    too_short,       ///< for an answer
    unauthenticated, ///< authenticated mode: no valid HMAC
    other_session,   ///< it has another SSID
    no_multiplier,   ///< its error estimate has the multiplier 0 (RFC 4656, section 4.1.2)
};

/// With which traffic class the question arrived over there, from the Class of Service TLV.
struct ClassReply {
    uint8_t traffic_class = 0; ///< DSCP and ECN, as in the IP header
    bool refused = false;      ///< the answer does not have the DSCP that was asked for
};

struct Reply {
    ReplyFault fault = ReplyFault::none;
    /// Number and time of the question that it answers: what both ends of a session know.
    uint32_t question = 0;
    uint64_t question_time = 0;
    bool returns_ssid = false;
    bool is_short = false;     ///< of TWAMP Light: shorter than a base packet
    bool tlvs_ignored = false; ///< the reflector does not know the TLVs
    bool tlvs_failed = false;  ///< their HMAC is wrong, here or over there
    std::optional<ClassReply> arrival = {};
    stamp::Answer answer = {}; ///< without a fault
};

/// Nothing if the datagram does not say which question it answers.
std::optional<Reply> read_reply(std::span<const std::byte> packet, const QuestionShape& shape);

/// T2 and T3 in nanoseconds since 1970, by the other clock.
struct FarTimes {
    uint64_t received_ns = 0;
    uint64_t transmitted_ns = 0;
    /// They are in the other format than the error estimate says: some reflectors repeat the
    /// sender's format bit and write what they like.
    bool denies_format = false;
};

/// `near_ns`: our time, of which the other clock's is nearest.
FarTimes far_times(const stamp::Answer& answer, uint64_t near_ns);

} // namespace riposte::client
