#include "common/http/answer.h"

#include <array>
#include <cassert>
#include <string_view>

#include <fmt/format.h>

namespace riposte {
namespace {

std::string_view reason_of(int code) {
    switch (code) {
    case 200:
        return "OK";
    case 400:
        return "Bad Request";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 431:
        return "Request Header Fields Too Large";
    case 503:
        return "Service Unavailable";
    default:
        assert(code == 505);
        return "HTTP Version Not Supported";
    }
}

/// IMF-fixdate (RFC 9110, 5.6.7), whatever the locale: "Sun, 06 Nov 1994 08:49:37 GMT".
std::string date(time_t now) {
    constexpr std::array<std::string_view, 7> days{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    constexpr std::array<std::string_view, 12> month_names{
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    tm parts{};
    ::gmtime_r(&now, &parts);
    return fmt::format(
        "{}, {:02} {} {} {:02}:{:02}:{:02} GMT", days[static_cast<size_t>(parts.tm_wday)],
        parts.tm_mday, month_names[static_cast<size_t>(parts.tm_mon)], parts.tm_year + 1900,
        parts.tm_hour, parts.tm_min, parts.tm_sec);
}

} // namespace

HttpAnswer line_answer(int code, std::string_view line) {
    return {.code = code, .body = std::make_shared<const HttpBody>(fmt::format("{}\n", line))};
}

HttpAnswer answer_to_malformed(HttpRequest::State state) {
    switch (state) {
    case HttpRequest::State::too_long:
        return line_answer(
            431, fmt::format("the head has more than {} bytes", HttpRequest::head_bytes_max));
    case HttpRequest::State::wrong_version:
        return line_answer(505, "HTTP/1.1 or HTTP/1.0 only");
    case HttpRequest::State::complete:
    case HttpRequest::State::reading:
    case HttpRequest::State::bad:
        break;
    }
    return line_answer(400, "bad request; write it as RFC 9112 says");
}

std::optional<HttpAnswer> refuse_method(const HttpRequest& request) {
    if (request.method() == "GET" || request.method() == "HEAD")
        return std::nullopt;
    return line_answer(405, "method not allowed; use GET or HEAD");
}

std::string head_of(const HttpAnswer& answer, time_t now) {
    return fmt::format(
        "HTTP/1.1 {} {}\r\nDate: {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n"
        "Cache-Control: no-store\r\n{}{}Connection: close\r\n\r\n",
        answer.code, reason_of(answer.code), date(now), answer.type,
        answer.body ? answer.body->size() : 0, answer.by_accept ? "Vary: Accept\r\n" : "",
        answer.code == 405 ? "Allow: GET, HEAD\r\n" : "");
}

} // namespace riposte
