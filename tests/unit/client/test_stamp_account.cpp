// The packets of a STAMP sender and what it reads of answers (client/stamp): the vectors of the
// RFCs' formats, and answers of many kinds.
#include "client/stamp/stamp_account.h"
#include "common/stamp/tlv.h"
#include "tests/support/hex.h"

#include <array>
#include <memory>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte;
using namespace riposte::client;

namespace {

using Bytes = std::vector<std::byte>;

constexpr uint64_t sent_ns = 1'796'000'000'000'000'000;
constexpr OwnTime sent{.monotonic_ns = 5'000'000'000, .realtime_ns = sent_ns};
constexpr stamp::ErrorEstimate own_error{
    .synchronized = true, .format = stamp::TimeFormat::ntp, .scale = 5, .multiplier = 0x87};

std::shared_ptr<const stamp::Key> make_key(uint8_t first) {
    std::array<std::byte, 32> bytes{};
    for (size_t i = 0; i < bytes.size(); i++)
        bytes[i] = static_cast<std::byte>(first + i);
    return std::make_shared<const stamp::Key>(bytes);
}

QuestionShape shape_of(bool is_signed, std::optional<uint8_t> dscp = {}, size_t more = 0) {
    QuestionShape shape{.key = is_signed ? make_key(0) : nullptr, .ssid = 0x1234, .dscp = dscp};
    shape.bytes = base_bytes(shape) + more;
    return shape;
}

Bytes question_of(StampAccount& account) {
    const auto bytes = account.write(account.ask(), sent, own_error);
    return {bytes.begin(), bytes.end()};
}

/// What a reflector makes of a question: T2 and T3 so long after T1, by a clock like ours.
Bytes answer_to(
    const Bytes& question, const QuestionShape& shape, uint32_t number, uint64_t received_ns,
    uint64_t transmitted_ns) {
    Bytes packet = question;
    const stamp::Answer answer{
        .sequence = number,
        .time = stamp::to_ntp(sent_ns + transmitted_ns),
        .receive_time = stamp::to_ntp(sent_ns + received_ns),
        .error_estimate = 0x8587,
        .sender_ttl = 250,
        .question = stamp::read_question(question, shape.mode())};
    stamp::write_answer(packet, shape.mode(), answer);
    if (shape.key != nullptr) {
        const auto hmac = shape.key->sign(std::span(packet).first(96));
        std::ranges::copy(hmac, packet.begin() + 96);
    }
    return packet;
}

} // namespace

TEST_CASE("an open question is as the RFC draws it") {
    StampAccount account(shape_of(false), 64);
    const Bytes question = question_of(account);
    CHECK(question.size() == 44);
    const stamp::Question read = stamp::read_question(question, stamp::Mode::open);
    CHECK(read.sequence == 1);
    CHECK(read.time == stamp::to_ntp(sent_ns));
    CHECK(read.error_estimate == 0x8587);
    CHECK(read.ssid == 0x1234);
    CHECK(std::ranges::all_of(
        std::span(question).subspan(16), [](std::byte byte) { return byte == std::byte{0}; }));
}

TEST_CASE("a signed question has the HMACs of the vectors") {
    QuestionShape shape = shape_of(true, 46);
    CHECK(shape.bytes == 140);
    Bytes packet(shape.bytes);
    write_question(
        packet, shape,
        {.sequence = 7, .time = 0xeeb745bd20c26157, .error_estimate = 0x0587, .ssid = 0});
    CHECK(test::to_hex(std::span(packet).subspan(96, 16)) == "3e09d9ad934653b51f2bc5d8198c6c5e");
    CHECK(
        test::to_hex(std::span(packet).subspan(112)) ==
        "80040004b8000000800800102f556bae6162b93341ee8ddf894a6e1a");
}

TEST_CASE("padding is a TLV behind the others") {
    QuestionShape shape = shape_of(false, 10, 8);
    Bytes packet(shape.bytes, std::byte{0xff});
    write_question(packet, shape, {});
    CHECK(
        test::to_hex(std::span(packet).subspan(44)) == "800400042800000080010004"
                                                       "00000000");
    shape = shape_of(true, {}, 4);
    packet.assign(shape.bytes, std::byte{0xff});
    write_question(packet, shape, {});
    CHECK(test::to_hex(std::span(packet).subspan(112)) == "80010000"); // needs no HMAC of its own
}

TEST_CASE("a proper answer is found, and its times are read") {
    for (const bool is_signed : {false, true}) {
        const QuestionShape shape = shape_of(is_signed);
        StampAccount account(shape, 64);
        const Bytes question = question_of(account);
        const auto found = account.read(answer_to(question, shape, 0, 1'000'000, 1'500'000));
        REQUIRE(found);
        CHECK(found->reply.fault == ReplyFault::none);
        CHECK(found->reply.returns_ssid);
        CHECK(found->asked.sequence == 1);
        CHECK(found->far.received_ns == sent_ns + 1'000'000);
        CHECK(found->far.transmitted_ns == sent_ns + 1'500'000);
        const uint64_t received_ns = sent.monotonic_ns + 3'000'000;
        CHECK(StampAccount::residence_ns(*found, received_ns) == 500'000);
        account.note_order(*found);
        account.note_first(*found, received_ns);
        const StampResult& result = *account.result();
        CHECK(result.answers == 1);
        CHECK(result.claims.synchronized == 1);
        CHECK(result.there.ttl_min() == 250);
        CHECK(result.residence.max_ns() == 500'000);
        const ClockPiece piece = result.clocks.figures().pieces.front();
        CHECK(piece.there.median_ns + piece.back.median_ns == doctest::Approx(2'500'000));
    }
}

TEST_CASE("what is no proper answer has its fault") {
    const QuestionShape shape = shape_of(false);
    StampAccount account(shape, 64);
    const Bytes question = question_of(account);
    const Bytes answer = answer_to(question, shape, 0, 1000, 2000);
    const auto fault_of = [&](const Bytes& bytes) { return account.read(bytes)->reply.fault; };
    CHECK(fault_of(question) == ReplyFault::echo);
    for (const int size : {36, 38, 40})
        CHECK(fault_of(Bytes(answer.begin(), answer.begin() + size)) == ReplyFault::too_short);
    Bytes other = answer;
    other[15] ^= std::byte{1};
    CHECK(fault_of(other) == ReplyFault::other_session);
    other = answer;
    other[13] = std::byte{0};
    CHECK(fault_of(other) == ReplyFault::no_multiplier);
    other = answer;
    other[28] ^= std::byte{1}; // another T1
    CHECK(!account.read(other));
    other = answer;
    other[27] ^= std::byte{2}; // a question that was not asked
    CHECK(!account.read(other));
    CHECK(!account.read(Bytes(35)));
    CHECK(!account.read({}));
}

TEST_CASE("TWAMP Light: 41 bytes, and no SSID") {
    const QuestionShape shape = shape_of(false);
    StampAccount account(shape, 64);
    Bytes answer = answer_to(question_of(account), shape, 1, 1000, 2000);
    answer[14] = answer[15] = std::byte{0};
    answer.resize(41);
    const auto found = account.read(answer);
    REQUIRE(found);
    CHECK(found->reply.fault == ReplyFault::none);
    CHECK(found->reply.is_short);
    CHECK(!found->reply.returns_ssid);
}

TEST_CASE("an answer without a valid HMAC, or that is open, is not believed") {
    const QuestionShape shape = shape_of(true);
    StampAccount account(shape, 64);
    const Bytes question = question_of(account);
    Bytes answer = answer_to(question, shape, 0, 1000, 2000);
    answer[20] ^= std::byte{1};
    CHECK(account.read(answer)->reply.fault == ReplyFault::unauthenticated);
    CHECK(account.read(question)->reply.fault == ReplyFault::echo);
    Bytes open(44);
    stamp::write_answer(
        open, stamp::Mode::open,
        {.time = stamp::to_ntp(sent_ns),
         .receive_time = stamp::to_ntp(sent_ns),
         .error_estimate = 1,
         .question = {.sequence = 1, .time = stamp::to_ntp(sent_ns), .error_estimate = 0x8587}});
    CHECK(account.read(open)->reply.fault == ReplyFault::unauthenticated);
    stamp::write_64(open, 28, 0); // as a reflector copies that sees an open question
    CHECK(!account.read(open));
    account.note_stray(open);
    CHECK(account.result()->unauthenticated == 1);
    stamp::write_32(open, 24, 2);
    account.note_stray(open);
    CHECK(account.result()->unauthenticated == 1);
}

TEST_CASE("the class with which a question arrived is read of the TLV, if it may be believed") {
    for (const bool is_signed : {false, true}) {
        const QuestionShape shape = shape_of(is_signed, 46);
        StampAccount account(shape, 64);
        const Bytes question = question_of(account);
        const Bytes ignored = answer_to(question, shape, 0, 1000, 2000);
        CHECK(account.read(ignored)->reply.tlvs_ignored);
        CHECK(!account.read(ignored)->reply.arrival);
        Bytes answer = ignored;
        const auto base = static_cast<std::ptrdiff_t>(stamp::layout_of(shape.mode()).bytes);
        // Asked for 46, came with 10 and ECN 2, refused: b8a90000.
        answer[static_cast<size_t>(base)] = std::byte{0};
        stamp::write_32(std::span(answer).subspan(static_cast<size_t>(base)), 4, 0xb8a90000);
        if (is_signed) {
            CHECK(account.read(answer)->reply.tlvs_failed);
            const auto hmac =
                shape.key->sign(std::span(answer).first(4), std::span(answer).subspan(112, 8));
            std::ranges::copy(hmac, answer.begin() + 124);
        }
        const Reply reply = account.read(answer)->reply;
        REQUIRE(reply.arrival);
        CHECK(reply.arrival->traffic_class == (10 << 2 | 2));
        CHECK(reply.arrival->refused);
        CHECK(!reply.tlvs_failed);
        answer[static_cast<size_t>(base)] = std::byte{stamp::tlv_integrity_failed};
        CHECK(account.read(answer)->reply.tlvs_failed);
        CHECK(!account.read(answer)->reply.arrival);
    }
}

TEST_CASE("impossible times of a reflector count as no residence") {
    const QuestionShape shape = shape_of(false);
    StampAccount account(shape, 64);
    const Bytes question = question_of(account);
    const uint64_t received_ns = sent.monotonic_ns + 1'000'000;
    for (const auto& [came, left] : {std::pair{5000, 4000}, {0, 2'000'000}}) {
        const auto found = account.read(answer_to(
            question, shape, 0, static_cast<uint64_t>(came), static_cast<uint64_t>(left)));
        REQUIRE(found);
        CHECK(StampAccount::residence_ns(*found, received_ns) == 0);
        account.note_first(*found, received_ns);
    }
    CHECK(account.result()->impossible_residence == 2);
    CHECK(account.result()->clocks.figures().pieces.empty());
}

TEST_CASE("times in the other format than they say are read in theirs") {
    stamp::Answer answer{
        .time = stamp::to_ptp(sent_ns),
        .receive_time = stamp::to_ptp(sent_ns),
        .error_estimate = 1,
        .question = {}};
    FarTimes times = far_times(answer, sent_ns);
    CHECK(times.denies_format);
    CHECK(times.transmitted_ns == sent_ns);
    answer.error_estimate = 0x4001; // PTP
    times = far_times(answer, sent_ns);
    CHECK(!times.denies_format);
    CHECK(times.received_ns == sent_ns);
}

TEST_CASE("questions are remembered as long as the window is, also beyond 32 bits") {
    const QuestionShape shape = shape_of(false);
    StampAccount account(shape, 4);
    std::vector<Bytes> answers;
    answers.reserve(6);
    for (uint32_t i = 0; i < 6; i++)
        answers.push_back(answer_to(question_of(account), shape, i, 1000, 2000));
    CHECK(!account.read(answers[0]));
    CHECK(!account.read(answers[1]));
    CHECK(account.read(answers[2])->asked.sequence == 3);
    CHECK(account.read(answers[5])->asked.sequence == 6);
}

TEST_CASE("an ICMP error quotes the question that it is about") {
    const QuestionShape shape = shape_of(false);
    StampAccount account(shape, 64);
    const Bytes first = question_of(account);
    question_of(account);
    CHECK(account.quoted(first) == 1);
    CHECK(!account.quoted(std::span(first).first(15)));
    Bytes other = first;
    other[5] ^= std::byte{1};
    CHECK(!account.quoted(other));
}
