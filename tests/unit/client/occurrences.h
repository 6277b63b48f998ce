// Counts the occurrences of a word in a text.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace riposte::test {

inline size_t occurrences(const std::string& text, std::string_view what) {
    size_t count = 0;
    for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1))
        ++count;
    return count;
}

} // namespace riposte::test
