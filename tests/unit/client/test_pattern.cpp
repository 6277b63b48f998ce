// Texts and regular expressions in bytes that come in pieces, split at every position.
#include "client/measure/pattern.h"

#include <optional>
#include <string>
#include <string_view>

#include <doctest/doctest.h>

using namespace riposte::client;
using namespace std::string_literals;

namespace {

Pattern pattern_of(std::string_view word) {
    auto pattern = parse_pattern(word);
    REQUIRE_MESSAGE(pattern.has_value(), pattern.error());
    return *pattern;
}

std::string error_of(std::string_view word) {
    const auto pattern = parse_pattern(word);
    REQUIRE_FALSE(pattern.has_value());
    return pattern.error();
}

/// Where the first match ends in the pieces together.
std::optional<size_t> end_in(
    const Pattern& pattern, std::initializer_list<std::string_view> pieces) {
    PatternSearch search(pattern);
    size_t before = 0;
    for (const std::string_view piece : pieces) {
        if (const auto end = search.feed(piece))
            return before + *end;
        before += piece.size();
    }
    return std::nullopt;
}

/// Checks that the match ends at `end` however the bytes are split, in two pieces and in single
/// bytes.
void check_end(std::string_view word, std::string_view bytes, std::optional<size_t> end) {
    CAPTURE(word);
    const Pattern pattern = pattern_of(word);
    for (size_t at = 0; at <= bytes.size(); at++) {
        CAPTURE(at);
        CHECK(end_in(pattern, {bytes.substr(0, at), bytes.substr(at)}) == end);
    }
    PatternSearch search(pattern);
    std::optional<size_t> found;
    for (size_t at = 0; at < bytes.size() && !found; at++)
        if (const auto end_of_byte = search.feed(bytes.substr(at, 1)))
            found = at + *end_of_byte;
    CHECK(found == end);
}

} // namespace

TEST_CASE("a text is found wherever pieces split it") {
    check_end("OK", "220 OK\r\n", 6);
    check_end("OK", "O KO OK", 7);
    check_end("aab", "aaaab", 5);
    check_end("abcabd", "abcabcabd", 9);
    check_end("aa", "abaXa", std::nullopt);
    check_end("\\r\\n.\\r\\n", "text\r\n.\r\r\n.\r\nmore", 13);
    check_end("\\0\\0", "a\0b\0\0c"s, 5);
    check_end("\\xff\\x80", "\x80\xff\x80", 3);
}

TEST_CASE("the escapes of C stand for their bytes in a text") {
    CHECK(pattern_of("\\r\\n\\t\\a\\b\\e\\f\\v").bytes == "\r\n\t\a\b\x1b\f\v");
    CHECK(pattern_of("\\\\ \\\" \\' \\? \\/").bytes == "\\ \" ' ? /");
    CHECK(pattern_of("\\0").bytes == "\0"s);
    CHECK(pattern_of("\\0123").bytes == "\n3");
    CHECK(pattern_of("\\377").bytes == "\xff");
    CHECK(pattern_of("\\x1b[").bytes == "\x1b[");
    CHECK(pattern_of("\\x411").bytes == "A1");
    CHECK(pattern_of("\\/x/").bytes == "/x/");
    CHECK_FALSE(pattern_of("\\/x/").is_regex);
    CHECK(pattern_of("a\\r\\n").written == "\"a\\r\\n\"");
}

TEST_CASE("a word between slashes is a regular expression, any other a text") {
    for (const char* const word : {"/", "/x", "x/", "x/y", "/x/y"}) {
        CAPTURE(word);
        CHECK_FALSE(pattern_of(word).is_regex);
        CHECK(pattern_of(word).bytes == word);
    }
    CHECK(pattern_of("/x/").is_regex);
    CHECK(pattern_of("/x/").bytes == "x");
    CHECK(pattern_of("/x/").written == "/x/");
    CHECK(pattern_of("/a/b/").bytes == "a/b");
}

TEST_CASE("a regular expression is found wherever pieces split the bytes") {
    check_end("/O+K/", "220 OOK\r\n", 7);
    check_end("/^250 /", "250-a\r\n250 b\r\n", 11);
    check_end("/^250 /", "x250 ", std::nullopt);
    check_end("/a.c/", "abbc\nabc", 8);
    check_end("/\\r\\n\\r\\n/", "a\r\nb\r\n\r\nc", 8);
    check_end("/(ab|cd)e/", "abcde", 5);
    check_end("/[\\t]x/", "\tx", 2);
    check_end("/\\x2e\\x41/", "xA.A", 4);
}

TEST_CASE("a regular expression goes past NUL bytes, which its dot does not match") {
    check_end("/OK/", "\0\0OK"s, 4);
    check_end("/^OK/", "\0\nOK\0"s, 4);
    check_end("/a[^b]c/", "a\0c"s, 3);
    check_end("/a.c/", "a\0c"s, std::nullopt);
}

TEST_CASE("the end of a piece is not the end of a line") {
    check_end("/OK$/", "OKAY OK", std::nullopt);
    const Pattern pattern = pattern_of("/OK$/");
    CHECK(end_in(pattern, {"OK", "AY OK", "\n"}) == 7);
    CHECK(end_in(pattern, {"OK", "\n"}) == 2);
    PatternSearch search(pattern);
    CHECK_FALSE(search.feed("OKAY OK").has_value());
    CHECK(search.finish());
    PatternSearch other(pattern);
    CHECK_FALSE(other.feed("OKAY").has_value());
    CHECK_FALSE(other.finish());
}

TEST_CASE(
    "a match is found far from the beginning, and a line does not begin where the window does") {
    const Pattern pattern = pattern_of("/^OK/");
    const std::string far(3 * regex_window_bytes, 'x');
    CHECK(end_in(pattern, {far, far, "OK"}) == std::nullopt);
    CHECK(end_in(pattern, {far, far, "\nOK"}) == 2 * far.size() + 3);
    CHECK(end_in(pattern, {far + "\n", "OK"}) == far.size() + 3);
    const std::string tail(regex_window_bytes, 'x'); // the window begins behind the line break
    CHECK(end_in(pattern, {far + "\nO" + tail.substr(1), "K"}) == std::nullopt);
    CHECK(end_in(pattern_of("/^Ox*K/"), {far + "\nO" + tail.substr(1), "K"}).has_value());
}

TEST_CASE("a bad pattern is refused with what would be right") {
    CHECK(error_of("") == "the TEXT is empty; write what the answer has, like OK or /^2[0-9]/");
    CHECK(
        error_of("//") ==
        "the REGEX is empty; write one between the slashes, or \\// for the TEXT //");
    CHECK(
        error_of("a\\q") ==
        "'a\\\\q', column 2: unknown escape '\\q'; write \\n, \\r, \\t, \\0, \\x1b, or \\\\ for a "
        "backslash");
    CHECK(
        error_of("a\\") == "'a\\\\', column 2: nothing follows the backslash; write \\\\ for one");
    CHECK(error_of("\\x").starts_with("'\\\\x', column 1: unknown escape"));
    CHECK(error_of("\\400").starts_with("'\\\\400', column 1: unknown escape"));
    CHECK(error_of("/a\\x/").starts_with("'/a\\\\x/', column 3: unknown escape"));
    CHECK(error_of("/(a/").starts_with("'/(a/': Unmatched ( or \\(; see regex(7), and write"));
    CHECK(error_of("/a\\x00/") == "'/a\\\\x00/': a REGEX cannot name NUL; a TEXT can");
    CHECK(error_of("/a\\/").starts_with("'/a\\\\/': Trailing backslash"));
}
