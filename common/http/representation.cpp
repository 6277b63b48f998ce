#include "common/http/representation.h"

#include "common/http/words.h"
#include "common/text.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstdint>
#include <optional>
#include <tuple>

namespace riposte {
namespace {

using http::same_word;
using http::take_part;

struct Format {
    std::string_view type;
    std::string_view subtype;
    std::string_view version; ///< of the format; "": it has none
    std::string_view content_type;
};

const Format& format_of(Representation representation) {
    static constexpr std::array<Format, representation_kinds> formats{{
        {"text", "plain", "0.0.4", "text/plain; version=0.0.4; charset=utf-8"},
        {"application", "openmetrics-text", "1.0.0",
         "application/openmetrics-text; version=1.0.0; charset=utf-8"},
        {"application", "json", "", "application/json"},
    }};
    return formats[static_cast<size_t>(representation)];
}

/// One element of an Accept field.
struct Range {
    std::string_view type;
    std::string_view subtype;
    std::string_view version; ///< "": any
    uint32_t quality = 1000;  ///< thousandths
};

/// "1", "0.75": at most three decimals (RFC 9110, 12.4.2).
std::optional<uint32_t> parse_quality(std::string_view text) {
    constexpr size_t longest = 5;
    if (text.empty() || text.size() > longest || (text[0] != '0' && text[0] != '1'))
        return std::nullopt;
    if (text.size() > 1 && text[1] != '.')
        return std::nullopt;
    uint32_t quality = text[0] == '1' ? 1000 : 0;
    uint32_t weight = 100;
    for (const char c : text.substr(std::min<size_t>(2, text.size()))) {
        if (!is_digit(c))
            return std::nullopt;
        quality += static_cast<uint32_t>(c - '0') * weight;
        weight /= 10;
    }
    return quality > 1000 ? std::nullopt : std::optional(quality);
}

/// Empty if it is not understood.
std::optional<Range> parse_range(std::string_view text) {
    Range range;
    const std::string_view name = take_part(text, ';');
    const size_t slash = name.find('/');
    if (slash == std::string_view::npos)
        return std::nullopt;
    range.type = name.substr(0, slash);
    range.subtype = name.substr(slash + 1);
    while (!text.empty()) {
        std::string_view value = take_part(text, ';');
        const std::string_view key = take_part(value, '=');
        if (value.size() >= 2 && value.front() == '"' && value.back() == '"')
            value = value.substr(1, value.size() - 2);
        if (same_word(key, "version"))
            range.version = value;
        if (!same_word(key, "q"))
            continue;
        const auto quality = parse_quality(value);
        if (!quality)
            return std::nullopt;
        range.quality = *quality;
    }
    return range;
}

/// How specifically a range means a format; 0: not at all.
uint32_t specificity(const Range& range, const Format& format) {
    if (range.type == "*" && range.subtype == "*")
        return 1;
    if (!same_word(range.type, format.type))
        return 0;
    if (range.subtype == "*")
        return 2;
    if (!same_word(range.subtype, format.subtype))
        return 0;
    if (range.version.empty() || format.version.empty())
        return 3;
    return range.version == format.version ? 4 : 0;
}

/// The quality of one of our formats: that of the most specific range for it.
struct Wish {
    uint32_t specificity = 0;
    uint32_t quality = 0;
    size_t position = 0; ///< of its range, from the front

    /// A version does not make a range more specific.
    auto rank() const {
        return std::tuple(quality, std::min(specificity, 3U), SIZE_MAX - position);
    }
};

} // namespace

Representation negotiate(std::string_view accept, std::span<const Representation> offered) {
    assert(!offered.empty());
    std::array<Wish, representation_kinds> wishes;
    for (size_t position = 0; !accept.empty(); ++position) {
        const auto range = parse_range(take_part(accept, ','));
        if (!range)
            continue;
        for (const Representation representation : offered) {
            const Wish wish{
                specificity(*range, format_of(representation)), range->quality, position};
            Wish& best = wishes[static_cast<size_t>(representation)];
            if (wish.specificity == 0)
                continue; // the range is for something else
            if (wish.specificity > best.specificity ||
                (wish.specificity == best.specificity && wish.quality > best.quality))
                best = wish;
        }
    }
    const auto rank = [&](Representation representation) {
        return wishes[static_cast<size_t>(representation)].rank();
    };
    const Representation best = *std::ranges::max_element(offered, {}, rank);
    return wishes[static_cast<size_t>(best)].quality == 0 ? offered.front() : best;
}

std::string_view content_type(Representation representation) {
    return format_of(representation).content_type;
}

} // namespace riposte
