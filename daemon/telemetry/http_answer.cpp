#include "daemon/telemetry/http_answer.h"

#include <array>
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
        return "HTTP Version Not Supported";
    }
}

std::string_view type_of(Representation representation) {
    switch (representation) {
    case Representation::openmetrics:
        return "application/openmetrics-text; version=1.0.0; charset=utf-8";
    case Representation::json:
        return "application/json";
    case Representation::text:
        break;
    }
    return "text/plain; version=0.0.4; charset=utf-8";
}

HttpAnswer refusal(int code, std::string_view why) {
    return {.code = code, .body = fmt::format("{}\n", why)};
}

HttpAnswer answer_to_complete(const HttpRequest& request, bool draining) {
    const bool metrics = request.path() == "/metrics";
    if (!metrics && request.path() != "/healthz")
        return refusal(404, "not found; there are /metrics and /healthz");
    if (request.method() != "GET" && request.method() != "HEAD")
        return refusal(405, "method not allowed; use GET or HEAD");
    if (metrics)
        return {.type = std::string(type_of(request.representation())), .document = true};
    return draining ? refusal(503, "draining") : HttpAnswer{.body = "ok\n"};
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

HttpAnswer answer_to(const HttpRequest& request, bool draining) {
    switch (request.state()) {
    case HttpRequest::State::complete: {
        HttpAnswer answer = answer_to_complete(request, draining);
        answer.head_only = request.method() == "HEAD";
        return answer;
    }
    case HttpRequest::State::too_long:
        return refusal(
            431, fmt::format("the head has more than {} bytes", HttpRequest::head_bytes_max));
    case HttpRequest::State::wrong_version:
        return refusal(505, "HTTP/1.1 or HTTP/1.0 only");
    case HttpRequest::State::reading:
    case HttpRequest::State::bad:
        break;
    }
    return refusal(400, "bad request; write it as RFC 9112 says");
}

std::string head_of(const HttpAnswer& answer, size_t body_bytes, time_t now) {
    return fmt::format(
        "HTTP/1.1 {} {}\r\nDate: {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n"
        "Cache-Control: no-store\r\n{}{}Connection: close\r\n\r\n",
        answer.code, reason_of(answer.code), date(now), answer.type, body_bytes,
        answer.document ? "Vary: Accept\r\n" : "",
        answer.code == 405 ? "Allow: GET, HEAD\r\n" : "");
}

} // namespace riposte
