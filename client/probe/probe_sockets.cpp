#include "client/probe/probe_sockets.h"

#include "client/measure/outcome.h"
#include "client/net/error_queue.h"
#include "client/net/local_port.h"
#include "client/net/path_shape.h"
#include "client/net/receive_room.h"
#include "client/probe/send_alone.h"
#include "common/clock.h"
#include "common/text.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace riposte::client {

namespace {

constexpr int receive_buffer_bytes = 4 << 20; ///< as much of it as the kernel allows
constexpr size_t room_bytes_min = 512;
constexpr size_t errors_read_max = 65'536; ///< of a socket in a row: more than its buffer holds
constexpr size_t failures_max = 64;        ///< of a read: more are no errors of the network
constexpr size_t batches_max = 1024;       ///< read from a socket in a row
constexpr uint64_t late_batch_ns = 1'000'000;
constexpr size_t control_bytes =
    CMSG_SPACE(sizeof(scm_timestamping)) + CMSG_SPACE(sizeof(uint32_t));

size_t index_of(int family) {
    return family == AF_INET6 ? 1 : 0;
}

Outcome outcome_of_sending(int error) {
    return outcome_of(cause_of(error));
}

} // namespace

ProbeSockets::ProbeSockets(EventLoop ready, const ProbeSocketSettings& settings, Fleet& fleet)
    : ready_(std::move(ready)), fleet_(&fleet), payload_bytes_(settings.payload_bytes),
      ports_(settings.source_ports.empty() ? own_source_ports : settings.source_ports.size()),
      batch_bytes_(batch_max * payload_bytes_),
      room_(read_at_once * std::max(payload_bytes_ + 1, room_bytes_min)) {
    batch_.reserve(batch_max);
}

Result<ProbeSockets> ProbeSockets::open(const ProbeSocketSettings& settings, Fleet& fleet) {
    auto ready = EventLoop::open_without_signals();
    if (!ready)
        return std::unexpected(ready.error());
    ProbeSockets sockets(std::move(*ready), settings, fleet);
    for (const int family : {AF_INET, AF_INET6})
        if (auto opened = sockets.open_family(family, settings); !opened)
            return std::unexpected(opened.error());
    if (sockets.sockets_.empty())
        return fail(Exit::usage, "this machine has neither IPv4 nor IPv6");
    return sockets;
}

Result<void> ProbeSockets::open_family(int family, const ProbeSocketSettings& settings) {
    const int on = 1;
    first_[index_of(family)] = sockets_.size();
    PathOptions path;
    path.dscp = settings.dscp;
    for (size_t port = 0; port < ports_; port++) {
        Fd fd(::socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        if (!fd && errno == EAFNOSUPPORT)
            return {};
        if (!fd)
            return fail(Exit::usage, fmt::format("a socket for probes: {}", errno_text(errno)));
        if (family == AF_INET6)
            ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
        if (const auto refused = shape_path(fd.get(), family, false, path, {}))
            return fail(Exit::usage, describe(*refused, path));
        const SocketAddress local = with_port(
            any_address(family), settings.source_ports.empty() ? 0 : settings.source_ports[port]);
        if (::bind(fd.get(), local.get(), local.size) < 0) {
            if (family == AF_INET6 && errno == EADDRNOTAVAIL) // IPv6 is switched off
                return {};
            return fail(
                Exit::usage, fmt::format(
                                 "source port {}: {}; choose other [paths] source_ports (`ss -anu "
                                 "sport = {}` shows whose it is)",
                                 local.port(), reason(errno), local.port()));
        }
        set_error_queue(fd.get(), family, true);
        enable_receive_stamps(fd.get());
        ::setsockopt(fd.get(), SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof(on));
        ::setsockopt(
            fd.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes, sizeof(receive_buffer_bytes));
        if (const int error = ready_.add(fd.get(), EPOLLIN, sockets_.size()); error != 0)
            return fail(Exit::usage, fmt::format("event loop: {}", errno_text(error)));
        sockets_.push_back({.fd = std::move(fd)});
    }
    has_[index_of(family)] = true;
    return {};
}

void ProbeSockets::send(Fleet::Slot slot, size_t port, uint64_t due_ns) {
    const SocketAddress& to = fleet_->address(slot);
    const size_t family = index_of(to.family());
    const size_t socket = first_[family] + port;
    if (!batch_.empty() && (batch_socket_ != socket || batch_.size() == batch_max))
        flush();
    if (batch_.empty()) {
        batch_socket_ = socket;
        batch_ns_ = monotonic_ns();
    }
    const uint64_t sequence = fleet_->send(slot, batch_ns_, batch_bytes(batch_.size()));
    if (!has_[family]) {
        fleet_->note_leaving(due_ns, batch_ns_);
        fleet_->decide(slot, sequence, outcome_of_sending(EAFNOSUPPORT));
        return;
    }
    batch_.push_back({.slot = slot, .sequence = sequence, .due_ns = due_ns, .to = &to});
}

void ProbeSockets::give_up(size_t at, int error) {
    fleet_->decide(batch_[at].slot, batch_[at].sequence, outcome_of_sending(error));
}

/// One of the batch, by itself: 0 or errno.
int ProbeSockets::send_again(size_t at) {
    const std::span<const std::byte> bytes = batch_bytes(at);
    const ssize_t size = ::sendto(
        sockets_[batch_socket_].fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL,
        batch_[at].to->get(), batch_[at].to->size);
    return size < 0 ? errno : 0;
}

void ProbeSockets::flush() {
    std::array<mmsghdr, batch_max> messages{};
    std::array<iovec, batch_max> bytes{};
    for (size_t at = 0; at < batch_.size(); at++) {
        bytes[at] = {.iov_base = batch_bytes(at).data(), .iov_len = payload_bytes_};
        messages[at].msg_hdr.msg_name = const_cast<sockaddr*>(batch_[at].to->get());
        messages[at].msg_hdr.msg_namelen = batch_[at].to->size;
        messages[at].msg_hdr.msg_iov = &bytes[at];
        messages[at].msg_hdr.msg_iovlen = 1;
    }
    for (size_t at = 0; at < batch_.size();) {
        Socket& socket = sockets_[batch_socket_];
        const int sent = ::sendmmsg(
            socket.fd.get(), &messages[at], static_cast<unsigned>(batch_.size() - at),
            MSG_NOSIGNAL);
        if (sent > 0) {
            at += static_cast<size_t>(sent);
            continue;
        }
        int error = errno;
        if (shortage_of(error) == Shortage::none) {
            read_errors(socket);
            error = send_alone([&] { return send_again(at); }, [&] { return read_errors(socket); });
        }
        if (error != 0)
            give_up(at, error);
        at++;
    }
    // Sending takes far less; more than that is time in which this process did not run.
    const uint64_t left_ns = monotonic_ns();
    const bool was_held_up = left_ns - batch_ns_ > late_batch_ns;
    for (const Sent& each : batch_)
        fleet_->note_leaving(each.due_ns, was_held_up ? left_ns : batch_ns_);
    batch_.clear();
}

Clocks ProbeSockets::read(Clocks empty) {
    const Clocks before = read_clocks(); // what comes later may stay
    bool all_read = true;
    for (const epoll_event& event : ready_.wait(0)) {
        Socket& socket = sockets_[event.data.u64];
        if ((event.events & EPOLLERR) != 0) {
            read_errors(socket);
            // An error that outlives its place in the queue would show the socket forever.
            int error = 0;
            socklen_t size = sizeof(error);
            ::getsockopt(socket.fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
        }
        if ((event.events & EPOLLIN) != 0)
            all_read = read_datagrams(socket, empty, before.monotonic_ns) && all_read;
    }
    return all_read ? before : empty;
}

/// True: nothing that came until `until_ns` is left.
bool ProbeSockets::read_datagrams(Socket& socket, Clocks empty, uint64_t until_ns) {
    const size_t each = room_.size() / read_at_once;
    size_t failures = 0;
    for (size_t batch = 0; batch < batches_max && failures < failures_max; batch++) {
        std::array<mmsghdr, read_at_once> messages{};
        std::array<iovec, read_at_once> bytes{};
        std::array<SocketAddress, read_at_once> from{};
        alignas(cmsghdr) std::array<std::array<std::byte, control_bytes>, read_at_once> control;
        for (size_t at = 0; at < read_at_once; at++) {
            bytes[at] = {.iov_base = &room_[at * each], .iov_len = each};
            messages[at].msg_hdr.msg_name = from[at].get();
            messages[at].msg_hdr.msg_namelen = sizeof(from[at].storage);
            messages[at].msg_hdr.msg_iov = &bytes[at];
            messages[at].msg_hdr.msg_iovlen = 1;
            messages[at].msg_hdr.msg_control = control[at].data();
            messages[at].msg_hdr.msg_controllen = control[at].size();
        }
        const int count =
            ::recvmmsg(socket.fd.get(), messages.data(), read_at_once, MSG_DONTWAIT, nullptr);
        if (count < 0 && errno != EAGAIN && errno != EINTR) {
            read_errors(socket); // it was one of the network's
            failures++;
            continue;
        }
        if (count <= 0)
            return true;
        const Clocks now = read_clocks();
        uint64_t latest_ns = 0;
        for (size_t at = 0; at < static_cast<size_t>(count); at++) {
            from[at].size = messages[at].msg_hdr.msg_namelen;
            const ReceiveTime received =
                receive_time(find_receive_stamp(messages[at].msg_hdr), empty, now);
            if (received.clock == ReceiveClock::kernel)
                latest_ns = received.ns;
            note_dropped(socket, messages[at].msg_hdr);
            fleet_->arrived(
                from[at], std::span(room_).subspan(at * each, messages[at].msg_len), received.ns);
        }
        if (latest_ns > until_ns)
            return true;
    }
    return failures == failures_max; // then it never will be
}

void ProbeSockets::note_dropped(Socket& socket, const msghdr& message) {
    auto* header = const_cast<msghdr*>(&message); // CMSG_NXTHDR wants it so
    for (cmsghdr* part = CMSG_FIRSTHDR(header); part != nullptr; part = CMSG_NXTHDR(header, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SO_RXQ_OVFL)
            continue;
        uint32_t dropped = 0;
        std::memcpy(&dropped, CMSG_DATA(part), sizeof(dropped));
        overflow_ += dropped - socket.dropped;
        socket.dropped = dropped;
    }
}

/// How many the network reported.
size_t ProbeSockets::read_errors(Socket& socket) {
    size_t reported = 0;
    for (size_t i = 0; i < errors_read_max; i++) {
        const std::span<std::byte> room = receive_room();
        const auto queued = take_queued_message(socket.fd.get(), room);
        if (!queued)
            break;
        if (queued->cause.error == 0 || queued->cause.kind == CauseKind::local)
            continue;
        reported++;
        fleet_->failed(queued->to, room.first(queued->quoted_bytes), outcome_of(queued->cause));
    }
    return reported;
}

} // namespace riposte::client
