// What a script looks for in an answer: a text, or a regular expression between slashes.
//
//     TEXT      bytes, with the escapes of C: \r \n \t \0 \\ \x1b, and \/ for a slash
//     /REGEX/   a POSIX extended regular expression (regex(7)), matched line by line
//
// A word that begins and ends with a slash is a REGEX, any other a TEXT, so no word is both; a TEXT
// like that is written \/TEXT/. A TEXT may hold any byte, also NUL; a REGEX may be matched against
// any, but cannot name NUL, and its dot does not match one.
#pragma once

#include <cstddef>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace riposte::client {

struct Pattern {
    bool is_regex = false;
    std::string bytes;   ///< the text, or the expression as regcomp(3) takes it; not empty
    std::string written; ///< for people: "\r\n" in quotes, or /REGEX/, without control bytes

    bool operator==(const Pattern&) const = default;
};

/// The error is a line for people, without the name of the option.
std::expected<Pattern, std::string> parse_pattern(std::string_view word);

/// How long a match of a REGEX may be and still be found, wherever reads split it.
inline constexpr size_t regex_window_bytes = 16384;

/// Looks for a pattern in bytes that come in pieces, in bounded memory. A match is the same
/// wherever the pieces are split, but for a REGEX that could match more than has come: it ends
/// with what has come.
class PatternSearch {
public:
    explicit PatternSearch(const Pattern& pattern);
    ~PatternSearch();
    PatternSearch(const PatternSearch&) = delete;
    PatternSearch& operator=(const PatternSearch&) = delete;
    PatternSearch(PatternSearch&&) = delete;
    PatternSearch& operator=(PatternSearch&&) = delete;

    /// How many of the next bytes there are up to the end of the first match; nothing: no match
    /// yet. Not called again after a match.
    std::optional<size_t> feed(std::string_view bytes);
    /// No more bytes come: does the end of the bytes make it match ($)?
    bool finish();
    /// A REGEX could not be matched for lack of memory, so nothing is known of the bytes.
    bool is_out_of_memory() const { return is_out_of_memory_; }

private:
    struct Regex;

    std::optional<size_t> feed_text(std::string_view bytes);
    std::optional<size_t> match(int flags);

    std::string text_;
    std::vector<size_t> borders_; ///< of each prefix of the text (Knuth, Morris, Pratt)
    size_t matched_ = 0;          ///< how much of the text stands at the end of the bytes

    std::unique_ptr<Regex> regex_; ///< none: it is a text
    std::string window_;           ///< the last bytes
    bool window_begins_line_ = true;
    bool is_out_of_memory_ = false;
};

} // namespace riposte::client
