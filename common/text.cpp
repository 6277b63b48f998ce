#include "common/text.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <numeric>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <string.h>

namespace riposte {

std::string escape(std::string_view bytes, size_t bytes_max) {
    const std::string_view shown = bytes.substr(0, bytes_max);
    std::string text;
    text.reserve(shown.size() + 16);
    for (const char byte : shown) {
        if (byte == '\n')
            text += "\\n";
        else if (byte == '\r')
            text += "\\r";
        else if (byte == '\t')
            text += "\\t";
        else if (byte == '\\' || byte == '"')
            (text += '\\') += byte;
        else if (byte >= ' ' && byte <= '~')
            text += byte;
        else
            text += fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
    }
    const size_t rest = bytes.size() - shown.size();
    if (rest > 0)
        text += fmt::format("... {}", plural(rest, "more byte"));
    return text;
}

namespace {

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

/// Insertions, deletions, substitutions and swaps of neighbours, each once. Letters that differ
/// only in case do not differ: "INFO" is meant to be "info".
size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<size_t> before_last(b.size() + 1);
    std::vector<size_t> last(b.size() + 1);
    std::vector<size_t> row(b.size() + 1);
    std::iota(last.begin(), last.end(), size_t{0});
    for (size_t i = 1; i <= a.size(); i++) {
        row[0] = i;
        for (size_t j = 1; j <= b.size(); j++) {
            const bool same = lower(a[i - 1]) == lower(b[j - 1]);
            row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (same ? 0 : 1)});
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
                lower(a[i - 2]) == lower(b[j - 1]))
                row[j] = std::min(row[j], before_last[j - 2] + 1);
        }
        std::swap(before_last, last);
        std::swap(last, row);
    }
    return last[b.size()];
}

} // namespace

std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates) {
    const size_t distance_max = (word.size() + 2) / 3;
    std::string_view best;
    size_t best_distance = distance_max + 1;
    for (const std::string_view candidate : candidates) {
        // The lengths alone say that this many edits are needed; it also bounds the work.
        const size_t longer = std::max(word.size(), candidate.size());
        if (longer - std::min(word.size(), candidate.size()) > distance_max)
            continue;
        const size_t distance = edit_distance(word, candidate);
        if (distance < best_distance && distance < longer) {
            best = candidate;
            best_distance = distance;
        }
    }
    return best;
}

std::string one_of(std::span<const std::string_view> names) {
    std::string text;
    for (size_t i = 0; i < names.size(); i++) {
        if (i > 0)
            text += i + 1 == names.size() ? " or " : ", ";
        text += names[i];
    }
    return text;
}

std::string plural(uint64_t count, std::string_view noun) {
    return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

std::string byte_count(uint64_t count) {
    return plural(count, "byte");
}

std::string errno_text(int error) {
    const char* text = strerrordesc_np(error);
    return text != nullptr ? text : fmt::format("error {}", error);
}

std::string errno_name(int error) {
    const char* name = strerrorname_np(error);
    return name != nullptr ? name : fmt::format("E{}", error);
}

std::string reason(int error) {
    std::string text = errno_text(error);
    const auto upper = [&](size_t at) {
        return at < text.size() && std::isupper(static_cast<unsigned char>(text[at])) != 0;
    };
    if (upper(0) && !upper(1)) // "RFS specific error" stays as it is
        text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
    return text;
}

} // namespace riposte
