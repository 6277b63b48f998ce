#include "client/throughput/tcp_stream.h"

#include <fstream>
#include <optional>
#include <utility>

#include <sys/epoll.h>
#include <sys/socket.h>

namespace riposte::client {

namespace {

/// Of the window that a receive buffer can offer: the rest is the kernel's own.
constexpr double window_share = 0.5;
/// In flight in a round trip, as a share of the window: the window holds the sender back.
constexpr double limited_share = 0.8;

/// To what the kernel lets a receive buffer grow, in bytes (tcp(7), tcp_rmem); 0: not known.
uint64_t receive_buffer_max() {
    std::ifstream file("/proc/sys/net/ipv4/tcp_rmem");
    uint64_t least = 0;
    uint64_t usual = 0;
    uint64_t most = 0;
    file >> least >> usual >> most;
    return most;
}

} // namespace

DownloadStream::DownloadStream(StreamSetup given, EventLoop& its_loop, StreamResult& its_result)
    : TcpStream(std::move(given), its_loop, its_result) {}

void DownloadStream::start(uint64_t now_ns) {
    received_before_ = sample().bytes;
    TcpStream::start(now_ns);
}

uint32_t DownloadStream::wanted_events() const {
    return EPOLLIN | EPOLLRDHUP;
}

void DownloadStream::handle(uint32_t index, uint32_t /*events*/) {
    Connection& connection = connections()[index];
    if (connection.state == State::open)
        discard(connection, received_);
}

/// The sender's retransmissions are not to be seen from here.
RateSample DownloadStream::sample() {
    for (Connection& connection : connections())
        if (connection.state == State::open)
            discard(connection, received_);
    return {.bytes = received_, .retransmits = 0};
}

bool DownloadStream::is_over() const {
    const std::optional<uint64_t> bytes = setup().bytes;
    return open_connections() == 0 || (bytes && received_ >= received_before_ + *bytes);
}

/// A connection whose window is as large as it may be, and full: the path could carry more.
void DownloadStream::note_receive_buffer() {
    const uint64_t most = receive_buffer_max();
    if (most == 0 || result().rtt.empty() || result().elapsed_ns == 0)
        return;
    const double rate = result().rate() / 8 / setup().connections;
    const double in_flight = rate * static_cast<double>(result().rtt.percentile_ns(50)) / 1e9;
    for (const Connection& connection : connections()) {
        int bytes = 0;
        socklen_t size = sizeof(bytes);
        if (connection.state != State::open ||
            ::getsockopt(connection.fd, SOL_SOCKET, SO_RCVBUF, &bytes, &size) < 0 ||
            static_cast<uint64_t>(bytes) < most)
            continue;
        if (in_flight >= limited_share * window_share * bytes)
            result().full_receive_buffer = most;
    }
}

void DownloadStream::finish() {
    note_receive_buffer();
    TcpStream::finish();
}

void DownloadStream::note_end(Connection& /*connection*/, const TcpReading& reading) {
    result().out_of_order += reading.out_of_order;
}

} // namespace riposte::client
