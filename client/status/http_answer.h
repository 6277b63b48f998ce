// One HTTP/1.1 request for the status document, and its answer, bounded in time and size: the
// daemon speaks HTTP (RFC 9112) with `Connection: close`, so that an answer ends with its
// connection or with its Content-Length, whichever comes first.
#pragma once

#include "client/net/event_loop.h"
#include "common/endpoint.h"
#include "common/error.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace riposte::client {

/// Of head and body together.
inline constexpr size_t http_answer_bytes_max = size_t{1} << 20;

/// The body of an answer that is 200 and whole; else why not, in a line. `ended`: nothing more
/// comes. Pure.
struct HttpAnswer {
    enum class State : uint8_t { incomplete, complete, wrong } state = State::incomplete;
    std::string_view body{}; ///< of a complete one; lies in `bytes`
    std::string wrong{};     ///< "503 Service Unavailable", "it is no HTTP: \"SSH-2.0\""
};
HttpAnswer read_http_answer(std::string_view bytes, bool ended);

/// What names the server to itself, in the field Host (RFC 9110, section 7.2): "[::1]:9701". A zone
/// names an interface of this machine, and is not sent (RFC 6874, section 4).
std::string http_host(const Endpoint& endpoint);

/// Asks on a connected, non-blocking stream socket; the body. `name` is for errors (Exit::failed).
/// An interrupt of `loop`, if there is one, ends the waiting with an error.
Result<std::string> ask_http(
    int fd, std::string_view name, std::string_view host, uint32_t timeout_ms,
    const EventLoop* loop);

} // namespace riposte::client
