// Where an answer ends and what it must contain, split at every position.
#include "client/send/answer.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte::client;
using namespace std::string_literals;

namespace {

AnswerRules first() {
    return {.first = true, .until_bytes = {}, .until = {}, .expect = {}};
}
AnswerRules until(std::string_view word) {
    return {.first = false, .until_bytes = {}, .until = parse_pattern(word).value(), .expect = {}};
}
AnswerRules until_bytes(uint64_t bytes) {
    return {.first = false, .until_bytes = bytes, .until = {}, .expect = {}};
}
AnswerRules expecting(std::string_view word, AnswerRules rules = {}) {
    rules.expect = parse_pattern(word).value();
    return rules;
}

/// The answer that is taken from the pieces before it is over, or to their end.
std::string taken(AnswerWatch& watch, const std::vector<std::string_view>& pieces) {
    std::string answer;
    for (const std::string_view piece : pieces) {
        if (watch.is_over())
            break;
        answer += piece.substr(0, watch.take(piece));
    }
    if (!watch.is_over())
        watch.finish();
    return answer;
}

std::vector<std::string_view> split(std::string_view bytes, size_t at) {
    return {bytes.substr(0, at), bytes.substr(at)};
}

} // namespace

TEST_CASE("without rules the answer is all that comes") {
    AnswerWatch watch({});
    CHECK_FALSE(watch.has_taken());
    CHECK(taken(watch, {"a", "", "b"}) == "ab");
    CHECK(watch.has_taken());
    CHECK_FALSE(watch.is_over());
    CHECK(watch.missing_end().empty());
    CHECK(watch.missing_content().empty());
}

TEST_CASE("the first piece ends an answer, also an empty one") {
    AnswerWatch watch(first());
    CHECK(taken(watch, {"ab", "c"}) == "ab");
    CHECK(watch.is_over());
    AnswerWatch empty(first());
    CHECK(taken(empty, {"", "c"}).empty());
    CHECK(empty.is_over());
}

TEST_CASE("an answer ends behind its text, wherever it is split") {
    const std::string_view bytes = "one\r\ntwo\r\n";
    for (size_t at = 0; at <= bytes.size(); at++) {
        CAPTURE(at);
        AnswerWatch watch(until("\\r\\n"));
        CHECK(taken(watch, split(bytes, at)) == "one\r\n");
        CHECK(watch.is_over());
        CHECK(watch.missing_end().empty());
    }
    AnswerWatch watch(until("\\n\\n"));
    CHECK(taken(watch, split(bytes, 4)) == bytes);
    CHECK_FALSE(watch.is_over());
    CHECK(watch.missing_end() == "\"\\n\\n\"");
}

TEST_CASE("an answer ends after so many bytes, wherever it is split") {
    const std::string_view bytes = "0123456789";
    for (size_t size = 1; size <= bytes.size() + 1; size++)
        for (size_t at = 0; at <= bytes.size(); at++) {
            AnswerWatch watch(until_bytes(size));
            CHECK(taken(watch, split(bytes, at)) == bytes.substr(0, size));
            CHECK(watch.is_over() == (size <= bytes.size()));
            CHECK(watch.missing_end() == (size <= bytes.size() ? "" : "11 bytes"));
        }
}

TEST_CASE("what is expected ends the answer with the piece that completes it") {
    const std::string_view bytes = "220 OK then";
    for (size_t at = 0; at <= bytes.size(); at++) {
        CAPTURE(at);
        AnswerWatch watch(expecting("OK"));
        const std::string answer = taken(watch, split(bytes, at));
        CHECK(answer == (at >= 6 ? bytes.substr(0, at) : bytes));
        CHECK(watch.is_over());
        CHECK(watch.missing_content().empty());
    }
}

TEST_CASE("what is expected must stand before the end that a rule says") {
    for (size_t at = 0; at <= 9; at++) {
        AnswerWatch behind(expecting("OK", until("\\n")));
        CHECK(taken(behind, split("-ERR\nOK\n", std::min<size_t>(at, 8))) == "-ERR\n");
        CHECK(behind.is_over());
        CHECK(behind.missing_content() == "\"OK\"");
        CHECK(behind.shown() == "5 bytes: \"-ERR\\n\"");
        AnswerWatch before(expecting("OK", until("\\n")));
        CHECK(taken(before, split("OK, fine\n", at)) == "OK, fine\n");
        CHECK(before.missing_content().empty());
        AnswerWatch crossing(expecting("34", until_bytes(3)));
        CHECK(taken(crossing, split("123456789", at)) == "123");
        CHECK(crossing.missing_content() == "\"34\"");
    }
    AnswerWatch watch(expecting("/^OK$/", first()));
    CHECK(taken(watch, {"OK", "AY"}) == "OK");
    CHECK(watch.missing_content().empty());
    AnswerWatch other(expecting("OK", first()));
    CHECK(taken(other, {"O", "K"}) == "O");
    CHECK(other.missing_content() == "\"OK\"");
}

TEST_CASE("the end of the answer may be what is expected") {
    AnswerWatch watch(expecting("/OK$/"));
    CHECK(taken(watch, {"OKAY ", "OK"}) == "OKAY OK");
    CHECK(watch.is_over());
    CHECK(watch.missing_content().empty());
    AnswerWatch end(until("/OK$/"));
    CHECK(taken(end, {"OK", "AY OK"}) == "OKAY OK");
    CHECK(end.missing_end().empty());
}

TEST_CASE("a long answer is shown by its first bytes") {
    AnswerWatch watch(expecting("OK"));
    taken(watch, {std::string(99, 'a'), std::string_view("\0b", 2), "c"});
    CHECK(watch.shown() == "102 bytes: \"" + std::string(99, 'a') + "\\x00\"...");
    AnswerWatch none(expecting("OK"));
    taken(none, {""});
    CHECK(none.shown() == "0 bytes: \"\"");
}
