#include "common/stamp/hmac.h"
#include "common/stamp/packet.h"
#include "common/stamp/timestamp.h"
#include "common/stamp/tlv.h"
#include "tests/support/hex.h"

#include <algorithm>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>

using namespace riposte;
using namespace riposte::stamp;
using test::from_hex;
using test::to_hex;

namespace {

Key key_of(std::string_view digits) {
    return Key(from_hex(digits));
}

const std::string key_digits = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
constexpr uint64_t second_ns = 1'000'000'000;
constexpr uint64_t in_2026_ns = 1'796'000'000 * second_ns;

/// The base packet of an authenticated sender, signed.
std::vector<std::byte> signed_question(const Key& key, const Question& question) {
    std::vector<std::byte> packet(authenticated_layout.bytes);
    write_question(packet, Mode::authenticated, question);
    const std::span bytes(packet);
    std::ranges::copy(key.sign(bytes.first(96)), bytes.subspan(96).begin());
    return packet;
}

/// An answer of a reflector that is not ours, seen on the wire: it writes the SSID into the zeros
/// at 38 as well.
const std::string_view foreign_answer =
    "00000008 eeb745684a903466 0001 1234 eeb745684a902f04 00000008 eeb74568495b79ab 0001 1234 ff "
    "000000";

} // namespace

TEST_CASE("NTP timestamps count from 1900 in 2^-32 seconds") {
    CHECK(to_ntp(0) == uint64_t{2'208'988'800} << 32);
    CHECK(to_ntp(second_ns / 2) == (uint64_t{2'208'988'800} << 32 | 0x8000'0000));
    CHECK(to_ntp(second_ns - 1) == (uint64_t{2'208'988'800} << 32 | 0xffff'fffb));
    // 2036-02-07T06:28:16Z, when the seconds wrap.
    CHECK(to_ntp(uint64_t{2'085'978'496} * second_ns) == 0);
}

TEST_CASE("PTP timestamps count from 1970 in nanoseconds") {
    CHECK(to_ptp(in_2026_ns + 123'456'789) == (uint64_t{1'796'000'000} << 32 | 123'456'789));
    CHECK(to_ptp((uint64_t{1} << 32) * second_ns + 5) == 5);
}

TEST_CASE("a timestamp reads back, in every era of its seconds") {
    std::mt19937_64 random(1);
    for (int i = 0; i < 100'000; i++) {
        const uint64_t time_ns = random() % (uint64_t{16'000'000'000} * second_ns);
        const uint64_t half_era_ns = (uint64_t{1} << 31) * second_ns - second_ns;
        const uint64_t apart_ns = random() % half_era_ns;
        const uint64_t near_ns =
            random() % 2 == 0 ? time_ns + apart_ns : time_ns - std::min(time_ns, apart_ns);
        CHECK(from_timestamp(to_ntp(time_ns), TimeFormat::ntp, near_ns) == time_ns);
        CHECK(from_timestamp(to_ptp(time_ns), TimeFormat::ptp, near_ns) == time_ns);
    }
}

TEST_CASE("a PTP timestamp with more nanoseconds than a second has stays within its second") {
    CHECK(
        from_timestamp(uint64_t{5} << 32 | 0xffff'ffff, TimeFormat::ptp, second_ns) ==
        6 * second_ns - 1);
}

TEST_CASE("error estimates") {
    CHECK(estimate_of(1'000, false, TimeFormat::ntp).pack() == 0x0587);
    CHECK(estimate_of(1'000'000, false, TimeFormat::ntp).pack() == 0x0f84);
    CHECK(estimate_of(16 * second_ns, false, TimeFormat::ntp).pack() == 0x1d80);
    CHECK(estimate_of(0, true, TimeFormat::ptp).pack() == 0xc001);
    CHECK(unknown_error.pack() == 0x3fff);
    CHECK(unknown_error.error_ns() == UINT64_MAX);
    CHECK(ErrorEstimate::unpack(0x0001).error_ns() == 0);
    CHECK(ErrorEstimate::unpack(0x0587).error_ns() == 1005);
}

TEST_CASE("an error estimate is never below the error, and less than one part in 127 above it") {
    std::mt19937_64 random(2);
    for (int i = 0; i < 100'000; i++) {
        const uint64_t error_ns = random() >> (1 + random() % 63);
        const ErrorEstimate estimate = estimate_of(error_ns, true, TimeFormat::ntp);
        CHECK(ErrorEstimate::unpack(estimate.pack()) == estimate);
        CHECK(estimate.multiplier > 0);
        CHECK(estimate.error_ns() >= error_ns);
        CHECK(estimate.error_ns() <= error_ns + error_ns / 127 + 1);
    }
}

TEST_CASE("the base packets have every field where RFC 8762 has it") {
    const Question question{
        .sequence = 0x01020304,
        .time = 0x1112131415161718,
        .error_estimate = 0x2122,
        .ssid = 0x3132};
    const Answer answer{
        .sequence = 0x41424344,
        .time = 0x5152535455565758,
        .receive_time = 0x6162636465666768,
        .error_estimate = 0x7172,
        .sender_ttl = 0x81,
        .question = question};
    std::vector<std::byte> open(44, std::byte{0xee});
    write_question(open, Mode::open, question);
    CHECK(
        to_hex(open) == "010203041112131415161718"
                        "21223132" +
                            std::string(56, '0'));
    CHECK(read_question(open, Mode::open) == question);
    write_answer(open, Mode::open, answer);
    CHECK(
        to_hex(open) == "41424344"
                        "5152535455565758"
                        "7172"
                        "3132"
                        "6162636465666768"
                        "01020304"
                        "1112131415161718"
                        "2122"
                        "0000"
                        "81"
                        "000000");
    CHECK(read_answer(open, Mode::open) == answer);

    std::vector<std::byte> authenticated(112, std::byte{0xee});
    write_question(authenticated, Mode::authenticated, question);
    CHECK(
        to_hex(authenticated) == "01020304" + std::string(24, '0') +
                                     "1112131415161718"
                                     "21223132" +
                                     std::string(168, '0'));
    CHECK(read_question(authenticated, Mode::authenticated) == question);
    write_answer(authenticated, Mode::authenticated, answer);
    CHECK(
        to_hex(authenticated) == "41424344" + std::string(24, '0') +
                                     "5152535455565758"
                                     "7172"
                                     "3132"
                                     "00000000"
                                     "6162636465666768" +
                                     std::string(16, '0') + "01020304" + std::string(24, '0') +
                                     "1112131415161718"
                                     "2122"
                                     "000000000000"
                                     "81" +
                                     std::string(62, '0'));
    CHECK(read_answer(authenticated, Mode::authenticated) == answer);
}

TEST_CASE("a question of TWAMP ends where the SSID would begin, or in it") {
    std::vector<std::byte> packet(44);
    write_question(packet, Mode::open, {.sequence = 9, .time = 8, .error_estimate = 7, .ssid = 6});
    for (const size_t size : {14U, 15U})
        CHECK(
            read_question(std::span(packet).first(size), Mode::open) ==
            Question{.sequence = 9, .time = 8, .error_estimate = 7});
}

TEST_CASE("the HMACs of a base packet and of its TLVs") {
    const Question question{
        .sequence = 7, .time = 0xeeb745bd20c26157, .error_estimate = 0x0587, .ssid = 0x1234};
    const Key key = key_of(key_digits);
    const auto packet = signed_question(key, question);
    CHECK(to_hex(std::span(packet).subspan(96)) == "3e09d9ad934653b51f2bc5d8198c6c5e");
    const auto tlv = from_hex("80040004b8000000");
    CHECK(to_hex(key.sign(std::span(packet).first(4), tlv)) == "2f556bae6162b93341ee8ddf894a6e1a");

    const Question other{
        .sequence = 0, .time = 0xeeb745bd20c26157, .error_estimate = 0x0001, .ssid = 0x1234};
    const auto foreign = signed_question(key_of("abababababababababababababababab"), other);
    CHECK(to_hex(std::span(foreign).subspan(96)) == "833753ff089794a751df584573dab64b");
}

TEST_CASE("a changed bit anywhere breaks the HMAC") {
    const Key key = key_of(key_digits);
    auto packet = signed_question(key, {.sequence = 1, .time = 2, .error_estimate = 3});
    const std::span<std::byte> bytes(packet);
    REQUIRE(key.verify(bytes.subspan(96), bytes.first(96)));
    for (std::byte& byte : bytes) {
        byte ^= std::byte{0x10};
        CHECK_FALSE(key.verify(bytes.subspan(96), bytes.first(96)));
        byte ^= std::byte{0x10};
    }
}

TEST_CASE("keys of files") {
    const std::string_view text = "sixteen bytes or more";
    const auto signature = [&](std::string_view content) {
        const auto key = parse_key(content);
        return key ? to_hex(Key(*key).sign(std::as_bytes(std::span(text)))) : key.error();
    };
    CHECK(
        signature(key_digits + "\n") ==
        to_hex(key_of(key_digits).sign(std::as_bytes(std::span(text)))));
    CHECK(signature("passphrase of 24 letters\r\n") == signature("passphrase of 24 letters"));
    CHECK(signature("passphrase of 24 letters") != signature(key_digits));
    const std::string short_key =
        "the key has 0 bytes, and must have at least 16: `openssl rand -hex 32` makes one of 32";
    CHECK(signature("") == short_key);
    CHECK(signature(" \n") == short_key);
    CHECK(signature("00112233").starts_with("the key has 4 bytes"));
    CHECK(signature("fifteen letters").starts_with("the key has 15 bytes"));
    CHECK(signature(std::string(1025, 'x')) == "the key has 1025 bytes, and may have at most 1024");
    CHECK(signature(std::string(1024, 'x')).size() == 32);
}

TEST_CASE("answers are recognized, in each mode, and whatever their reflector") {
    const auto open = from_hex(foreign_answer);
    CHECK(is_answer(open, Mode::open));
    CHECK(is_answer(std::span(open).first(41), Mode::open)); // TWAMP
    CHECK(is_answer(std::span(open).first(38), Mode::open));
    CHECK_FALSE(is_answer(std::span(open).first(37), Mode::open));
    CHECK_FALSE(is_answer({}, Mode::open));

    const Answer answer{
        .sequence = 1,
        .time = to_ntp(in_2026_ns + 63 * second_ns),
        .receive_time = to_ntp(in_2026_ns),
        .error_estimate = 0x8001,
        .sender_ttl = 64,
        .question = {.sequence = 1, .time = 5, .error_estimate = 0x3fff, .ssid = 77}};
    for (const Mode mode : {Mode::open, Mode::authenticated}) {
        std::vector<std::byte> packet(layout_of(mode).bytes + 100, std::byte{0x55});
        write_answer(packet, mode, answer);
        CHECK(is_answer(packet, mode));
        // The clock of the reflector was set back meanwhile.
        Answer set_back = answer;
        std::swap(set_back.time, set_back.receive_time);
        write_answer(packet, mode, set_back);
        CHECK(is_answer(packet, mode));
        set_back.time = to_ntp(in_2026_ns - 64 * second_ns);
        set_back.receive_time = to_ntp(in_2026_ns);
        write_answer(packet, mode, set_back);
        CHECK_FALSE(is_answer(packet, mode));
    }
}

TEST_CASE("no question is taken for an answer, whatever the clock of its sender") {
    std::mt19937_64 random(3);
    for (const Mode mode : {Mode::open, Mode::authenticated}) {
        std::vector<std::byte> packet(layout_of(mode).bytes);
        for (int i = 0; i < 10'000; i++) {
            write_question(
                packet, mode,
                {.sequence = static_cast<uint32_t>(random()),
                 .time = i < 200 ? static_cast<uint64_t>(i) << 32 : random(),
                 .error_estimate = static_cast<uint16_t>(random()),
                 .ssid = static_cast<uint16_t>(random())});
            CHECK_FALSE(is_answer(packet, mode));
        }
    }
}

TEST_CASE("the random padding of a TWAMP sender is not taken for an answer") {
    std::mt19937_64 random(4);
    std::vector<std::byte> packet(64);
    size_t taken = 0;
    for (int i = 0; i < 2'000'000; i++) {
        for (size_t at = twamp_question_bytes_min; at < packet.size(); at += 10)
            write_64(packet, std::min(at, packet.size() - 8), random());
        write_64(packet, 4, to_ntp(in_2026_ns + static_cast<uint64_t>(i)));
        taken += is_answer(packet, Mode::open) ? size_t{1} : 0;
    }
    CHECK(taken == 0);
}

TEST_CASE("TLVs are read to the end, or to what is none") {
    const auto types = [](std::string_view digits) {
        const auto bytes = from_hex(digits);
        TlvReader reader(bytes);
        std::string found;
        while (const auto tlv = reader.next())
            found += fmt::format("{}/{} ", static_cast<unsigned>(tlv->type()), tlv->value().size());
        return found +
               fmt::format("{}{}", reader.rest().size(), reader.is_malformed() ? " malformed" : "");
    };
    CHECK(types("") == "0");
    CHECK(types("80040004 b8000000 80010000") == "4/4 1/0 0");
    CHECK(types("80010002 aabb ff") == "1/2 1");
    CHECK(types("80010002 aabb 80010003 aabb") == "1/2 6 malformed");
    CHECK(types("8001ffff") == "4 malformed");
    CHECK(types("80010000 00000000 00000000") == "1/0 8"); // zeros are padding
    CHECK(types("000000") == "3");
}
