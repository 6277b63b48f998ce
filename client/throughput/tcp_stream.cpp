// What both directions have in common: connecting, the end of a connection, the kernel's readings.
#include "client/throughput/tcp_stream.h"

#include "common/clock.h"

#include <cassert>
#include <cerrno>
#include <utility>

#include <fmt/format.h>
#include <linux/sockios.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

namespace riposte::client {

namespace {

constexpr uint32_t connecting_max = 256; ///< at once: a listener's backlog takes as many
constexpr uint64_t look_ns = 50'000'000; ///< how often connecting is checked for its timeout
/// Of a read. The kernel throws away what it has, so that no buffer has to be as large.
constexpr size_t discard_bytes_max = 16 << 20;

} // namespace

TcpStream::TcpStream(StreamSetup given, EventLoop& its_loop, StreamResult& its_result)
    : Stream(std::move(given), its_loop, its_result), connections_(setup().connections) {}

TcpStream::~TcpStream() {
    for (const Connection& connection : connections_)
        if (connection.fd >= 0)
            ::close(connection.fd);
}

// ---- Connecting.

std::optional<Failure> TcpStream::begin(Connection& connection) {
    connection.started_ns = monotonic_ns();
    auto fd = begin_connect(setup().target, setup().address);
    if (!fd)
        return fd.error();
    const auto index = static_cast<uint32_t>(&connection - connections_.data());
    const uint64_t tag = StreamTag::pack(setup().number, index);
    // No input before the start: it would be an event in every turn.
    if (const int error = loop().add(fd->get(), EPOLLOUT, tag); error != 0)
        return Failure{.address = setup().address, .error = error};
    connection.fd = fd->release();
    connection.state = State::connecting;
    connection.watched = EPOLLOUT;
    return std::nullopt;
}

/// The connection is open, still connecting, or why not.
std::optional<Failure> TcpStream::try_finish(Connection& connection) {
    const Cause cause = finish_connect(connection.fd, setup().address);
    if (cause.error == EINPROGRESS)
        return std::nullopt;
    const uint64_t took_ns = monotonic_ns() - connection.started_ns;
    if (cause.error != 0) {
        close(connection);
        return Failure{
            .address = setup().address,
            .error = cause.error,
            .heard = true,
            .cause = cause,
            .took_ns = took_ns};
    }
    connection.state = State::open;
    open_++;
    watch(connection, 0);
    result().tcp.note_connected(connection.fd, took_ns);
    if (const auto reading = read_tcp_info(connection.fd))
        connection.acked_before = reading->bytes_acked;
    return std::nullopt;
}

Result<void> TcpStream::fail_opening(const Failure& failure) {
    Error error = connect_error(setup().target, {&failure, 1});
    if (open_ > 0)
        error.message +=
            fmt::format(" ({} of {} connections were open)", open_, setup().connections);
    return std::unexpected(std::move(error));
}

Result<void> TcpStream::open() {
    uint32_t begun = 0;
    uint64_t deadline_ns = monotonic_ns() + setup().timeout_ns;
    while (open_ < setup().connections) {
        while (begun < setup().connections && begun - open_ < connecting_max)
            if (const auto failure = begin(connections_[begun++]))
                return fail_opening(*failure);
        const uint32_t open_before = open_;
        for (const epoll_event& event : loop().wait(monotonic_ns() + look_ns)) {
            if (StreamTag::stream(event.data.u64) != setup().number)
                continue;
            Connection& connection = connections_[StreamTag::index(event.data.u64)];
            if (connection.state != State::connecting)
                continue;
            if (const auto failure = try_finish(connection))
                return fail_opening(*failure);
        }
        if (loop().interrupted())
            return fail(Exit::failed, "interrupted before anything was measured");
        const uint64_t now = monotonic_ns();
        if (open_ > open_before)
            deadline_ns = now + setup().timeout_ns;
        else if (now >= deadline_ns)
            return fail_opening(
                {.address = setup().address,
                 .error = ETIMEDOUT,
                 .waited_ms = setup().target.timeout_ms});
    }
    return {};
}

void TcpStream::start(uint64_t /*now_ns*/) {
    for (Connection& connection : connections_)
        if (connection.state == State::open)
            watch(connection, wanted_events());
}

void TcpStream::watch(Connection& connection, uint32_t events) {
    if (connection.watched == events || connection.fd < 0)
        return;
    const auto index = static_cast<uint32_t>(&connection - connections_.data());
    loop().modify(connection.fd, events, StreamTag::pack(setup().number, index));
    connection.watched = events;
}

// ---- Reading, and the end.

bool TcpStream::discard(Connection& connection, uint64_t& received) {
    const ssize_t size = ::recv(connection.fd, nullptr, discard_bytes_max, MSG_TRUNC);
    if (size > 0) {
        received += static_cast<uint64_t>(size);
        return true;
    }
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    end(connection, size < 0 ? errno : 0);
    return false;
}

/// The peer or the network ended it; `error` 0: the peer closed it.
void TcpStream::end(Connection& connection, int error) {
    assert(connection.state == State::open);
    const auto reading = read_tcp_info(connection.fd);
    if (reading)
        note_end(connection, *reading);
    result().ended++;
    // After a reset, sendfile(2) returns what it sent before, and the next call only EPIPE, or
    // recv(2) the end of the stream: this end never shuts its side down.
    const bool is_reset = error == EPIPE || (error == 0 && reading && reading->is_closed);
    const int cause = is_reset ? ECONNRESET : error;
    result().causes.note(cause_of_end(cause, setup().address));
    close(connection);
}

void TcpStream::close(Connection& connection) {
    if (connection.state == State::open)
        open_--;
    result().tcp.add_socket(connection.fd, connection.state == State::open);
    ::close(connection.fd);
    connection.fd = -1;
    connection.state = State::closed;
}

/// One connection each time, in turn.
void TcpStream::observe() {
    for (size_t tried = 0; tried < connections_.size(); tried++) {
        const Connection& connection = connections_[observed_];
        observed_ = observed_ + 1 < connections_.size() ? observed_ + 1 : 0;
        if (connection.state != State::open)
            continue;
        const auto reading = read_tcp_info(connection.fd);
        if (const uint64_t ns = reading ? round_trip_ns(*reading) : 0; ns > 0)
            result().rtt.record(ns);
        return;
    }
}

/// What is still in a send buffer is thrown away with its connection: it would load the path long
/// after the run.
void TcpStream::finish() {
    for (Connection& connection : connections_) {
        if (connection.state != State::open)
            continue;
        if (const auto reading = read_tcp_info(connection.fd))
            note_end(connection, *reading);
        int unacknowledged = 0;
        const linger abort{.l_onoff = 1, .l_linger = 0};
        if (::ioctl(connection.fd, SIOCOUTQ, &unacknowledged) == 0 && unacknowledged > 0)
            ::setsockopt(connection.fd, SOL_SOCKET, SO_LINGER, &abort, sizeof(abort));
        close(connection);
    }
}

} // namespace riposte::client
