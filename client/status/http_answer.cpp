#include "client/status/http_answer.h"

#include "client/net/patience.h"
#include "client/show/report.h"
#include "common/clock.h"
#include "common/text.h"
#include "common/units.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <optional>
#include <vector>

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

namespace riposte::client {
namespace {

constexpr size_t shown_max = 60; ///< of what the other side says, in an error

HttpAnswer wrong(std::string why) {
    return {HttpAnswer::State::wrong, {}, std::move(why)};
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
    return std::ranges::equal(a, b, {}, lower, lower);
}

std::string_view trim(std::string_view text) {
    const size_t begin = text.find_first_not_of(" \t\r");
    if (begin == std::string_view::npos)
        return {};
    return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

/// "HTTP/1.1 200 OK": a minor version, a code of three digits, and words or none (RFC 9112, 4).
bool is_status_line(std::string_view line) {
    const auto digit = [&](size_t at) { return line[at] >= '0' && line[at] <= '9'; };
    return line.size() >= 12 && digit(7) && line[8] == ' ' && digit(9) && digit(10) && digit(11) &&
           (line.size() == 12 || line[12] == ' ');
}

/// The values of a field of the head, in its order.
std::vector<std::string_view> values_of(std::string_view head, std::string_view name) {
    std::vector<std::string_view> values;
    while (!head.empty()) {
        const size_t end = std::min(head.find('\n'), head.size());
        const std::string_view line = head.substr(0, end);
        head.remove_prefix(std::min(end + 1, head.size()));
        const size_t colon = line.find(':');
        if (colon != std::string_view::npos && equal_ignoring_case(line.substr(0, colon), name))
            values.push_back(trim(line.substr(colon + 1)));
    }
    return values;
}

std::optional<size_t> parse_length(std::string_view text) {
    size_t length = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
    if (error != std::errc{} || end != text.data() + text.size())
        return std::nullopt;
    return length;
}

/// Where the head ends, its empty line included; npos if it does not yet.
size_t end_of_head(std::string_view bytes) {
    const size_t end = bytes.find("\r\n\r\n");
    return end == std::string_view::npos ? end : end + 4;
}

/// An errno.
int send_all(int fd, std::string_view bytes, const Patience& patience) {
    while (!bytes.empty()) {
        const ssize_t size = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (size >= 0) {
            bytes.remove_prefix(static_cast<size_t>(size));
        } else if (errno == EAGAIN) {
            if (const int error = await_ready(fd, POLLOUT, patience); error != 0)
                return error;
        } else if (errno != EINTR) {
            return errno;
        }
    }
    return 0;
}

} // namespace

HttpAnswer read_http_answer(std::string_view bytes, bool ended) {
    constexpr std::string_view version = "HTTP/1.";
    const size_t common = std::min(bytes.size(), version.size());
    if (bytes.substr(0, common) != version.substr(0, common))
        return wrong(fmt::format("it does not speak HTTP: \"{}\"", escape(bytes, shown_max)));
    const size_t head_bytes = end_of_head(bytes);
    if (head_bytes == std::string_view::npos)
        return ended ? wrong(
                           bytes.empty() ? "closed without an answer"
                                         : "closed in the middle of its answer's head")
                     : HttpAnswer{};
    const std::string_view head = bytes.substr(0, head_bytes);
    const std::string_view body = bytes.substr(head_bytes);
    const std::string_view line = head.substr(0, head.find("\r\n"));
    if (!is_status_line(line))
        return wrong(fmt::format("it does not speak HTTP: \"{}\"", escape(line, shown_max)));
    if (line.substr(9, 3) != "200")
        return wrong(fmt::format("the answer is \"{}\"", escape(line.substr(9), shown_max)));
    if (!values_of(head, "Transfer-Encoding").empty())
        return wrong("it answers in chunks, as riposted does not");
    const auto lengths = values_of(head, "Content-Length");
    if (lengths.empty())
        return ended ? HttpAnswer{HttpAnswer::State::complete, body, {}} : HttpAnswer{};
    const std::string_view length_text = lengths.front();
    if (std::ranges::any_of(lengths, [&](std::string_view each) { return each != length_text; }))
        return wrong("it has several lengths (Content-Length)");
    const auto length = parse_length(length_text);
    if (!length)
        return wrong(fmt::format("its Content-Length is \"{}\"", escape(length_text, shown_max)));
    if (body.size() >= *length)
        return {HttpAnswer::State::complete, body.substr(0, *length), {}};
    if (*length > http_answer_bytes_max)
        return wrong(fmt::format("its answer has {} bytes, too many", *length));
    return ended ? wrong(fmt::format("closed after {} of {} bytes", body.size(), *length))
                 : HttpAnswer{};
}

std::string http_host(const Endpoint& endpoint) {
    const std::string host = endpoint.host.substr(0, endpoint.host.find('%'));
    return to_string(Endpoint{.transport = {}, .host = host, .port = endpoint.port});
}

Result<std::string> ask_http(
    int fd, std::string_view name, std::string_view host, uint32_t timeout_ms,
    const EventLoop* loop) {
    const auto failed = [&](std::string_view what) {
        return fail(Exit::failed, fmt::format("{}: {}", name, what));
    };
    const auto broken = [&](int error) {
        return failed(
            error == ETIMEDOUT
                ? fmt::format("no answer after {}; -W waits longer", format_duration(timeout_ms))
                : reason(error));
    };
    const Patience patience{monotonic_ms() + timeout_ms, loop};
    const std::string request = fmt::format(
        "GET /metrics HTTP/1.1\r\nHost: {}\r\nAccept: application/json\r\n"
        "Connection: close\r\n\r\n",
        host);
    // A server that refuses may answer before it has read everything, and then reset: read its
    // answer first.
    const int sent = send_all(fd, request, patience);
    if (sent == ETIMEDOUT || sent == EINTR)
        return broken(sent);
    std::string bytes;
    std::array<char, 16384> chunk{};
    for (;;) {
        const ssize_t size = ::recv(fd, chunk.data(), chunk.size(), 0);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0 && errno == EAGAIN) {
            if (const int error = await_ready(fd, POLLIN, patience); error != 0)
                return broken(error);
            continue;
        }
        if (size < 0)
            return broken(sent != 0 ? sent : errno);
        bytes.append(chunk.data(), static_cast<size_t>(size));
        const HttpAnswer answer = read_http_answer(bytes, size == 0);
        if (answer.state == HttpAnswer::State::complete)
            return std::string(answer.body);
        if (answer.state == HttpAnswer::State::wrong)
            return failed(answer.wrong);
        if (bytes.size() > http_answer_bytes_max)
            return failed("its answer is longer than 1 MiB");
    }
}

} // namespace riposte::client
