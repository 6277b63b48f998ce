// What a STAMP sender makes of datagrams: an input is a session and what comes back. An answer is
// found only if it repeats number and time of a question, losses are never more than questions, and
// each figure of the clocks is a number with a bound.
#include "client/stamp/stamp_account.h"
#include "tests/fuzz/fuzz.h"

#include <array>
#include <cmath>
#include <vector>

using namespace riposte;
using namespace riposte::client;
using fuzz::require;

namespace {

constexpr uint64_t start_ns = 1'796'000'000'000'000'000;
constexpr size_t window = 64;
constexpr size_t reply_bytes_max = 300;
constexpr int steps_max = 400;
constexpr uint64_t questions_max = 40; // fewer than are remembered

QuestionShape read_shape(fuzz::Input& input) {
    QuestionShape shape;
    const std::array<std::byte, 32> key{};
    if (input.flag())
        shape.key = std::make_shared<const stamp::Key>(key);
    if (input.flag())
        shape.dscp = static_cast<uint8_t>(input.below(64));
    shape.ssid = static_cast<uint16_t>(input.below(3));
    shape.bytes = base_bytes(shape);
    if (input.flag())
        shape.bytes += padding_bytes_min + input.below(20);
    return shape;
}

/// Half of them answer a question, with numbers and times that the input chooses.
std::vector<std::byte> read_reply_bytes(
    fuzz::Input& input, const QuestionShape& shape,
    const std::vector<std::vector<std::byte>>& asked) {
    std::vector<std::byte> packet;
    const bool is_answer = input.flag() && !asked.empty();
    if (is_answer) {
        packet = asked[input.below(static_cast<uint32_t>(asked.size()))];
        const uint64_t received_ns = start_ns + input.number(5) - input.number(4);
        const bool ptp = input.flag();
        const auto stamp_of = [&](uint64_t ns) {
            return ptp ? stamp::to_ptp(ns) : stamp::to_ntp(ns);
        };
        stamp::write_answer(
            packet, shape.mode(),
            {.sequence = static_cast<uint32_t>(input.number(input.flag() ? 1 : 4)),
             .time = stamp_of(received_ns + input.number(3)),
             .receive_time = stamp_of(received_ns),
             .error_estimate = static_cast<uint16_t>(input.number(2)),
             .sender_ttl = input.byte(),
             .question = stamp::read_question(packet, shape.mode())});
        if (shape.key != nullptr && input.below(8) != 0) {
            const auto hmac = shape.key->sign(std::span(packet).first(96));
            std::ranges::copy(hmac, packet.begin() + 96);
        }
    }
    packet.resize(input.below(4) == 0 ? input.below(reply_bytes_max) : packet.size());
    for (uint32_t changes = input.below(4); changes > 0 && !packet.empty(); changes--)
        packet[input.below(static_cast<uint32_t>(packet.size()))] = std::byte{input.byte()};
    return packet;
}

void require_figures(const StampResult& result, uint64_t failed) {
    const DirectionCounts counts = result.books.counts();
    require(
        counts.lost_there + counts.lost_back + counts.undecided <= counts.sent,
        "no more is lost than was asked");
    require(counts.sent + failed + result.closing <= questions_max, "questions are counted once");
    const ClockFigures clocks = result.clocks.figures();
    uint64_t samples = 0;
    for (const ClockPiece& piece : clocks.pieces) {
        require(piece.samples > 0 && piece.first <= questions_max, "a series has answers");
        require(std::isfinite(piece.bound_ns) && piece.bound_ns >= 0, "each delay has its bound");
        require(std::isfinite(piece.line.lead_end_ns), "the lead is a number");
        require(
            piece.there.min_ns <= piece.there.median_ns &&
                piece.there.median_ns <= piece.there.max_ns,
            "a median is between the least and the greatest");
        samples += piece.samples;
    }
    require(samples <= result.answers, "a sample is an answer");
    require(clocks.pdv_there.count() == clocks.pdv_back.count(), "both ways have as many delays");
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) { // NOLINT(*-naming)
    fuzz::Input input(data, size);
    const QuestionShape shape = read_shape(input);
    StampAccount account(shape, window);
    std::vector<std::vector<std::byte>> asked;
    std::vector<bool> is_open(questions_max + 1);
    OwnTime now{.monotonic_ns = 1'000'000'000, .realtime_ns = start_ns};
    uint64_t failed = 0;
    for (int step = 0; step < steps_max && !input.empty(); step++) {
        now.monotonic_ns += input.number(4);
        now.realtime_ns =
            start_ns + now.monotonic_ns + (input.below(16) == 0 ? input.number(4) : 0);
        const uint32_t what = input.below(8);
        if (what < 3 && asked.size() < questions_max) {
            const uint64_t sequence = account.ask();
            const auto packet = account.write(sequence, now, stamp::unknown_error);
            asked.emplace_back(packet.begin(), packet.end());
            is_open[sequence] = true;
            if (input.below(8) == 0) {
                account.note_failed(sequence);
                is_open[sequence] = false;
                failed += static_cast<uint64_t>(!account.is_closing(sequence));
            }
            continue;
        }
        if (what == 3 && input.below(8) == 0)
            account.close();
        const std::vector<std::byte> packet = read_reply_bytes(input, shape, asked);
        const auto found = account.read(packet);
        account.quoted(packet);
        if (!found) {
            account.note_stray(packet);
            continue;
        }
        require(
            found->asked.sequence <= asked.size() &&
                found->asked.time == found->reply.question_time,
            "an answer is to a question");
        if (found->reply.fault != ReplyFault::none) {
            account.note_fault(found->reply.fault);
            continue;
        }
        const uint64_t received_ns = found->asked.sent.monotonic_ns + input.number(4);
        require(
            StampAccount::residence_ns(*found, received_ns) <=
                received_ns - found->asked.sent.monotonic_ns,
            "a residence is no longer than the round trip");
        const OrderMarks order = account.note_order(*found);
        require(!(order.duplicated_there && order.duplicated_back), "a duplicate is of one way");
        if (!found->is_closing && is_open[found->asked.sequence])
            account.note_first(*found, received_ns);
        is_open[found->asked.sequence] = false;
    }
    require_figures(*account.result(), failed);
    return 0;
}
