#include "common/stamp/packet.h"

#include <algorithm>
#include <cassert>

namespace riposte::stamp {

namespace {

/// Whole seconds of two times differ by this at most, if their residence is permitted.
constexpr uint32_t apart_seconds_max = 63;
static_assert(apart_seconds_max > residence_seconds_max);
constexpr size_t ttl_bytes = 1;

/// Zeros, and the fields that a question and an answer have in the same places.
void write_common(std::span<std::byte> packet, const Layout& at, const Question& fields) {
    assert(packet.size() >= at.bytes);
    std::ranges::fill(packet.first(at.bytes), std::byte{0});
    write_32(packet, at.sequence, fields.sequence);
    write_64(packet, at.time, fields.time);
    write_16(packet, at.error_estimate, fields.error_estimate);
    write_16(packet, at.ssid, fields.ssid);
}

} // namespace

Question read_question(std::span<const std::byte> packet, Mode mode) {
    const Layout& at = layout_of(mode);
    assert(packet.size() >= at.ssid);
    return {
        .sequence = read_32(packet, at.sequence),
        .time = read_64(packet, at.time),
        .error_estimate = read_16(packet, at.error_estimate),
        .ssid = packet.size() >= at.ssid + 2 ? read_16(packet, at.ssid) : uint16_t{0}};
}

Answer read_answer(std::span<const std::byte> packet, Mode mode) {
    const Layout& at = layout_of(mode);
    assert(packet.size() >= at.sender_ttl + ttl_bytes);
    return {
        .sequence = read_32(packet, at.sequence),
        .time = read_64(packet, at.time),
        .receive_time = read_64(packet, at.receive_time),
        .error_estimate = read_16(packet, at.error_estimate),
        .sender_ttl = read_8(packet, at.sender_ttl),
        .question = {
            .sequence = read_32(packet, at.sender_sequence),
            .time = read_64(packet, at.sender_time),
            .error_estimate = read_16(packet, at.sender_error_estimate),
            .ssid = read_16(packet, at.ssid)}};
}

void write_question(std::span<std::byte> packet, Mode mode, const Question& question) {
    write_common(packet, layout_of(mode), question);
}

void write_answer(std::span<std::byte> packet, Mode mode, const Answer& answer) {
    const Layout& at = layout_of(mode);
    const Question own{
        .sequence = answer.sequence,
        .time = answer.time,
        .error_estimate = answer.error_estimate,
        .ssid = answer.question.ssid};
    write_common(packet, at, own);
    write_64(packet, at.receive_time, answer.receive_time);
    write_32(packet, at.sender_sequence, answer.question.sequence);
    write_64(packet, at.sender_time, answer.question.time);
    write_16(packet, at.sender_error_estimate, answer.question.error_estimate);
    write_8(packet, at.sender_ttl, answer.sender_ttl);
}

bool is_answer(std::span<const std::byte> packet, Mode mode) {
    const Layout& at = layout_of(mode);
    const size_t bytes_min = mode == Mode::open ? at.sender_zeros : at.bytes;
    if (packet.size() < bytes_min)
        return false;
    if (read_8(packet, at.sender_error_estimate + 1) == 0) // the multiplier is never 0
        return false;
    const auto zeros =
        packet.subspan(at.sender_zeros, std::min<size_t>(2, packet.size() - at.sender_zeros));
    const auto is_zero = [](std::byte byte) { return byte == std::byte{0}; };
    if (!std::ranges::all_of(zeros, is_zero) &&
        !std::ranges::equal(zeros, packet.subspan(at.ssid, zeros.size())))
        return false;
    if (mode == Mode::authenticated &&
        !std::ranges::all_of(packet.subspan(at.sender_zeros + 2, 4), is_zero))
        return false;
    const uint32_t apart = read_32(packet, at.time) - read_32(packet, at.receive_time);
    return apart <= apart_seconds_max || -apart <= apart_seconds_max;
}

} // namespace riposte::stamp
