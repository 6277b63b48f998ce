#include "client/net/connect_time.h"

#include "client/measure/outcome.h"

#include <algorithm>

#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

namespace riposte::client {

namespace {

/// The kernel knows to a tick (of 4 or 10 ms) when the peer last acknowledged: times older than a
/// few ticks are taken from there.
constexpr uint64_t ticks_ns = 50'000'000;

} // namespace

uint64_t connected_ns(int fd, uint64_t began_ns, uint64_t now_ns) {
    if (now_ns - began_ns < ticks_ns)
        return now_ns;
    tcp_info info{};
    socklen_t size = sizeof(info);
    if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0)
        return now_ns;
    const uint64_t ago_ns = uint64_t{info.tcpi_last_ack_recv} * 1'000'000;
    return ago_ns < ticks_ns ? now_ns : now_ns - std::min(ago_ns, now_ns - began_ns);
}

bool is_decided(int fd) {
    pollfd wait{.fd = fd, .events = POLLOUT, .revents = 0};
    return ::poll(&wait, 1, 0) > 0;
}

std::string_view connect_advice(int error, const PathOptions& path) {
    switch (shortage_of(error)) {
    case Shortage::descriptors:
        return "; choose a longer -i or a shorter -W, or raise ulimit -n";
    case Shortage::ports:
        if (path.source_port != 0)
            return "; another connection to this peer has that local port, or had it just now: "
                   "choose "
                   "others with --source ADDR:PORT";
        return "; no local port is left: choose a longer -i";
    case Shortage::buffers:
    case Shortage::none:
        break;
    }
    return "";
}

} // namespace riposte::client
