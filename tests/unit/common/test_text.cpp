#include "common/text.h"

#include <array>
#include <cerrno>

#include <doctest/doctest.h>

using namespace riposte;
using namespace std::string_view_literals;

TEST_CASE("printable ASCII is shown as it is, everything else as an escape") {
    CHECK(escape("Hello, i'm client!") == "Hello, i'm client!");
    CHECK(escape("") == "");
    CHECK(escape("a\nb\rc\td") == "a\\nb\\rc\\td");
    CHECK(escape("say \"hi\" \\ bye") == "say \\\"hi\\\" \\\\ bye");
    CHECK(escape("\0\x1b[31m\x7f"sv) == "\\x00\\x1b[31m\\x7f");
    CHECK(escape("\xc3\xa9\xff") == "\\xc3\\xa9\\xff");
}

TEST_CASE("escape() returns no byte that a terminal or a log could take for a command") {
    for (int value = 0; value < 256; value++) {
        const char byte = static_cast<char>(value);
        for (const char c : escape(std::string_view(&byte, 1)))
            CHECK((c >= ' ' && c <= '~'));
    }
}

TEST_CASE("a long text is cut, and the omitted bytes are counted") {
    CHECK(escape("abcdef", 6) == "abcdef");
    CHECK(escape("abcdefg", 6) == "abcdef... 1 more byte");
    CHECK(escape("abcdefgh", 6) == "abcdef... 2 more bytes");
    CHECK(escape(std::string(1104, 'x')) == std::string(128, 'x') + "... 976 more bytes");
    CHECK(escape("abc", 0) == "... 3 more bytes");
}

TEST_CASE("the nearest word is the one with the fewest edits") {
    constexpr std::array words{"backend"sv, "workers"sv, "listen"sv, "limits"sv, "log_level"sv};
    CHECK(nearest("wokers", words) == "workers");
    CHECK(nearest("workres", words) == "workers");
    CHECK(nearest("lsiten", words) == "listen");
    CHECK(nearest("loglevel", words) == "log_level");
    CHECK(nearest("Workers", words) == "workers");
    CHECK(nearest("BACKEND", words) == "backend");
    CHECK(nearest("workers", words) == "workers");
}

TEST_CASE("a word that would have to change by more than a third has no nearest") {
    constexpr std::array words{"time"sv, "echo"sv};
    CHECK(nearest("tim", words) == "time");  // 1 of 3
    CHECK(nearest("tame", words) == "time"); // 1 of 4
    CHECK(nearest("tarp", words) == "");
    CHECK(nearest("xy", words) == "");
    CHECK(nearest("", words) == "");
    CHECK(nearest(std::string(100'000, 'e'), words) == "");
    constexpr std::array letters{"a"sv, ""sv};
    CHECK(nearest("z", letters) == "");
}

TEST_CASE("of two equally near words the first one wins") {
    constexpr std::array words{"cat"sv, "car"sv};
    CHECK(nearest("cab", words) == "cat");
}

TEST_CASE("errno is printed as text, and an unknown one as its number") {
    CHECK(errno_text(EADDRINUSE) == "Address already in use");
    CHECK(errno_text(EACCES) == "Permission denied");
    CHECK(errno_text(4711) == "error 4711");
    CHECK(errno_name(EADDRINUSE) == "EADDRINUSE");
    CHECK(errno_name(4711) == "E4711");
}
