#include "daemon/telemetry/http_request.h"

#include "common/text.h"

#include <algorithm>
#include <array>
#include <optional>
#include <tuple>

namespace riposte {
namespace {

using State = HttpRequest::State;

/// tchar of RFC 9110, 5.6.2.
bool is_token_char(char c) {
    constexpr std::string_view others = "!#$%&'*+-.^_`|~";
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           others.find(c) != std::string_view::npos;
}

bool is_token(std::string_view text) {
    return !text.empty() && std::ranges::all_of(text, is_token_char);
}

/// Never part of a head, except for the ends of lines.
bool is_control(char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte < 0x20 && c != '\t') || byte == 0x7f;
}

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool same_word(std::string_view a, std::string_view b) {
    return std::ranges::equal(a, b, {}, lower, lower);
}

std::string_view trim(std::string_view text) {
    constexpr std::string_view blank = " \t";
    const size_t begin = text.find_first_not_of(blank);
    if (begin == std::string_view::npos)
        return {};
    return text.substr(begin, text.find_last_not_of(blank) - begin + 1);
}

/// Takes the part before `separator`, which does not count between quotes, off `rest`, trimmed.
std::string_view take_part(std::string_view& rest, char separator) {
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

/// The path of a target in origin-form or absolute-form; any other is left as it is.
std::string_view path_of(std::string_view target) {
    constexpr std::string_view scheme = "http://";
    if (same_word(target.substr(0, scheme.size()), scheme)) {
        target.remove_prefix(scheme.size());
        target.remove_prefix(std::min(target.find_first_of("/?"), target.size()));
    }
    const std::string_view path = target.substr(0, target.find('?'));
    return path.empty() ? "/" : path;
}

// Accept -----------------------------------------------------------------------------------------

struct Offer {
    Representation representation;
    std::string_view type;
    std::string_view subtype;
    std::string_view version; ///< of the format; "": it has none
};

/// Among equals the first one.
constexpr std::array<Offer, representation_kinds> offers{{
    {Representation::text, "text", "plain", "0.0.4"},
    {Representation::openmetrics, "application", "openmetrics-text", "1.0.0"},
    {Representation::json, "application", "json", ""},
}};

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
uint32_t specificity(const Range& range, const Offer& offer) {
    if (range.type == "*" && range.subtype == "*")
        return 1;
    if (!same_word(range.type, offer.type))
        return 0;
    if (range.subtype == "*")
        return 2;
    if (!same_word(range.subtype, offer.subtype))
        return 0;
    if (range.version.empty() || offer.version.empty())
        return 3;
    return range.version == offer.version ? 4 : 0;
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

Representation negotiate(std::string_view accept) {
    std::array<Wish, representation_kinds> wishes;
    for (size_t position = 0; !accept.empty(); ++position) {
        const auto range = parse_range(take_part(accept, ','));
        if (!range)
            continue;
        for (size_t i = 0; i < offers.size(); ++i) {
            const Wish wish{specificity(*range, offers[i]), range->quality, position};
            Wish& best = wishes[i];
            if (wish.specificity > best.specificity ||
                (wish.specificity == best.specificity && wish.quality > best.quality))
                best = wish;
        }
    }
    const auto* best = std::ranges::max_element(wishes, {}, &Wish::rank);
    if (best->quality == 0)
        return Representation::text;
    return offers[static_cast<size_t>(best - wishes.begin())].representation;
}

// The request ------------------------------------------------------------------------------------

State HttpRequest::feed(std::string_view bytes) {
    for (const char c : bytes) {
        if (state_ != State::reading)
            break;
        if (size_++ == head_bytes_max)
            state_ = State::too_long;
        else if (c == '\n')
            feed_line();
        else if (line_.ends_with('\r') || (c != '\r' && is_control(c)))
            state_ = State::bad;
        else
            line_ += c;
    }
    return state_;
}

/// A line is whole. LF alone ends it as well (RFC 9112, 2.2).
void HttpRequest::feed_line() {
    const bool has_return = line_.ends_with('\r');
    const std::string_view line(line_.data(), line_.size() - (has_return ? 1 : 0));
    if (!has_request_line_ && line.empty())
        state_ = size_ > 2 ? State::bad
                           : State::reading; // one empty line before the request is ignored (2.2)
    else if (!has_request_line_)
        state_ = read_request_line(line);
    else if (line.empty())
        state_ = end_of_head();
    else
        state_ = read_field(line);
    line_.clear();
}

State HttpRequest::read_request_line(std::string_view line) {
    has_request_line_ = true;
    const size_t first = line.find(' ');
    const size_t last = line.rfind(' ');
    if (first == std::string_view::npos || first == last)
        return State::bad;
    const std::string_view method = line.substr(0, first);
    const std::string_view target = line.substr(first + 1, last - first - 1);
    const std::string_view version = line.substr(last + 1);
    const auto visible = [](char c) { return c > ' ' && c <= '~'; };
    if (!is_token(method) || target.empty() || !std::ranges::all_of(target, visible))
        return State::bad;
    constexpr std::string_view name = "HTTP/";
    if (version.size() != name.size() + 3 || !version.starts_with(name) || !is_digit(version[5]) ||
        version[6] != '.' || !is_digit(version[7]))
        return State::bad;
    if (version != "HTTP/1.0" && version != "HTTP/1.1")
        return State::wrong_version;
    needs_host_ = version == "HTTP/1.1";
    method_ = method;
    path_ = path_of(target);
    return State::reading;
}

/// A folded line and a blank before the colon are both refused: servers that accept them were open
/// to request smuggling (RFC 9112, 5.1 and 5.2).
State HttpRequest::read_field(std::string_view line) {
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos || !is_token(line.substr(0, colon)))
        return State::bad;
    const std::string_view name = line.substr(0, colon);
    if (same_word(name, "host"))
        ++hosts_;
    if (same_word(name, "accept"))
        (accept_ += accept_.empty() ? "" : ",") += trim(line.substr(colon + 1));
    return State::reading;
}

State HttpRequest::end_of_head() const {
    const bool wrong_host = hosts_ > 1 || (needs_host_ && hosts_ == 0); // RFC 9112, 3.2
    return wrong_host ? State::bad : State::complete;
}

} // namespace riposte
