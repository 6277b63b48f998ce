#include "client/throughput/datagram_stream.h"

#include "client/measure/probe.h"
#include "client/net/error_queue.h"
#include "client/net/path_mtu.h"
#include "common/clock.h"
#include "common/text.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/epoll.h>
#include <sys/random.h>

namespace riposte::client {

namespace {

constexpr size_t train_datagrams_max = 64; ///< UDP_MAX_SEGMENTS of older kernels
constexpr size_t train_bytes_max = 65'000; ///< of a segmented train: one IP packet's worth
constexpr size_t receive_max = 64;         ///< datagrams of one call
constexpr int receives_in_a_turn = 32;
constexpr int buffer_bytes = 4 << 20;     ///< as much of it as the kernel allows
constexpr uint64_t pump_gap_ns = 100'000; ///< a train has what became due in it
constexpr uint64_t linger_ns = 1'000'000'000;
constexpr size_t windows_size = 1 << 20; ///< of all sockets together

uint32_t random_number() {
    uint32_t number = 0;
    if (::getrandom(&number, sizeof(number), GRND_NONBLOCK) != sizeof(number))
        number = static_cast<uint32_t>(monotonic_ns() * 0x9e3779b1);
    return number;
}

/// Datagrams that found no room in the socket's receive buffer.
uint64_t dropped_by(int fd) {
    std::array<uint32_t, SK_MEMINFO_VARS> info{};
    socklen_t size = sizeof(info);
    if (::getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info.data(), &size) < 0)
        return 0;
    return info[SK_MEMINFO_DROPS];
}

} // namespace

DatagramStream::DatagramStream(StreamSetup given, EventLoop& its_loop, StreamResult& its_result)
    : Stream(std::move(given), its_loop, its_result),
      schedule_(setup().bitrate.value_or(0), setup().chunk_bytes),
      train_max_(std::clamp<size_t>(train_bytes_max / setup().chunk_bytes, 1, train_datagrams_max)),
      train_(train_max_ * setup().chunk_bytes), pieces_(train_max_), messages_(train_max_),
      heads_(receive_max * probe_header_bytes), head_pieces_(receive_max), received_(receive_max) {
    for (size_t i = 0; i < train_max_; i++) {
        const auto datagram =
            std::span(train_).subspan(i * setup().chunk_bytes, setup().chunk_bytes);
        write_probe(datagram, {.session = 0, .sequence = i, .sent_ns = 0});
        pieces_[i] = {.iov_base = datagram.data(), .iov_len = datagram.size()};
        messages_[i].msg_hdr.msg_iov = &pieces_[i];
        messages_[i].msg_hdr.msg_iovlen = 1;
    }
    for (size_t i = 0; i < receive_max; i++) {
        head_pieces_[i] = {
            .iov_base = &heads_[i * probe_header_bytes], .iov_len = probe_header_bytes};
        received_[i].msg_hdr.msg_iov = &head_pieces_[i];
        received_[i].msg_hdr.msg_iovlen = 1;
    }
}

Result<void> DatagramStream::open() {
    const size_t window = windows_size / setup().connections;
    for (uint32_t i = 0; i < setup().connections; i++) {
        auto fd = begin_connect(setup().target, setup().address);
        if (!fd)
            return std::unexpected(connect_error(setup().target, {&fd.error(), 1}));
        for (const int option : {SO_SNDBUF, SO_RCVBUF})
            ::setsockopt(fd->get(), SOL_SOCKET, option, &buffer_bytes, sizeof(buffer_bytes));
        if (const int error = loop().add(fd->get(), EPOLLIN, StreamTag::pack(setup().number, i));
            error != 0)
            return fail(Exit::usage, fmt::format("event loop: {}", errno_text(error)));
        sockets_.push_back(
            {.fd = std::move(*fd), .session = random_number(), .answers = AnswerWindow(window)});
    }
    return {};
}

void DatagramStream::start(uint64_t now_ns) {
    schedule_.start(now_ns);
    next_pump_ns_ = now_ns;
}

/// Datagrams that --bytes still allows.
uint64_t DatagramStream::left() const {
    const std::optional<uint64_t> bytes = setup().bytes;
    if (!bytes)
        return UINT64_MAX;
    const uint64_t rest = *bytes - std::min(*bytes, bytes_sent_);
    return (rest + setup().chunk_bytes - 1) / setup().chunk_bytes;
}

// ---- Sending.

void DatagramStream::pump(uint64_t now_ns) {
    if (now_ns < next_pump_ns_)
        return;
    uint64_t due = std::min(schedule_.due(now_ns), left());
    size_t full = 0; // sockets that took nothing, since one took something
    while (due > 0 && full < sockets_.size()) {
        Socket& socket = sockets_[next_socket_];
        next_socket_ = next_socket_ + 1 < sockets_.size() ? next_socket_ + 1 : 0;
        // After a pause each takes its share.
        const uint64_t share = (due + sockets_.size() - 1) / sockets_.size();
        const auto count =
            static_cast<size_t>(std::min<uint64_t>({share > 1 ? share : 1, train_max_, due}));
        const uint64_t before = socket.sent;
        const Sent how = send_train(socket, count);
        due -= socket.sent - before;
        full = how == Sent::all ? 0 : full + 1;
    }
    if (left() == 0)
        next_pump_ns_ = UINT64_MAX;
    else
        next_pump_ns_ = std::max(schedule_.next_due_ns(), now_ns + pump_gap_ns);
}

DatagramStream::Sent DatagramStream::send_train(Socket& socket, size_t count) {
    const uint64_t now = monotonic_ns();
    for (size_t i = 0; i < count; i++)
        write_probe(
            std::span(train_).subspan(i * setup().chunk_bytes, probe_header_bytes),
            {.session = socket.session, .sequence = socket.sent + i + 1, .sent_ns = now});
    const int fd = socket.fd.get();
    const ssize_t sent = segments_ && count > 1 ? send_segmented(fd, count) : send_each(fd, count);
    if (sent > 0) {
        const auto number = static_cast<uint64_t>(sent);
        socket.sent += number;
        schedule_.sent(number);
        result().datagrams.sent += number;
        bytes_sent_ += number * setup().chunk_bytes;
        return Sent::all;
    }
    const int error = errno;
    if (error == EAGAIN || error == ENOBUFS || error == EINTR)
        return Sent::full;
    if (may_be_icmp(error))
        take_errors(fd);
    else
        result().causes.note(cause_of(error));
    return Sent::failed;
}

/// The number that was sent, or -1 and errno.
ssize_t DatagramStream::send_segmented(int fd, size_t count) {
    iovec piece{.iov_base = train_.data(), .iov_len = count * setup().chunk_bytes};
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(uint16_t))> control{};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* const head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_UDP;
    head->cmsg_type = UDP_SEGMENT;
    head->cmsg_len = CMSG_LEN(sizeof(uint16_t));
    const auto segment = static_cast<uint16_t>(setup().chunk_bytes);
    std::memcpy(CMSG_DATA(head), &segment, sizeof(segment));
    if (::sendmsg(fd, &message, MSG_NOSIGNAL) >= 0)
        return static_cast<ssize_t>(count);
    // The device sums nothing, or a datagram is larger than its MTU: one by one.
    if (errno != EIO && errno != EINVAL && errno != EMSGSIZE && errno != EOPNOTSUPP)
        return -1;
    segments_ = false;
    return send_each(fd, count);
}

ssize_t DatagramStream::send_each(int fd, size_t count) {
    return ::sendmmsg(fd, messages_.data(), static_cast<unsigned>(count), MSG_NOSIGNAL);
}

// ---- Receiving.

void DatagramStream::handle(uint32_t index, uint32_t events) {
    Socket& socket = sockets_[index];
    if ((events & EPOLLERR) != 0)
        take_errors(socket.fd.get());
    receive(socket);
}

void DatagramStream::receive(Socket& socket) {
    for (int turn = 0; turn < receives_in_a_turn; turn++) {
        const int count = ::recvmmsg(
            socket.fd.get(), received_.data(), receive_max, MSG_DONTWAIT | MSG_TRUNC, nullptr);
        if (count < 0) {
            if (may_be_icmp(errno))
                take_errors(socket.fd.get());
            return;
        }
        for (size_t i = 0; i < static_cast<size_t>(count); i++) {
            const size_t bytes = received_[i].msg_len;
            take(
                socket,
                std::span(heads_).subspan(
                    i * probe_header_bytes, std::min(bytes, probe_header_bytes)),
                bytes);
        }
        if (static_cast<size_t>(count) < receive_max)
            return;
    }
}

void DatagramStream::take(Socket& socket, std::span<const std::byte> head, size_t bytes) {
    DatagramCounts& counts = result().datagrams;
    counts.bytes_answered += bytes;
    const auto header = read_probe_header(head);
    const bool is_ours = header && header->session == socket.session && header->sequence > 0 &&
                         header->sequence <= socket.sent;
    if (!is_ours) {
        counts.answered++;
        return;
    }
    counts.are_echoes = true;
    switch (socket.answers.take(header->sequence)) {
    case AnswerOrder::duplicate:
        counts.duplicated++;
        return;
    case AnswerOrder::reordered:
        counts.reordered++;
        break;
    case AnswerOrder::in_order:
        break;
    }
    counts.answered++;
}

void DatagramStream::take_errors(int fd) {
    while (const auto message = take_queued_message(fd)) {
        if (message->cause.error == 0)
            continue;
        result().causes.note(message->cause);
        if (outcome_of(message->cause) == Outcome::refused)
            refusal_ = message->cause;
    }
}

/// A peer that refuses, and has answered nothing, is not there.
std::optional<Error> DatagramStream::fatal() const {
    if (!refusal_ || result().datagrams.answered > 0)
        return std::nullopt;
    const Failure failure{
        .address = setup().address, .error = refusal_->error, .heard = true, .cause = *refusal_};
    return connect_error(setup().target, {&failure, 1});
}

RateSample DatagramStream::sample() {
    for (Socket& socket : sockets_)
        receive(socket);
    return {
        .bytes = setup().flow == Flow::upload ? bytes_sent_ : result().datagrams.bytes_answered,
        .retransmits = 0};
}

// ---- The end.

bool DatagramStream::is_over() const {
    return left() == 0;
}

void DatagramStream::stop(uint64_t now_ns) {
    schedule_.due(now_ns); // gives up what is overdue
    result().datagrams.unsent = schedule_.missed();
    next_pump_ns_ = UINT64_MAX;
    stopped_ns_ = now_ns;
}

bool DatagramStream::is_settled(uint64_t now_ns) {
    const DatagramCounts& counts = result().datagrams;
    const bool expects = setup().flow == Flow::download || counts.answered > 0;
    return !expects || counts.answered >= counts.sent ||
           now_ns >= stopped_ns_ + std::min(linger_ns, setup().timeout_ns);
}

void DatagramStream::note_path() {
    const int family = setup().address.family();
    const int fd = sockets_.front().fd.get();
    const std::optional<uint32_t> mtu = path_mtu(fd, family);
    result().path_mtu = mtu;
    result().fragmented = mtu && packet_bytes(fd, family, setup().chunk_bytes) > *mtu;
}

void DatagramStream::finish() {
    for (Socket& socket : sockets_) {
        take_errors(socket.fd.get());
        result().datagrams.dropped_here += dropped_by(socket.fd.get());
    }
    note_path();
}

} // namespace riposte::client
