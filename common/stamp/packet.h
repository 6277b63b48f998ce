// The base packets of STAMP (RFC 8762, sections 4.2 and 4.3; the SSID is RFC 8972, section 3),
// which both ends read and write in place.
//
// A sender's packet has its sequence number, its timestamp T1 with an error estimate, the SSID, and
// zeros. The reflector's answer has its own numbers in their place, and behind them T2, what the
// sender wrote, and the TTL (IPv6: the hop limit) with which the question arrived. An
// authenticated packet is the same with larger gaps, and ends in an HMAC. Behind either come TLVs
// (tlv.h). Everything is big-endian.
#pragma once

#include "common/stamp/bytes.h"

#include <cstddef>
#include <cstdint>
#include <span>

namespace riposte::stamp {

inline constexpr uint16_t default_port = 862;

enum class Mode : uint8_t { open, authenticated };

/// The offsets of the fields.
struct Layout {
    size_t bytes; ///< of the base packet
    size_t sequence;
    size_t time; ///< T1 in a question, T3 in an answer
    size_t error_estimate;
    size_t ssid;
    size_t receive_time; ///< T2; here and below: zeros in a question
    size_t sender_sequence;
    size_t sender_time; ///< T1
    size_t sender_error_estimate;
    size_t sender_zeros; ///< two bytes that are zero in an answer, too
    size_t sender_ttl;
    size_t hmac; ///< of everything before it; `bytes` if there is none
};

inline constexpr Layout open_layout{
    .bytes = 44,
    .sequence = 0,
    .time = 4,
    .error_estimate = 12,
    .ssid = 14,
    .receive_time = 16,
    .sender_sequence = 24,
    .sender_time = 28,
    .sender_error_estimate = 36,
    .sender_zeros = 38,
    .sender_ttl = 40,
    .hmac = 44};

inline constexpr Layout authenticated_layout{
    .bytes = 112,
    .sequence = 0,
    .time = 16,
    .error_estimate = 24,
    .ssid = 26,
    .receive_time = 32,
    .sender_sequence = 48,
    .sender_time = 64,
    .sender_error_estimate = 72,
    .sender_zeros = 74,
    .sender_ttl = 80,
    .hmac = 96};

constexpr const Layout& layout_of(Mode mode) {
    return mode == Mode::open ? open_layout : authenticated_layout;
}

/// TWAMP Light (RFC 5357, appendix I): what a sender's packet has at least, and what an answer has.
inline constexpr size_t twamp_question_bytes_min = 14;
inline constexpr size_t twamp_answer_bytes = 41;

/// What a sender writes, and what an answer repeats.
struct Question {
    uint32_t sequence = 0;
    uint64_t time = 0; ///< bits, in the format that the estimate names
    uint16_t error_estimate = 0;
    uint16_t ssid = 0; ///< 0: none

    bool operator==(const Question&) const = default;
};

/// What a reflector writes.
struct Answer {
    uint32_t sequence = 0;
    uint64_t time = 0;         ///< T3
    uint64_t receive_time = 0; ///< T2, in the same format
    uint16_t error_estimate = 0;
    uint8_t sender_ttl = 0; ///< of the question as it arrived
    Question question;

    bool operator==(const Answer&) const = default;
};

/// The packet has at least the bytes of these fields: for an open question
/// twamp_question_bytes_min; the SSID of one that ends before it is 0.
Question read_question(std::span<const std::byte> packet, Mode mode);
/// The packet has at least the bytes up to the TTL: twamp_answer_bytes if it is open.
Answer read_answer(std::span<const std::byte> packet, Mode mode);

/// The longest that a reflector may have a question: an answer with times that are farther apart
/// is not known as an answer (is_answer()).
inline constexpr uint64_t residence_seconds_max = 60;

/// Writes the base packet, with its zeros, in front of what the packet has behind it, except for
/// the HMAC (hmac.h). The packet has at least the bytes of the layout.
void write_question(std::span<std::byte> packet, Mode mode, const Question& question);
void write_answer(std::span<std::byte> packet, Mode mode, const Answer& answer);

/// Is it the answer of a reflector, ours or another's? Only an answer has two timestamps of one
/// clock, T3 and T2, less than a minute apart; a STAMP sender writes zeros in the place of T2, and
/// a TWAMP sender's random padding looks like it once in 2^40 packets. A reflector that replies to
/// no answer cannot be made to talk with another one without an end. (RFC 8762 wants the zeros
/// ignored on receipt, and has no defence against such loops.)
///
/// An open answer of TWAMP, from 38 bytes on, is recognized as well. The SSID in the place of
/// zeros behind the sender's error estimate is what some reflectors write.
bool is_answer(std::span<const std::byte> packet, Mode mode);

} // namespace riposte::stamp
