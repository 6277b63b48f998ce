#include "client/stamp/stamp_packet.h"

#include "common/stamp/tlv.h"

#include <algorithm>
#include <cassert>

namespace riposte::client {

namespace {

constexpr size_t class_bytes = 4; ///< of its value
constexpr size_t class_tlv_bytes = stamp::tlv_header_bytes + class_bytes;
constexpr size_t hmac_tlv_bytes = stamp::tlv_header_bytes + stamp::hmac_bytes;
constexpr size_t sequence_bytes = 4;
constexpr unsigned dscp1_shift = 26;   ///< of the Class of Service TLV's value
constexpr unsigned arrival_shift = 18; ///< DSCP2 and ECN together
constexpr unsigned refused_shift = 16;
constexpr uint8_t refused_mask = 3;
constexpr uint64_t ten_years_ns = uint64_t{10} * 365 * 24 * 3600 * 1'000'000'000;
/// An answer of TWAMP that lacks the TTL still says which question it answers.
constexpr size_t sender_end = stamp::open_layout.sender_time + sizeof(uint64_t);

/// Writes the header of a TLV, as senders do, and returns its value.
std::span<std::byte> write_tlv(
    std::span<std::byte> place, stamp::TlvType type, size_t value_bytes) {
    stamp::write_8(place, 0, stamp::tlv_unrecognized);
    stamp::write_8(place, 1, static_cast<uint8_t>(type));
    stamp::write_16(place, 2, static_cast<uint16_t>(value_bytes));
    return place.subspan(stamp::tlv_header_bytes, value_bytes);
}

bool has_tlv_hmac(const QuestionShape& shape) {
    return shape.key != nullptr && shape.dscp.has_value();
}

void write_tlvs(std::span<std::byte> packet, const QuestionShape& shape) {
    const size_t base = stamp::layout_of(shape.mode()).bytes;
    size_t end = base;
    if (shape.dscp) {
        const auto value =
            write_tlv(packet.subspan(end), stamp::TlvType::class_of_service, class_bytes);
        stamp::write_32(value, 0, uint32_t{*shape.dscp} << dscp1_shift);
        end += class_tlv_bytes;
    }
    if (has_tlv_hmac(shape)) {
        const stamp::Hmac hmac =
            shape.key->sign(packet.first(sequence_bytes), packet.subspan(base, end - base));
        std::ranges::copy(
            hmac, write_tlv(packet.subspan(end), stamp::TlvType::hmac, stamp::hmac_bytes).begin());
        end += hmac_tlv_bytes;
    }
    if (end == packet.size())
        return;
    const auto padding = write_tlv(
        packet.subspan(end), stamp::TlvType::extra_padding,
        packet.size() - end - stamp::tlv_header_bytes);
    std::ranges::fill(padding, std::byte{0});
}

bool is_echo(std::span<const std::byte> packet, const QuestionShape& shape) {
    const stamp::Layout& at = stamp::layout_of(shape.mode());
    if (packet.size() < at.bytes)
        return false;
    return stamp::read_64(packet, at.receive_time) == 0 &&
           stamp::read_64(packet, at.sender_time) == 0 &&
           stamp::read_16(packet, at.ssid) == shape.ssid;
}

/// The HMAC covers what stands before it; without a valid one, nothing of the TLVs counts.
bool is_valid_hmac(
    std::span<const std::byte> packet, const stamp::Tlv& tlv, const QuestionShape& shape) {
    const size_t base = stamp::layout_of(shape.mode()).bytes;
    const auto before = static_cast<size_t>(tlv.bytes.data() - packet.data());
    return tlv.value().size() == stamp::hmac_bytes &&
           shape.key->verify(
               tlv.value(), packet.first(sequence_bytes), packet.subspan(base, before - base));
}

ClassReply read_class(std::span<const std::byte> value) {
    const uint32_t bits = stamp::read_32(value, 0);
    return {
        .traffic_class = static_cast<uint8_t>(bits >> arrival_shift & 0xff),
        .refused = (bits >> refused_shift & refused_mask) != 0};
}

void read_tlvs(std::span<const std::byte> packet, const QuestionShape& shape, Reply& reply) {
    const size_t base = stamp::layout_of(shape.mode()).bytes;
    if (packet.size() <= base || !shape.dscp)
        return;
    stamp::TlvReader reader(packet.subspan(base));
    bool is_signed = !has_tlv_hmac(shape);
    std::optional<ClassReply> arrival;
    bool ignored = true;
    while (const auto tlv = reader.next()) {
        if ((tlv->flags() & stamp::tlv_malformed) != 0)
            break;
        if ((tlv->flags() & stamp::tlv_integrity_failed) != 0) {
            reply.tlvs_failed = true;
            return;
        }
        if (tlv->type() == stamp::TlvType::hmac && has_tlv_hmac(shape))
            is_signed = is_valid_hmac(packet, *tlv, shape);
        if ((tlv->flags() & stamp::tlv_unrecognized) != 0 ||
            tlv->type() != stamp::TlvType::class_of_service || tlv->value().size() != class_bytes)
            continue;
        ignored = false;
        arrival = read_class(tlv->value());
    }
    reply.tlvs_ignored = ignored;
    reply.tlvs_failed = !ignored && !is_signed;
    if (!reply.tlvs_failed)
        reply.arrival = arrival;
}

ReplyFault find_fault(
    std::span<const std::byte> packet, const stamp::Answer& answer, const QuestionShape& shape) {
    if (shape.key != nullptr &&
        !shape.key->verify(
            packet.subspan(stamp::authenticated_layout.hmac, stamp::hmac_bytes),
            packet.first(stamp::authenticated_layout.hmac)))
        return ReplyFault::unauthenticated;
    const uint16_t ssid = answer.question.ssid;
    if (ssid != 0 && ssid != shape.ssid)
        return ReplyFault::other_session;
    return stamp::ErrorEstimate::unpack(answer.error_estimate).multiplier == 0
               ? ReplyFault::no_multiplier
               : ReplyFault::none;
}

uint64_t distance(uint64_t from, uint64_t to) {
    return from > to ? from - to : to - from;
}

} // namespace

size_t base_bytes(const QuestionShape& shape) {
    return stamp::layout_of(shape.mode()).bytes + (shape.dscp ? class_tlv_bytes : 0) +
           (has_tlv_hmac(shape) ? hmac_tlv_bytes : 0);
}

void write_question(
    std::span<std::byte> packet, const QuestionShape& shape, stamp::Question question) {
    assert(packet.size() == shape.bytes);
    assert(
        packet.size() == base_bytes(shape) ||
        packet.size() >= base_bytes(shape) + padding_bytes_min);
    question.ssid = shape.ssid;
    stamp::write_question(packet, shape.mode(), question);
    write_tlvs(packet, shape);
    if (shape.key != nullptr)
        std::ranges::copy(
            shape.key->sign(packet.first(stamp::authenticated_layout.hmac)),
            packet.subspan(stamp::authenticated_layout.hmac).begin());
}

std::optional<Reply> read_reply(std::span<const std::byte> packet, const QuestionShape& shape) {
    const stamp::Mode mode = shape.mode();
    const stamp::Layout& at = stamp::layout_of(mode);
    Reply reply;
    if (is_echo(packet, shape)) {
        reply.fault = ReplyFault::echo;
        reply.question = stamp::read_32(packet, at.sequence);
        reply.question_time = stamp::read_64(packet, at.time);
        return reply;
    }
    const size_t bytes_min = mode == stamp::Mode::open ? stamp::twamp_answer_bytes : at.bytes;
    if (packet.size() < bytes_min) {
        // Also the open answer to an authenticated question.
        if (packet.size() < sender_end)
            return std::nullopt;
        reply.fault =
            mode == stamp::Mode::open ? ReplyFault::too_short : ReplyFault::unauthenticated;
        reply.question = stamp::read_32(packet, stamp::open_layout.sender_sequence);
        reply.question_time = stamp::read_64(packet, stamp::open_layout.sender_time);
        return reply;
    }
    const stamp::Answer answer = stamp::read_answer(packet, mode);
    reply.question = answer.question.sequence;
    reply.question_time = answer.question.time;
    reply.fault = find_fault(packet, answer, shape);
    if (reply.fault != ReplyFault::none)
        return reply;
    reply.answer = answer;
    reply.returns_ssid = answer.question.ssid == shape.ssid;
    reply.is_short = packet.size() < at.bytes;
    read_tlvs(packet, shape, reply);
    return reply;
}

FarTimes far_times(const stamp::Answer& answer, uint64_t near_ns) {
    const stamp::TimeFormat said = stamp::ErrorEstimate::unpack(answer.error_estimate).format;
    const stamp::TimeFormat other =
        said == stamp::TimeFormat::ntp ? stamp::TimeFormat::ptp : stamp::TimeFormat::ntp;
    const auto read = [&](uint64_t bits, stamp::TimeFormat format) {
        return stamp::from_timestamp(bits, format, near_ns);
    };
    const bool denies = distance(read(answer.time, said), near_ns) > ten_years_ns &&
                        distance(read(answer.time, other), near_ns) < ten_years_ns;
    const stamp::TimeFormat format = denies ? other : said;
    return {
        .received_ns = read(answer.receive_time, format),
        .transmitted_ns = read(answer.time, format),
        .denies_format = denies};
}

} // namespace riposte::client
