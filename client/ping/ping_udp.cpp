// Probes over UDP: a connected socket, so that the kernel reports ICMP errors; with --flows as many
// as there are flows, each with a local port of its own, which take the probes in turn.
//
// A connected socket keeps an ICMP error until the next call on it, whatever that call is, and
// reports it as that call's own. The error queue (IP_RECVERR) keeps each error with the datagram
// that it is about: it alone decides which probe was refused, and a call that fails only triggers
// a read of the queue. A send(2) that returned an older datagram's error has sent nothing:
// it is done again, once, and its second error is its own.
//
// Connecting the socket fails without a route, or where a route of this machine prohibits it. That
// decides the outcome of the probe, and is tried again with the next one.
//
// A probe that is larger than a link's MTU is too big where it may not be sent in fragments: with
// --df, or when the kernel has just learned of that link by this very probe. Routers send such an
// error about once a second (ip_no_pmtu_disc, icmp_ratelimit), so that with --df a probe that is
// silently lost after one has been heard, and is as large, is too big as well.
#include "client/ping/ping_udp.h"

#include "client/net/error_queue.h"
#include "client/net/path_mtu.h"
#include "client/net/receive_room.h"
#include "client/ping/flow_ports.h"
#include "client/show/report.h"
#include "common/clock.h"
#include "common/text.h"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <sys/socket.h>

namespace riposte::client {

namespace {

constexpr int receive_buffer_bytes = 4 << 20; ///< as much of it as the kernel allows
constexpr int datagrams_read_max = 64;  ///< datagrams read at once, before another endpoint's turn
constexpr int errors_in_a_row_max = 64; ///< of a read: more are no ICMP errors, which it takes away

} // namespace

UdpProber::UdpProber(ProberSettings given, EventLoop& its_loop, ProbeListener& its_listener)
    : Prober(std::move(given), its_loop, its_listener), target_(settings().target),
      sockets_(make_sockets()) {}

std::vector<UdpProber::Socket> UdpProber::make_sockets() const {
    std::vector<Socket> sockets(std::max(settings().flows, 1U));
    for (uint64_t flow = 0; flow < sockets.size(); flow++)
        sockets[flow].flow = flow;
    return sockets;
}

/// The sockets of the address before remain until their probes have their outcomes.
Result<void> UdpProber::leave_address() {
    older_ = std::exchange(sockets_, make_sockets());
    older_last_ = result().counts.sent;
    generation_++;
    last_error_ = {};
    path_too_small_.reset();
    return {};
}

Result<Cause> UdpProber::open(Socket& socket) {
    if (socket.fd)
        return Cause{};
    if (socket.port != 0)
        target_ = from_port(settings().target, settings().address.family(), socket.port);
    auto fd = begin_connect(target_, settings().address);
    if (!fd) {
        if (!fd.error().option.empty())
            return std::unexpected(connect_error(target_, std::span(&fd.error(), 1)));
        return cause_of(fd.error());
    }
    enable_receive_stamps(fd->get());
    enable_reply_header(fd->get(), settings().address.family());
    ::setsockopt(
        fd->get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes, sizeof(receive_buffer_bytes));
    const ProberTag tag{
        .endpoint = settings().endpoint, .generation = generation_, .slot = socket.flow};
    if (const int error = loop().add(fd->get(), EPOLLIN, tag.pack()); error != 0)
        return fail(Exit::usage, fmt::format("event loop: {}", reason(error)));
    socket.fd = std::move(*fd);
    socket.datagrams_clock = socket.errors_clock = ArrivalClock();
    return Cause{};
}

Result<void> UdpProber::open_flows() {
    const auto ports = choose_flow_ports(
        settings().target, settings().address.family(), settings().flows,
        [this](const std::string& line) { report_trouble(line); });
    if (!ports)
        return std::unexpected(ports.error());
    for (Socket& socket : sockets_) {
        socket.port = (*ports)[socket.flow];
        if (const auto opened = open(socket); !opened)
            return std::unexpected(opened.error());
    }
    account().set_flows(*ports);
    return {};
}

Result<void> UdpProber::prepare() {
    if (settings().flows > 0)
        return open_flows();
    const Result<Cause> opened = open(sockets_.front());
    return opened ? Result<void>{} : std::unexpected(opened.error());
}

Result<void> UdpProber::send(uint64_t due_ns) {
    const uint64_t next = result().counts.sent + 1; // sequence numbers are consecutive
    if (!older_.empty() && account().oldest_waiting().value_or(next) > older_last_)
        older_.clear();
    const Result<Cause> opened = open(socket_of(next));
    if (!opened)
        return std::unexpected(opened.error());
    const uint64_t sequence = account().send(due_ns, monotonic_ns());
    if (opened->error != 0)
        send_failed(sequence, *opened);
    else
        transmit(sequence);
    return {};
}

void UdpProber::send_failed(uint64_t sequence, const Cause& cause) {
    const Outcome outcome = outcome_of(cause);
    if (outcome == Outcome::local)
        report_not_sent(cause.error);
    failed({.sequence = sequence, .outcome = outcome, .cause = cause});
}

void UdpProber::transmit(uint64_t sequence) {
    Socket& socket = socket_of(sequence);
    for (bool again = false;; again = true) {
        const std::span<const std::byte> bytes = payload(sequence);
        if (::send(socket.fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) >= 0)
            return;
        const int error = errno;
        if (!again && shortage_of(error) == Shortage::none) {
            read_errors(socket);
            continue;
        }
        // Another datagram's, once more: it says the same of this one.
        Cause cause = last_error_.error == error ? last_error_ : cause_of(error);
        if (error == EMSGSIZE) {
            link_mtu_ = 0;
            read_errors(socket); // of this call, with the MTU
            if (link_mtu_ != 0)
                cause = {.kind = CauseKind::local, .error = error, .mtu = link_mtu_};
        }
        send_failed(sequence, cause);
        return;
    }
}

Result<void> UdpProber::ready(ProberTag tag, uint32_t events) {
    constexpr uint64_t generations = uint64_t{1} << ProberTag::generation_bits;
    std::vector<Socket>& sockets = tag.generation == generation_ % generations ? sockets_ : older_;
    if (tag.slot >= sockets.size() || !sockets[tag.slot].fd)
        return {};
    Socket& socket = sockets[tag.slot];
    if ((events & EPOLLERR) != 0) {
        read_errors(socket);
        // An error that outlives its place in the queue would end every wait at once.
        int error = 0;
        socklen_t size = sizeof(error);
        ::getsockopt(socket.fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    }
    if ((events & EPOLLIN) != 0)
        receive(socket, 0);
    return {};
}

/// Reads what has arrived: everything until `until_ns`, however much it is, and some of the rest.
void UdpProber::receive(Socket& socket, uint64_t until_ns) {
    ReceiveTime received;
    for (int i = 0; i < datagrams_read_max || received.ns <= until_ns; i++)
        if (!receive_one(socket, received))
            return;
}

/// False: there is none.
bool UdpProber::receive_one(Socket& socket, ReceiveTime& received) {
    for (int errors = 0; errors < errors_in_a_row_max; errors++) {
        ReplyHeader header;
        const std::span<std::byte> room = receive_room();
        const ssize_t size =
            receive_stamped(socket.fd.get(), room, socket.datagrams_clock, received, &header);
        if (size >= 0) {
            const std::span bytes = room.first(static_cast<size_t>(size));
            if (const auto arrival = take(bytes, received, header))
                arrived(*arrival, received.clock);
            return true;
        }
        if (size == -EAGAIN)
            return false;
        read_errors(socket);
    }
    return false;
}

std::optional<ProbeOutcome> UdpProber::take(
    std::span<const std::byte> bytes, ReceiveTime received, const ReplyHeader& header) {
    ProbeOutcome arrival = account().datagram(bytes, received.ns);
    arrival.header = header;
    if (arrival.sequence != 0)
        account().note_header(header);
    return arrival;
}

int UdpProber::send_aside(std::span<const std::byte> bytes) {
    const Socket& socket = sockets_.front();
    if (!socket.fd)
        return ENOTCONN;
    const ssize_t sent = ::send(socket.fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    return sent < 0 ? errno : 0;
}

/// Empties the error queue. Bounded, too: more than that is left for the next turn.
void UdpProber::read_errors(Socket& socket) {
    for (int i = 0; i < datagrams_read_max; i++)
        if (!read_error(socket))
            return;
}

/// False: there is none.
bool UdpProber::read_error(Socket& socket) {
    const std::span<std::byte> room = receive_room();
    const auto queued = take_queued_message(socket.fd.get(), room);
    if (!queued) {
        socket.errors_clock.found_empty();
        return false;
    }
    const ReceiveTime received = socket.errors_clock.take(queued->stamp_ns);
    const Cause& cause = queued->cause;
    if (cause.error == EMSGSIZE && cause.kind == CauseKind::local)
        link_mtu_ = cause.mtu;
    if (cause.error == 0 || cause.kind == CauseKind::local)
        return true;
    last_error_ = cause;
    if (cause.error == EMSGSIZE)
        path_too_small_ = cause;
    // A router may quote as little as the UDP header.
    auto sequence = quoted(room.first(queued->quoted_bytes));
    if (!sequence && queued->quoted_bytes < probe_header_bytes)
        sequence = account().oldest_waiting(socket.flow, sockets_.size());
    if (!sequence)
        return true;
    const uint64_t sent_ns = account().sent_ns(*sequence);
    failed(
        {.sequence = *sequence,
         .outcome = outcome_of(cause),
         .cause = cause,
         .took_ns = received.ns - std::min(sent_ns, received.ns)},
        received);
    return true;
}

const UdpProber::Socket* UdpProber::any_open() const {
    const auto found =
        std::ranges::find_if(sockets_, [](const Socket& socket) { return bool(socket.fd); });
    return found == sockets_.end() ? nullptr : &*found;
}

/// With --df: has a router reported that it does not forward packets of this size?
bool UdpProber::is_known_too_big() const {
    const Socket* const socket = any_open();
    return settings().target.path.df && path_too_small_ && socket != nullptr &&
           packet_bytes(
               socket->fd.get(), settings().address.family(), settings().ping.payload_bytes) >
               path_too_small_->mtu;
}

/// Everything that arrived until `now_ns`. The error queue has room for no more than the socket's
/// buffer.
void UdpProber::read_waiting(uint64_t now_ns) {
    for (std::vector<Socket>* const sockets : {&sockets_, &older_})
        for (Socket& socket : *sockets) {
            if (!socket.fd)
                continue;
            while (account().oldest_waiting() && read_error(socket)) {
            }
            receive(socket, now_ns);
        }
}

void UdpProber::give_up_expired(uint64_t now_ns) {
    while (is_known_too_big() && path_too_small_ && next_expiry_ns() <= now_ns) {
        const auto oldest = account().oldest_waiting();
        if (!oldest)
            break;
        failed({.sequence = *oldest, .outcome = Outcome::too_big, .cause = *path_too_small_});
    }
    while (const auto sequence = account().expire(now_ns))
        give_up({.sequence = *sequence});
}

Result<void> UdpProber::expire(uint64_t now_ns) {
    if (next_expiry_ns() > now_ns)
        return {};
    read_waiting(now_ns);
    give_up_expired(now_ns);
    return {};
}

void UdpProber::update() {
    const Socket* const socket = any_open();
    if (socket == nullptr)
        return;
    const int fd = socket->fd.get();
    const int family = settings().address.family();
    const auto mtu = path_mtu(fd, family);
    const uint64_t bytes = packet_bytes(fd, family, settings().ping.payload_bytes);
    account().set_path(
        mtu, !settings().target.path.df && mtu && bytes > *mtu && result().counts.sent > 0);
}

void UdpProber::finish() {
    if (!account().oldest_waiting())
        return;
    const uint64_t now_ns = monotonic_ns();
    read_waiting(now_ns);
    give_up_expired(now_ns);
}

std::unique_ptr<Prober> make_udp_prober(
    ProberSettings settings, EventLoop& loop, ProbeListener& listener) {
    return std::make_unique<UdpProber>(std::move(settings), loop, listener);
}

} // namespace riposte::client
