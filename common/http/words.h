// Words of HTTP's fields: case, blanks, lists. RFC 9110, 5.6.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>

namespace riposte::http {

constexpr char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

inline bool same_word(std::string_view a, std::string_view b) {
    return std::ranges::equal(a, b, {}, lower, lower);
}

inline std::string_view trim(std::string_view text) {
    constexpr std::string_view blank = " \t";
    const size_t begin = text.find_first_not_of(blank);
    if (begin == std::string_view::npos)
        return {};
    return text.substr(begin, text.find_last_not_of(blank) - begin + 1);
}

/// Takes the part before `separator`, which does not count between quotes, off `rest`, trimmed.
inline std::string_view take_part(std::string_view& rest, char separator) {
    bool quoted = false;
    size_t at = 0;
    for (; at < rest.size(); ++at) {
        if (quoted && rest[at] == '\\')
            ++at; // and the character that it escapes
        else if (rest[at] == '"')
            quoted = !quoted;
        else if (rest[at] == separator && !quoted)
            break;
    }
    const std::string_view part = rest.substr(0, at);
    rest.remove_prefix(std::min(at + 1, rest.size()));
    return trim(part);
}

} // namespace riposte::http
