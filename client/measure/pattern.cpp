// A text is found by the automaton of Knuth, Morris and Pratt, which keeps no byte. A regular
// expression is matched again with each piece, against a window of the last bytes: regexec(3)
// cannot continue where it ended.
#include "client/measure/pattern.h"

#include "common/text.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include <fmt/format.h>
#include <regex.h>

namespace riposte::client {

namespace {

constexpr std::string_view special_in_regex = ".[]()*+?{}|^$\\/";

struct Escape {
    char letter;
    char byte;
};
constexpr std::array<Escape, 8> letters{
    {{'a', '\a'},
     {'b', '\b'},
     {'e', '\x1b'},
     {'f', '\f'},
     {'n', '\n'},
     {'r', '\r'},
     {'t', '\t'},
     {'v', '\v'}}};
/// These stand for themselves.
constexpr std::string_view punctuation = "\\\"'?/";

std::optional<char> letter_escape(char letter) {
    const auto* const known = std::ranges::find(letters, letter, &Escape::letter);
    return known == letters.end() ? std::nullopt : std::optional(known->byte);
}

std::optional<unsigned> hex_digit(char c) {
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return std::nullopt;
}

/// The byte of one or two hexadecimal digits, or of one to three octal ones, which are taken off
/// the front of `rest`; nothing if there is none, or if it is no byte.
std::optional<char> take_number(std::string_view& rest, unsigned base, size_t digits_max) {
    unsigned value = 0;
    size_t size = 0;
    while (size < std::min(digits_max, rest.size())) {
        const auto digit = hex_digit(rest[size]);
        if (!digit || *digit >= base)
            break;
        value = value * base + *digit;
        size++;
    }
    rest.remove_prefix(size);
    if (size == 0 || value > UINT8_MAX)
        return std::nullopt;
    return static_cast<char>(value);
}

std::unexpected<std::string> bad_escape(std::string_view word, std::string_view rest) {
    const size_t column = word.size() - rest.size() + 1;
    if (rest.size() == 1)
        return std::unexpected(fmt::format(
            "'{}', column {}: nothing follows the backslash; write \\\\ for one", escape(word, 40),
            column));
    return std::unexpected(fmt::format(
        "'{}', column {}: unknown escape '\\{}'; write \\n, \\r, \\t, \\0, \\x1b, or \\\\ for a "
        "backslash",
        escape(word, 40), column, escape(rest.substr(1, 1))));
}

std::expected<Pattern, std::string> parse_text(std::string_view word) {
    Pattern pattern;
    for (std::string_view rest = word; !rest.empty();) {
        if (rest.front() != '\\') {
            pattern.bytes += rest.front();
            rest.remove_prefix(1);
            continue;
        }
        const std::string_view from = rest;
        if (rest.size() == 1)
            return bad_escape(word, from);
        const char letter = rest[1];
        std::optional<char> byte = letter_escape(letter);
        if (punctuation.find(letter) != std::string_view::npos)
            byte = letter;
        if (byte) {
            rest.remove_prefix(2);
        } else {
            const bool is_hex = letter == 'x';
            rest.remove_prefix(is_hex ? 2 : 1);
            byte = is_hex ? take_number(rest, 16, 2) : take_number(rest, 8, 3);
        }
        if (!byte)
            return bad_escape(word, from);
        pattern.bytes += *byte;
    }
    pattern.written = fmt::format("\"{}\"", escape(pattern.bytes, 80));
    return pattern;
}

/// regcomp(3) knows \n and the like as letters. Other backslashes are left to it.
std::expected<std::string, std::string> with_escapes(
    std::string_view word, std::string_view regex) {
    std::string bytes;
    for (std::string_view rest = regex; !rest.empty();) {
        if (rest.front() != '\\' || rest.size() == 1) {
            bytes += rest.front();
            rest.remove_prefix(1);
            continue;
        }
        const char letter = rest[1];
        std::optional<char> byte = letter == 'b' ? std::nullopt : letter_escape(letter);
        if (letter == '0' || letter == 'x') {
            std::string_view digits = rest.substr(letter == 'x' ? 2 : 1);
            byte = letter == 'x' ? take_number(digits, 16, 2) : take_number(digits, 8, 3);
            if (!byte)
                return bad_escape(word, word.substr(word.size() - rest.size() - 1));
            rest = digits;
        } else {
            rest.remove_prefix(2);
        }
        if (byte == '\0')
            return std::unexpected(
                fmt::format("'{}': a REGEX cannot name NUL; a TEXT can", escape(word, 40)));
        if (!byte || special_in_regex.find(*byte) != std::string_view::npos)
            bytes += '\\';
        bytes += byte.value_or(letter);
    }
    return bytes;
}

int compile(regex_t& regex, const std::string& bytes) {
    return ::regcomp(&regex, bytes.c_str(), REG_EXTENDED | REG_NEWLINE);
}

std::expected<Pattern, std::string> parse_regex(std::string_view word) {
    const std::string_view inside = word.substr(1, word.size() - 2);
    if (inside.empty())
        return std::unexpected(
            "the REGEX is empty; write one between the slashes, or \\// for the TEXT //");
    auto bytes = with_escapes(word, inside);
    if (!bytes)
        return std::unexpected(bytes.error());
    regex_t regex{};
    if (const int error = compile(regex, *bytes); error != 0) {
        std::array<char, 128> text{};
        ::regerror(error, &regex, text.data(), text.size());
        return std::unexpected(fmt::format(
            "'{}': {}; see regex(7), and write \\{} if it is a TEXT", escape(word, 40), text.data(),
            escape(word, 40)));
    }
    ::regfree(&regex);
    return Pattern{.is_regex = true, .bytes = std::move(*bytes), .written = escape(word, 80)};
}

} // namespace

std::expected<Pattern, std::string> parse_pattern(std::string_view word) {
    if (word.empty())
        return std::unexpected(
            "the TEXT is empty; write what the answer has, like OK or /^2[0-9]/");
    if (word.size() >= 2 && word.starts_with('/') && word.ends_with('/'))
        return parse_regex(word);
    return parse_text(word);
}

struct PatternSearch::Regex {
    regex_t compiled{};
    bool is_compiled = false;

    explicit Regex(const std::string& bytes) { is_compiled = compile(compiled, bytes) == 0; }
    ~Regex() {
        if (is_compiled)
            ::regfree(&compiled);
    }
    Regex(const Regex&) = delete;
    Regex& operator=(const Regex&) = delete;
    Regex(Regex&&) = delete;
    Regex& operator=(Regex&&) = delete;
};

PatternSearch::PatternSearch(const Pattern& pattern) {
    if (pattern.is_regex) {
        regex_ = std::make_unique<Regex>(pattern.bytes);
        is_out_of_memory_ = !regex_->is_compiled; // parse_pattern() has compiled it once
        return;
    }
    text_ = pattern.bytes;
    borders_.resize(text_.size());
    for (size_t at = 1, border = 0; at < text_.size(); at++) {
        while (border > 0 && text_[at] != text_[border])
            border = borders_[border - 1];
        border += text_[at] == text_[border] ? 1U : 0U;
        borders_[at] = border;
    }
}

PatternSearch::~PatternSearch() = default;

std::optional<size_t> PatternSearch::feed(std::string_view bytes) {
    if (!regex_)
        return feed_text(bytes);
    const size_t before = window_.size();
    window_ += bytes;
    // The end of the window is not the end of the answer: "$" does not match there.
    if (const auto end = match(REG_NOTEOL))
        return *end - std::min(*end, before);
    if (window_.size() > 2 * regex_window_bytes) {
        const size_t gone = window_.size() - regex_window_bytes;
        window_begins_line_ = window_[gone - 1] == '\n';
        window_.erase(0, gone);
    }
    return std::nullopt;
}

bool PatternSearch::finish() {
    return regex_ && match(0).has_value();
}

std::optional<size_t> PatternSearch::feed_text(std::string_view bytes) {
    for (size_t at = 0; at < bytes.size(); at++) {
        while (matched_ > 0 && bytes[at] != text_[matched_])
            matched_ = borders_[matched_ - 1];
        matched_ += bytes[at] == text_[matched_] ? 1U : 0U;
        if (matched_ == text_.size())
            return at + 1;
    }
    return std::nullopt;
}

/// Where the first match in the window ends.
std::optional<size_t> PatternSearch::match(int flags) {
    if (is_out_of_memory_)
        return std::nullopt;
    regmatch_t found{.rm_so = 0, .rm_eo = static_cast<regoff_t>(window_.size())};
    const int line = window_begins_line_ ? 0 : REG_NOTBOL;
    // REG_STARTEND gives the size, so that a NUL does not end the bytes.
    const int result =
        ::regexec(&regex_->compiled, window_.data(), 1, &found, REG_STARTEND | line | flags);
    if (result == 0)
        return static_cast<size_t>(found.rm_eo);
    is_out_of_memory_ = result != REG_NOMATCH;
    return std::nullopt;
}

} // namespace riposte::client
