// Probes over UDP: one connected socket, so that the kernel reports ICMP errors.
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
#include "client/net/error_queue.h"
#include "client/net/path_mtu.h"
#include "client/net/receive_time.h"
#include "client/ping/prober.h"
#include "client/show/report.h"
#include "common/clock.h"
#include "common/text.h"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <vector>

#include <fmt/format.h>
#include <sys/socket.h>

namespace riposte::client {

namespace {

constexpr size_t datagram_buffer_bytes = 65536; ///< more than any datagram holds
constexpr int receive_buffer_bytes = 4 << 20;   ///< as much of it as the kernel allows
constexpr int datagrams_read_max = 64;  ///< datagrams read at once, before another endpoint's turn
constexpr int errors_in_a_row_max = 64; ///< of a read: more are no ICMP errors, which it takes away

class UdpProber final : public Prober {
public:
    using Prober::Prober;

    Result<void> prepare() override;
    Result<void> send(uint64_t due_ns) override;
    Result<void> ready(ProberTag tag, uint32_t events) override;
    Result<void> expire(uint64_t now_ns) override;
    uint64_t next_deadline_ns() const override { return next_expiry_ns(); }
    void finish() override;
    void update() override;

private:
    /// What keeps the socket from being connected; `error` 0: nothing, it is.
    Result<Cause> open();
    void transmit(uint64_t sequence);
    void send_failed(uint64_t sequence, const Cause& cause);
    void receive(uint64_t until_ns);
    bool receive_one(ReceiveTime& received);
    void read_errors();
    bool read_error();
    void read_waiting(uint64_t now_ns);
    bool is_known_too_big() const;
    void give_up_expired(uint64_t now_ns);

    Fd fd_;
    ArrivalClock datagrams_clock_;
    ArrivalClock errors_clock_;
    std::vector<std::byte> buffer_ = std::vector<std::byte>(datagram_buffer_bytes);
    Cause last_error_;                    ///< the latest ICMP error
    std::optional<Cause> path_too_small_; ///< the latest ICMP error that said so
    uint32_t link_mtu_ = 0;               ///< of this machine's link, when it was too small
};

Result<Cause> UdpProber::open() {
    if (fd_)
        return Cause{};
    auto fd = begin_connect(settings().target, settings().address);
    if (!fd) {
        if (!fd.error().option.empty())
            return std::unexpected(connect_error(settings().target, std::span(&fd.error(), 1)));
        return cause_of(fd.error());
    }
    enable_receive_stamps(fd->get());
    ::setsockopt(
        fd->get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes, sizeof(receive_buffer_bytes));
    const ProberTag tag{.endpoint = settings().endpoint};
    if (const int error = loop().add(fd->get(), EPOLLIN, tag.pack()); error != 0)
        return fail(Exit::usage, fmt::format("event loop: {}", reason(error)));
    fd_ = std::move(*fd);
    datagrams_clock_ = errors_clock_ = ArrivalClock();
    return Cause{};
}

Result<void> UdpProber::prepare() {
    const Result<Cause> opened = open();
    return opened ? Result<void>{} : std::unexpected(opened.error());
}

Result<void> UdpProber::send(uint64_t due_ns) {
    const Result<Cause> opened = open();
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
    for (bool again = false;; again = true) {
        const std::span<const std::byte> payload = account().payload(sequence);
        if (::send(fd_.get(), payload.data(), payload.size(), MSG_NOSIGNAL) >= 0)
            return;
        const int error = errno;
        if (!again && shortage_of(error) == Shortage::none) {
            read_errors();
            continue;
        }
        // Another datagram's, once more: it says the same of this one.
        Cause cause = last_error_.error == error ? last_error_ : cause_of(error);
        if (error == EMSGSIZE) {
            link_mtu_ = 0;
            read_errors(); // of this call, with the MTU
            if (link_mtu_ != 0)
                cause = {.kind = CauseKind::local, .error = error, .mtu = link_mtu_};
        }
        send_failed(sequence, cause);
        return;
    }
}

Result<void> UdpProber::ready(ProberTag, uint32_t events) {
    if (!fd_)
        return {};
    if ((events & EPOLLERR) != 0) {
        read_errors();
        // An error that outlives its place in the queue would end every wait at once.
        int error = 0;
        socklen_t size = sizeof(error);
        ::getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    }
    if ((events & EPOLLIN) != 0)
        receive(0);
    return {};
}

/// Reads what has arrived: everything until `until_ns`, however much it is, and some of the rest.
void UdpProber::receive(uint64_t until_ns) {
    ReceiveTime received;
    for (int i = 0; i < datagrams_read_max || received.ns <= until_ns; i++)
        if (!receive_one(received))
            return;
}

/// False: there is none.
bool UdpProber::receive_one(ReceiveTime& received) {
    for (int errors = 0; errors < errors_in_a_row_max; errors++) {
        const ssize_t size = receive_stamped(fd_.get(), buffer_, datagrams_clock_, received);
        if (size >= 0) {
            const std::span bytes = std::span(buffer_).first(static_cast<size_t>(size));
            arrived(account().datagram(bytes, received.ns), received.clock);
            return true;
        }
        if (size == -EAGAIN)
            return false;
        read_errors();
    }
    return false;
}

/// Empties the error queue. Bounded, too: more than that is left for the next turn.
void UdpProber::read_errors() {
    for (int i = 0; i < datagrams_read_max; i++)
        if (!read_error())
            return;
}

/// False: there is none.
bool UdpProber::read_error() {
    const auto queued = take_queued_message(fd_.get(), buffer_);
    if (!queued) {
        errors_clock_.found_empty();
        return false;
    }
    const ReceiveTime received = errors_clock_.take(queued->stamp_ns);
    const Cause& cause = queued->cause;
    if (cause.error == EMSGSIZE && cause.kind == CauseKind::local)
        link_mtu_ = cause.mtu;
    if (cause.error == 0 || cause.kind == CauseKind::local)
        return true;
    last_error_ = cause;
    if (cause.error == EMSGSIZE)
        path_too_small_ = cause;
    // A router may quote as little as the UDP header.
    auto sequence = account().quoted(std::span(buffer_).first(queued->quoted_bytes));
    if (!sequence && queued->quoted_bytes < probe_header_bytes)
        sequence = account().oldest_waiting();
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

/// With --df: has a router reported that it does not forward packets of this size?
bool UdpProber::is_known_too_big() const {
    return settings().target.path.df && path_too_small_ && fd_ &&
           packet_bytes(fd_.get(), settings().address.family(), settings().ping.payload_bytes) >
               path_too_small_->mtu;
}

/// Everything that arrived until `now_ns`. The error queue has room for no more than the socket's
/// buffer.
void UdpProber::read_waiting(uint64_t now_ns) {
    if (!fd_)
        return;
    while (account().oldest_waiting() && read_error()) {
    }
    receive(now_ns);
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
    if (!fd_)
        return;
    const int family = settings().address.family();
    const auto mtu = path_mtu(fd_.get(), family);
    const uint64_t bytes = packet_bytes(fd_.get(), family, settings().ping.payload_bytes);
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

} // namespace

std::unique_ptr<Prober> make_udp_prober(
    ProberSettings settings, EventLoop& loop, ProbeListener& listener) {
    return std::make_unique<UdpProber>(std::move(settings), loop, listener);
}

} // namespace riposte::client
