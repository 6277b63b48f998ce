#include "client/load/load_udp.h"

#include "client/net/error_queue.h"
#include "client/net/path_mtu.h"
#include "common/clock.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <random>

#include <fmt/format.h>
#include <linux/sock_diag.h>

namespace riposte::client {

namespace {

constexpr size_t batch_max = 64;            ///< messages a system call
constexpr size_t batch_bytes_max = 1 << 20; ///< held for each direction
constexpr size_t overhead_bytes = 1280;     ///< what the kernel counts besides a small payload
constexpr uint64_t depths_max = 4; ///< from the oldest request of a socket to the newest, at least

size_t batch_size(size_t message_bytes) {
    return std::clamp<size_t>(batch_bytes_max / message_bytes, 1, batch_max);
}

/// Room for all that can be on the way of one socket, as far as the system allows it: what is
/// dropped here is no loss of the network's.
void enlarge_buffers(int fd, uint64_t bytes) {
    const int wanted = static_cast<int>(std::min<uint64_t>(bytes, 1 << 28));
    for (const int name : {SO_RCVBUF, SO_SNDBUF}) {
        int size = 0;
        socklen_t length = sizeof(size);
        if (::getsockopt(fd, SOL_SOCKET, name, &size, &length) == 0 && size < wanted)
            ::setsockopt(fd, SOL_SOCKET, name, &wanted, sizeof(wanted));
    }
}

/// Datagrams that came and found no room in the socket's buffer.
uint64_t dropped_by(int fd) {
    std::array<uint32_t, SK_MEMINFO_VARS> memory{};
    socklen_t size = sizeof(memory);
    if (::getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory.data(), &size) != 0)
        return 0;
    return memory[SK_MEMINFO_DROPS];
}

} // namespace

UdpLoad::Batch::Batch(size_t bytes_each, size_t messages)
    : message_bytes(bytes_each), bytes(bytes_each * messages), pieces(messages), headers(messages) {
    for (size_t i = 0; i < messages; i++) {
        pieces[i] = {.iov_base = message(i).data(), .iov_len = message_bytes};
        headers[i].msg_hdr.msg_iov = &pieces[i];
        headers[i].msg_hdr.msg_iovlen = 1;
    }
}

// A byte more than an answer has: a longer one shows.
UdpLoad::UdpLoad(const LoadContext& context)
    : LoadEngine(context), stamping_(hold_receive_stamps()),
      shape_{
          .request_bytes = setup.request_bytes,
          .answer_bytes = setup.answer_bytes,
          .echo = setup.echo,
          .compare = setup.compare},
      in_(setup.answer_bytes + size_t{1}, batch_size(setup.answer_bytes + size_t{1})),
      controls_(in_.headers.size()), out_(setup.request_bytes, batch_size(setup.request_bytes)),
      probes_(out_.headers.size()), scratch_(setup.request_bytes), ready_(setup.connections) {}

Result<void> UdpLoad::open() {
    std::mt19937_64 random(setup.seed);
    sockets_.reserve(setup.connections);
    for (uint32_t i = 0; i < setup.connections; i++) {
        auto fd = begin_connect(setup.target, setup.address);
        const int error = fd ? loop.add(fd->get(), EPOLLIN | EPOLLET, i) : 0;
        if (!fd || error != 0) {
            const Failure failure =
                fd ? Failure{.address = setup.address, .error = error} : fd.error();
            Error error_line = connect_error(setup.target, {&failure, 1});
            error_line.message +=
                fmt::format(" ({} of {} sockets were opened)", i, setup.connections);
            return std::unexpected(std::move(error_line));
        }
        enable_receive_stamps(fd->get());
        const uint64_t bytes = std::max(setup.request_bytes, setup.answer_bytes);
        enlarge_buffers(fd->get(), setup.under_way * (2 * bytes + overhead_bytes));
        const auto session = static_cast<uint32_t>(random());
        const uint64_t window =
            std::max<uint64_t>(outstanding_max / setup.connections, depths_max * setup.depth);
        sockets_.push_back({.fd = std::move(*fd), .tracker = DatagramTracker(session, window)});
    }
    return {};
}

void UdpLoad::start() {
    for (Socket& socket : sockets_)
        has_room(socket);
}

void UdpLoad::handle(std::span<const epoll_event> events, uint64_t now_ns) {
    for (const epoll_event& event : events) {
        Socket& socket = sockets_[event.data.u64];
        if ((event.events & EPOLLERR) != 0)
            take_errors(socket, 0, now_ns);
        receive_all(socket, false, now_ns);
        has_room(socket);
    }
}

// ---- What comes.

/// How many messages came, of at most `wanted`; or -errno.
int UdpLoad::receive(Socket& socket, size_t wanted) {
    for (size_t i = 0; i < wanted; i++) {
        in_.headers[i].msg_hdr.msg_control = &controls_[i];
        in_.headers[i].msg_hdr.msg_controllen = sizeof(Control);
    }
    if (wanted == 1) {
        const ssize_t size = ::recvmsg(socket.fd.get(), &in_.headers[0].msg_hdr, 0);
        in_.headers[0].msg_len = static_cast<uint32_t>(std::max<ssize_t>(size, 0));
        return size < 0 ? -errno : 1;
    }
    const int count =
        ::recvmmsg(socket.fd.get(), in_.headers.data(), static_cast<unsigned>(wanted), 0, nullptr);
    return count < 0 ? -errno : count;
}

/// Reads while answers are awaited, or all there is.
void UdpLoad::receive_all(Socket& socket, bool to_the_end, uint64_t now_ns) {
    for (bool first = true; first || to_the_end || socket.tracker.outstanding() > 0;
         first = false) {
        const size_t wanted = std::clamp<size_t>(
            to_the_end ? batch_max : socket.tracker.outstanding(), 1, in_.headers.size());
        const int count = receive(socket, wanted);
        if (count == -EAGAIN) {
            socket.datagrams_clock.found_empty();
            return;
        }
        if (count == -EINTR)
            continue;
        if (count < 0) {
            take_errors(socket, -count, now_ns);
            continue;
        }
        const Clocks now = read_clocks();
        for (size_t i = 0; i < static_cast<size_t>(count); i++) {
            const auto received_stamp = find_receive_stamp(in_.headers[i].msg_hdr);
            const ReceiveTime received = socket.datagrams_clock.take(received_stamp, now);
            take(socket, in_.message(i).first(in_.headers[i].msg_len), received.ns);
        }
        // Fewer than asked for: there were no more.
        if (static_cast<size_t>(count) < wanted)
            return;
    }
}

/// What expired before it came is lost.
void UdpLoad::take(Socket& socket, std::span<const std::byte> bytes, uint64_t received_ns) {
    expire(socket, received_ns);
    const DatagramArrival arrival = socket.tracker.arrive(shape_, bytes, scratch_);
    const RequestTimes times =
        arrival.times.value_or(RequestTimes{}); // the first three kinds have one
    // Of a request that is no longer known only the time says whether it counts.
    const bool counts =
        arrival.times ? account.counts(*arrival.times) : schedule.phase() != LoadPhase::warming_up;
    if (arrival.reordered && counts)
        account.note_reordered();
    switch (arrival.kind) {
    case DatagramKind::answer:
        account.answered(times, received_ns, bytes.size());
        break;
    case DatagramKind::corrupted:
        account.failed(times, Outcome::corrupted, bytes.size());
        break;
    case DatagramKind::wrong_size:
        account.failed(times, Outcome::wrong_size, bytes.size());
        break;
    case DatagramKind::late:
        if (counts)
            account.note_late();
        return;
    case DatagramKind::duplicate:
        if (counts)
            account.note_duplicate();
        return;
    case DatagramKind::stray:
        if (counts)
            account.note_stray();
        return;
    }
    if (!schedule.is_open_loop())
        socket.timer.sample(received_ns - std::min(received_ns, times.sent_ns));
}

/// One entry of the error queue; false if there is none.
bool UdpLoad::take_error(Socket& socket) {
    std::array<std::byte, probe_header_bytes> quoted{};
    const auto queued = take_queued_message(socket.fd.get(), quoted);
    if (!queued) {
        socket.errors_clock.found_empty();
        return false;
    }
    const ReceiveTime received = socket.errors_clock.take(queued->stamp_ns);
    if (received.clock == ReceiveClock::kernel)
        expire(socket, received.ns);
    if (queued->cause.error == EMSGSIZE)
        too_small_ = queued->cause;
    // What this machine says of itself belongs to the call that failed, which knows its request.
    if (queued->cause.kind == CauseKind::local)
        return true;
    last_error_ = queued->cause;
    const auto header =
        read_probe_header(std::span<const std::byte>(quoted).first(queued->quoted_bytes));
    auto times = header ? socket.tracker.fail(*header) : std::nullopt;
    // Too little of it was quoted: most likely the one that has waited longest. One that is known
    // to be over already is reported twice.
    if (!header)
        times = socket.tracker.fail_oldest();
    if (times && queued->cause.error != 0)
        account.failed(*times, queued->cause);
    return true;
}

/// `error`: what a system call returned, if that is how it showed.
void UdpLoad::take_errors(Socket& socket, int error, uint64_t now_ns) {
    bool queued = false;
    while (take_error(socket))
        queued = true;
    if (!queued && error != 0)
        if (const auto times = socket.tracker.fail_oldest())
            account.failed(*times, last_error_.error == error ? last_error_ : cause_of(error));
    if (queued || error != 0)
        pause(socket, now_ns);
}

/// Closed loop: a socket whose port is closed now would be refused as fast as it can send.
void UdpLoad::pause(Socket& socket, uint64_t now_ns) {
    if (schedule.is_open_loop() || socket.paused)
        return;
    socket.paused = true;
    retries_.push(index_of(socket), now_ns);
}

// ---- What never comes.

/// With --df: has a router reported that it does not forward packets of this size? It does so about
/// once a second, so that a request which is silently lost after it is too big as well.
bool UdpLoad::is_known_too_big() const {
    return setup.target.path.df && too_small_.error == EMSGSIZE && !sockets_.empty() &&
           packet_bytes(sockets_.front().fd.get(), setup.address.family(), setup.request_bytes) >
               too_small_.mtu;
}

void UdpLoad::expire(Socket& socket, uint64_t now_ns) {
    socket.tracker.expire(now_ns, timeout_ns(), [&](const RequestTimes& times, uint64_t kept_ns) {
        if (is_known_too_big())
            account.failed(times, too_small_);
        else
            account.failed(times, Outcome::lost);
        if (!schedule.is_open_loop())
            account.kept_by_lost(
                times,
                std::min(kept_ns, schedule.end_ns() - std::min(schedule.end_ns(), times.sent_ns)));
    });
}

/// What waits in a socket is read before anything of it is lost: a turn serves only so many events.
void UdpLoad::sweep(uint64_t now_ns) {
    for (Socket& socket : sockets_) {
        if (socket.tracker.outstanding() == 0 || now_ns < socket.tracker.oldest_ns() + timeout_ns())
            continue;
        take_errors(socket, 0, now_ns);
        receive_all(socket, false, now_ns);
        expire(socket, now_ns);
        has_room(socket);
    }
}

void UdpLoad::take_arrivals(uint64_t now_ns) {
    for (Socket& socket : sockets_) {
        if (socket.tracker.outstanding() == 0)
            continue;
        take_errors(socket, 0, now_ns);
        receive_all(socket, false, now_ns);
        expire(socket, now_ns);
    }
}

void UdpLoad::finish() {
    const uint64_t now = monotonic_ns();
    for (Socket& socket : sockets_) {
        receive_all(socket, true, now);
        account.note_dropped(dropped_by(socket.fd.get()));
    }
    if (sockets_.empty())
        return;
    const int fd = sockets_.front().fd.get();
    const int family = setup.address.family();
    const auto mtu = path_mtu(fd, family);
    const bool may_fragment = !setup.target.path.df;
    account.set_path(
        mtu, may_fragment && mtu && packet_bytes(fd, family, setup.request_bytes) > *mtu);
}

} // namespace riposte::client
