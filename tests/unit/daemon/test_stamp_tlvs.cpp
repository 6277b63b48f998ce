// What the reflector does with TLVs.
#include "tests/unit/daemon/stamp_harness.h"

#include <string>
#include <string_view>

#include <doctest/doctest.h>
#include <fmt/format.h>

namespace riposte::stamp {

TEST_CASE("TLVs: what is understood, what is not, and what is malformed") {
    Harness harness({.tlvs = {.dscps = uint64_t{1} << 46}});
    harness.arrival.traffic_class = 10 << 2 | 2;
    CHECK(tlvs_of(harness, "80010003 aabbcc") == "00010003aabbcc");
    CHECK(tlvs_of(harness, "80030004 00000000") == "0003000405020502");
    CHECK(tlvs_of(harness, "80030003 000000") == "40030003000000");
    CHECK(tlvs_of(harness, "80040004 b8000000") == "00040004b8a80000");
    CHECK(tlvs_of(harness, "80040004 bc000000") == "00040004bca90000");
    CHECK(tlvs_of(harness, "80040003 b80000") == "40040003b80000");
    CHECK(tlvs_of(harness, "8006000400010100") == "8006000400010100");
    CHECK(tlvs_of(harness, "80080010" + std::string(32, '1')) == "80080010" + std::string(32, '1'));
    CHECK(tlvs_of(harness, "80090004 01020304") == "8009000401020304");
    CHECK(tlvs_of(harness, "800c0008 0000000000000000") == "800c00080000000000000000");
    CHECK(tlvs_of(harness, "80fe0004 00000001") == "80fe000400000001");
    // A bad one ends the list: what follows is copied.
    CHECK(tlvs_of(harness, "80010001 aa 80010009 bb 80010000") == "00010001aa40010009bb80010000");
    CHECK(tlvs_of(harness, "80010000 80") == "0001000080");
    CHECK(tlvs_of(harness, "00000000 80010000") == "0000000080010000");
}

TEST_CASE("Direct Measurement reports the session's counts") {
    Harness harness;
    CHECK(
        tlvs_of(harness, "8005000c 00000009 00000000 00000000") ==
        "0005000c000000090000000100000001");
    CHECK(
        tlvs_of(harness, "8005000c 00000009 00000000 00000000") ==
        "0005000c000000090000000200000002");
    CHECK(tlvs_of(harness, "8005000b 0000000900000000000000") == "4005000b0000000900000000000000");
    Harness stateless({.stateful = false});
    CHECK(
        tlvs_of(stateless, "8005000c 00000009 00000000 00000000") ==
        "8005000c000000090000000000000000");
}

TEST_CASE("Follow-Up reports when the answer before was transmitted, if that is known") {
    const std::string asked = "80070010" + std::string(32, '0');
    const std::string unknown = "00070010" + std::string(32, '0');
    Harness harness;
    Bytes packet = question_of(0);
    CHECK(harness.ask(packet).session == 0); // its sender does not want to know
    CHECK(tlvs_of(harness, asked) == unknown);
    const StampReply timed = ask_with(harness, asked);
    CHECK(timed.sequence == 2);
    CHECK(timed.sent_ns == harness.clock.ns);
    REQUIRE(timed.session != 0);

    const uint64_t left = to_ntp(harness.clock.ns + 40'000);
    harness.sessions.transmitted(timed.session, 1, left + 1); // of an earlier answer: too late
    harness.sessions.transmitted(timed.session + 1, 2, left + 1);
    harness.sessions.transmitted(timed.session, timed.sequence, left);
    CHECK(tlvs_of(harness, asked) == fmt::format("00070010{:08x}{:016x}02000000", 2, left));
    CHECK(tlvs_of(harness, asked) == unknown); // of the answer before this one nothing came
    CHECK(tlvs_of(harness, "8007000f" + std::string(30, '7')) == "4007000f" + std::string(30, '0'));

    Harness stateless({.stateful = false});
    CHECK(tlvs_of(stateless, asked) == unknown);
    CHECK(ask_with(stateless, asked).session == 0);
}

TEST_CASE("Location reports what the policy permits, in as many bytes") {
    const std::string asked = "8002002c 00000000"
                              "80070010" +
                              std::string(32, '0') + "80040010" + std::string(32, '0');
    Harness none;
    CHECK(tlvs_of(none, asked) == "8002002c00000000" + asked.substr(17));
    Harness source({.tlvs = {.location = StampLocation::source}});
    CHECK(
        tlvs_of(source, asked) == "0002002c0000a028"
                                  "00080010c0000201" +
                                      std::string(24, '0') + "00040010" + std::string(32, '0'));
    Harness all({.tlvs = {.location = StampLocation::all}});
    CHECK(
        tlvs_of(all, asked) == "0002002c035ea028"
                               "00080010c0000201" +
                                   std::string(24, '0') + "00050010c6336407" +
                                   std::string(24, '0'));
    CHECK(
        tlvs_of(all, "80020010 00000000 80010008 0000000000000000") ==
        "00020010035ea028000300080000000000000000");
    all.arrival.peer = address_of("2001:db8::1", 41000);
    CHECK(
        tlvs_of(all, "80020018 00000000 80070010" + std::string(32, '0')) ==
        "00020018035ea0280009001020010db8000000000000000000000001");
    CHECK(tlvs_of(all, "80020003 000000") == "40020003000000");
    CHECK(tlvs_of(all, "80020008 00000000 80070004") == "00020008035ea02840070004");
}

TEST_CASE("a sender that asks for no reply gets none, and return paths are not taken") {
    Harness harness;
    CHECK(tlvs_of(harness, "800a0008 80010004 00000000") == "no answer");
    CHECK(tlvs_of(harness, "800a0008 80010004 00000001") == "800a00088001000400000001");
    CHECK(tlvs_of(harness, "800a0008 80020004 c0000201") == "800a000880020004c0000201");
}

TEST_CASE("the HMAC of the TLVs is verified, and computed anew") {
    const auto ask = [](std::string_view tlvs, bool authenticated) {
        Harness harness(with_key());
        Bytes packet = authenticated ? signed_question(7) : question_of(7);
        const size_t base = packet.size();
        const Bytes tail = from_hex(tlvs);
        packet.insert(packet.end(), tail.begin(), tail.end());
        CHECK(harness.ask(packet).outcome == StampOutcome::answered);
        return to_hex(std::span(packet).subspan(base));
    };
    const auto signature = [](uint32_t sequence, std::string_view tlvs) {
        Bytes number(4);
        write_32(number, 0, sequence);
        return to_hex(test_key().sign(number, from_hex(tlvs)));
    };
    const std::string asked = "80030004 00000000";
    const std::string answered = "0003000405020502";
    for (const bool authenticated : {true, false}) {
        const std::string right = "80080010" + signature(7, asked);
        CHECK(ask(asked + right, authenticated) == answered + "00080010" + signature(0, answered));
        CHECK(
            ask(asked + right + "80010002aabb", authenticated) ==
            answered + "00080010" + signature(0, answered) + "00010002aabb");
        const std::string wrong = "80080010" + signature(8, asked);
        CHECK(
            ask(asked + wrong, authenticated) == "a003000400000000"
                                                 "a0" +
                                                     wrong.substr(2));
        CHECK(
            ask(right + asked, authenticated) ==
            "a0" + right.substr(2) + "a003000400000000"); // misplaced
    }
    CHECK(ask("80010002aabb", true) == "00010002aabb");
    CHECK(ask(asked, true) == "a003000400000000"); // it must be there
    CHECK(ask(asked, false) == answered);
}

} // namespace riposte::stamp
