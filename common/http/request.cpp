#include "common/http/request.h"

#include "common/http/words.h"
#include "common/text.h"

#include <algorithm>

namespace riposte {
namespace {

using State = HttpRequest::State;
using http::same_word;
using http::trim;

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

/// Path and query of a target in origin-form or absolute-form; any other is left as it is.
std::string_view local_part(std::string_view target) {
    constexpr std::string_view scheme = "http://";
    if (same_word(target.substr(0, scheme.size()), scheme)) {
        target.remove_prefix(scheme.size());
        target.remove_prefix(std::min(target.find_first_of("/?"), target.size()));
    }
    return target;
}

} // namespace

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
    const std::string_view local = local_part(target);
    const size_t path_bytes = std::min(local.find('?'), local.size());
    path_ = path_bytes == 0 ? "/" : local.substr(0, path_bytes);
    query_ = local.substr(std::min(path_bytes + 1, local.size()));
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
