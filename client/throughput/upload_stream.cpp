#include "client/throughput/tcp_stream.h"
#include "common/clock.h"
#include "common/text.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

namespace riposte::client {

namespace {

constexpr uint32_t input_events = EPOLLIN | EPOLLRDHUP;
constexpr uint32_t end_events = EPOLLRDHUP | EPOLLHUP | EPOLLERR;
/// Written to a socket before another one has its turn.
constexpr uint64_t turn_bytes_max = 1 << 20;
constexpr uint64_t acknowledged_look_ns = 1'000'000;

/// A file in memory of that size, with bytes that no path compresses well. Not a valid descriptor,
/// with errno, if this machine has no room for it.
Fd make_pages(size_t bytes) {
    Fd file(::memfd_create("riposte-upload", MFD_CLOEXEC));
    std::array<uint64_t, 8192> block{};
    uint64_t state = 0x9e3779b97f4a7c15;
    for (size_t done = 0; file && done < bytes;) {
        for (uint64_t& word : block) { // xorshift64
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word = state;
        }
        const ssize_t size =
            ::write(file.get(), block.data(), std::min(sizeof(block), bytes - done));
        if (size <= 0)
            return {};
        done += static_cast<size_t>(size);
    }
    return file;
}

} // namespace

UploadStream::UploadStream(StreamSetup given, EventLoop& its_loop, StreamResult& its_result)
    : TcpStream(std::move(given), its_loop, its_result), left_(setup().bytes.value_or(UINT64_MAX)) {
}

Result<void> UploadStream::open() {
    pages_ = make_pages(setup().chunk_bytes);
    if (!pages_)
        return fail(
            Exit::usage, fmt::format(
                             "no memory for a write of {} bytes: {}; choose a smaller -s",
                             setup().chunk_bytes, errno_text(errno)));
    if (auto opened = TcpStream::open(); !opened)
        return opened;
    for (const Connection& connection : connections())
        pace(connection.fd);
    return {};
}

/// --bitrate: TCP itself spreads its segments evenly at the connection's share.
void UploadStream::pace(int fd) const {
    const std::optional<double> bitrate = setup().bitrate;
    if (!bitrate)
        return;
    const double share = *bitrate / 8 / setup().connections;
    const auto bytes_per_second = std::max<uint64_t>(1, static_cast<uint64_t>(share));
    ::setsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &bytes_per_second, sizeof(bytes_per_second));
}

void UploadStream::start(uint64_t now_ns) {
    TcpStream::start(now_ns);
    for (Connection& connection : connections())
        if (connection.state == State::open)
            write(connection);
}

uint32_t UploadStream::wanted_events() const {
    return is_written() ? input_events : input_events | EPOLLOUT;
}

void UploadStream::handle(uint32_t index, uint32_t events) {
    Connection& connection = connections()[index];
    if (connection.state != State::open)
        return;
    if ((events & (EPOLLIN | end_events)) != 0 && !discard(connection, result().returned))
        return;
    if ((events & EPOLLOUT) != 0)
        write(connection);
}

void UploadStream::write(Connection& connection) {
    for (uint64_t turn = 0; turn < turn_bytes_max && !is_written();) {
        off_t offset = 0;
        const uint64_t wanted = std::min<uint64_t>(setup().chunk_bytes, left_);
        const ssize_t size = ::sendfile(connection.fd, pages_.get(), &offset, wanted);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0) {
            if (errno != EAGAIN)
                end(connection, errno);
            return;
        }
        const auto bytes = static_cast<uint64_t>(size);
        turn += bytes;
        written_ += bytes;
        if (left_ != UINT64_MAX)
            left_ -= bytes;
        if (bytes < wanted)
            return;
    }
    if (is_written()) {
        for (Connection& each : connections())
            if (each.state == State::open)
                watch(each, wanted_events());
        next_look_ns_ = monotonic_ns();
    }
}

void UploadStream::pump(uint64_t now_ns) {
    if (now_ns < next_look_ns_)
        return;
    sample();
    next_look_ns_ = now_ns + acknowledged_look_ns;
}

RateSample UploadStream::sample() {
    RateSample sum = ended_;
    for (Connection& connection : connections()) {
        if (connection.state != State::open)
            continue;
        if (const auto reading = read_tcp_info(connection.fd)) {
            connection.acked =
                std::max(connection.acked, reading->bytes_acked - connection.acked_before);
            connection.retransmits = std::max(connection.retransmits, reading->retransmits);
        }
        sum.bytes += connection.acked;
        sum.retransmits += connection.retransmits;
    }
    return sampled_ = sum;
}

bool UploadStream::is_over() const {
    return open_connections() == 0 || (is_written() && sampled_.bytes >= written_);
}

void UploadStream::note_limits(const TcpReading& reading) {
    result().busy_ns += reading.busy_ns;
    result().peer_limited_ns += reading.peer_limited_ns;
    result().buffer_limited_ns += reading.buffer_limited_ns;
}

/// What it acknowledged stays counted.
void UploadStream::note_end(Connection& connection, const TcpReading& reading) {
    connection.acked = std::max(connection.acked, reading.bytes_acked - connection.acked_before);
    connection.retransmits = std::max(connection.retransmits, reading.retransmits);
    ended_.bytes += connection.acked;
    ended_.retransmits += connection.retransmits;
    note_limits(reading);
}

void UploadStream::finish() {
    for (const Connection& connection : connections())
        if (connection.state == State::open)
            if (const auto reading = read_tcp_info(connection.fd))
                result().delivery_rate += reading->delivery_rate;
    TcpStream::finish();
    result().unacknowledged = written_ - std::min(written_, ended_.bytes);
}

} // namespace riposte::client
