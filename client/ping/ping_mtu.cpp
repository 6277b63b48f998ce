// The search sends one probe at a time, with DF set (no fragments, and no MTU that the kernel has
// learned holds it back), and waits for what becomes of it: a reply, an ICMP message, or nothing.
//
// Nothing may be a lost packet. A size counts as silent only if it was tried several times, while
// the largest size that is known to pass, tried in between, was answered as often: on a path that
// loses half of everything, both are tried until the difference is clear. A late reply counts for
// its size whenever it comes.
//
// The same replies show the way back. A reply is as long as its request (an echo): it came whole,
// or the kernel says how long its fragments were.
#include "client/ping/ping_mtu.h"

#include "client/measure/mtu_search.h"
#include "client/measure/outcome.h"
#include "client/measure/probe.h"
#include "client/net/error_queue.h"
#include "client/net/path_mtu.h"
#include "client/net/patience.h"
#include "client/net/reply_header.h"
#include "client/ping/mtu_result.h"
#include "client/ping/ping_targets.h"
#include "client/show/measurement_output.h"
#include "client/show/report.h"
#include "client/show/terminal.h"
#include "common/clock.h"
#include "common/text.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <functional>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

namespace riposte::client {

namespace {

constexpr uint32_t tries_min = 4; ///< of a silent size, and of the control in between
constexpr uint32_t tries_max = 32;
constexpr uint64_t first_wait_ms = 1000; ///< until a round trip is known
constexpr uint64_t wait_ms_min = 100;
constexpr uint64_t wait_round_trips = 4;
constexpr size_t datagram_bytes_room = 65536;

class MtuSeeker {
public:
    using Print = std::function<void(const MtuTrial&)>;

    MtuSeeker(const Target& target, const SocketAddress& address, EventLoop& loop, Print print)
        : target_(target), address_(address), loop_(loop), print_(std::move(print)),
          session_(random_session()) {}

    /// An error is one of this machine; that of the peer or the network is in the result.
    Result<MtuResult> run() {
        result_.name = target_.name;
        result_.address = to_string(address_);
        result_.path = target_.path;
        result_.started_at = wall_time_seconds();
        target_.path.df = true;
        auto fd = begin_connect(target_, address_);
        if (!fd)
            return std::unexpected(connect_error(target_, std::span(&fd.error(), 1)));
        fd_ = std::move(*fd);
        enable_reply_header(fd_.get(), address_.family());
        header_bytes_ = static_cast<uint32_t>(packet_bytes(fd_.get(), address_.family(), 0));
        result_.header_bytes = header_bytes_;
        search_ = MtuSearch(
            header_bytes_ + static_cast<uint32_t>(probe_header_bytes),
            header_bytes_ + payload_bytes_max);
        while (const auto bytes = search_.next()) {
            if (!decide(*bytes))
                break;
            const uint32_t passed = search_.largest();
            if (passed == 0)
                result_.error = fmt::format(
                    "{}: no answer to {} probes; is riposted running there? -W waits longer",
                    name_of(target_, address_), tries_min);
        }
        result_.forward_bytes = search_.largest();
        result_.limit = search_.limit();
        if (result_.limit == MtuLimit::none || result_.limit == MtuLimit::silence)
            result_.limit_cause = {};
        return std::move(result_);
    }

private:
    /// Tries the size until its fate is clear; false: it cannot be found out, and `error` says why.
    bool decide(uint32_t bytes) {
        MtuTrial trial{.bytes = bytes};
        uint32_t controls = 0;
        while (!failed_ && trial.probes < tries_max) {
            trial.probes++;
            current_ = &trial;
            const bool known = attempt(bytes);
            current_ = nullptr;
            if (failed_)
                return false;
            if (known || search_.largest() >= bytes)
                return note(trial);
            const uint32_t control = search_.largest();
            if (control == 0) {
                if (trial.probes >= tries_min)
                    return silent(trial);
                continue;
            }
            attempt(control);
            if (failed_)
                return false;
            if (search_.largest() >= bytes) // its reply was late
                return note(trial);
            controls += control_answered_ ? 1 : 0;
            if (trial.probes >= tries_min && controls >= tries_min)
                return silent(trial);
        }
        if (!failed_)
            result_.error = fmt::format(
                "{}: the peer stopped answering, even packets of {} bytes",
                name_of(target_, address_), search_.largest());
        return false;
    }

    bool note(MtuTrial& trial) {
        if (trial.fate == MtuTrial::Fate::silent) { // a late reply, while the control was tried
            trial.fate = MtuTrial::Fate::passed;
            trial.rtt_ns = rtt_max_ns_;
        }
        print_(trial);
        result_.trials.push_back(trial);
        return true;
    }

    bool silent(const MtuTrial& trial) {
        search_.silent(trial.bytes);
        print_(trial);
        result_.trials.push_back(trial);
        return true;
    }

    /// Sends one packet and waits for it; true: its fate is known.
    bool attempt(uint32_t bytes) {
        const std::span<std::byte> probe = std::span(buffer_).first(bytes - header_bytes_);
        sizes_.push_back(bytes);
        sent_ns_ = monotonic_ns();
        control_answered_ = false;
        write_probe(probe, {.session = session_, .sequence = sizes_.size(), .sent_ns = sent_ns_});
        for (int i = 0; ::send(fd_.get(), probe.data(), probe.size(), MSG_NOSIGNAL) < 0; i++) {
            const int error = errno;
            if (read_errors(bytes))
                return true;
            if (failed_ || i > 0) {
                fail(error);
                return false;
            }
        }
        const uint64_t deadline_ms = monotonic_ms() + wait_ms();
        for (;;) {
            pollfd wait{.fd = fd_.get(), .events = POLLIN, .revents = 0};
            const int error = await_ready({&wait, 1}, {deadline_ms, &loop_});
            if (error == ETIMEDOUT)
                return false;
            if (error != 0) {
                fail(error);
                return false;
            }
            const bool told = read_errors(bytes);
            const bool came = read_replies(bytes);
            if (told || came || failed_)
                return !failed_;
        }
    }

    uint64_t wait_ms() const {
        if (rtt_max_ns_ == 0)
            return std::min<uint64_t>(first_wait_ms, target_.timeout_ms);
        const uint64_t round_trips_ms = wait_round_trips * rtt_max_ns_ / 1'000'000;
        return std::min<uint64_t>(std::max(round_trips_ms, wait_ms_min), target_.timeout_ms);
    }

    /// True: a reply to the latest packet came.
    bool read_replies(uint32_t bytes) {
        bool answered = false;
        for (;;) {
            iovec piece{.iov_base = received_.data(), .iov_len = received_.size()};
            alignas(cmsghdr) std::array<std::byte, reply_header_bytes> control;
            msghdr message{};
            message.msg_iov = &piece;
            message.msg_iovlen = 1;
            message.msg_control = control.data();
            message.msg_controllen = control.size();
            const ssize_t size = ::recvmsg(fd_.get(), &message, MSG_DONTWAIT);
            if (size < 0)
                return answered; // an ICMP error is in the queue
            answered |= take_reply(
                std::span<const std::byte>(received_).first(static_cast<size_t>(size)),
                find_reply_header(message), bytes);
        }
    }

    bool take_reply(
        std::span<const std::byte> reply, const ReplyHeader& header, uint32_t latest_bytes) {
        const auto probe = read_probe_header(reply);
        const bool is_ours =
            probe && probe->session == session_ && probe->sequence - 1 < sizes_.size();
        if (!is_ours && !result_.trials.empty() && result_.is_echo)
            return false; // it belongs to nothing of ours
        result_.is_echo = is_ours;
        const uint32_t bytes = is_ours ? sizes_[probe->sequence - 1] : latest_bytes;
        const auto reply_bytes = static_cast<uint32_t>(reply.size()) + header_bytes_;
        if (header.fragment)
            result_.backward_fragment = std::max(result_.backward_fragment, *header.fragment);
        else
            result_.backward_bytes = std::max(result_.backward_bytes, reply_bytes);
        const uint64_t sent_ns = is_ours ? probe->sent_ns : sent_ns_;
        const uint64_t rtt_ns = std::max<uint64_t>(monotonic_ns() - sent_ns, 1);
        rtt_max_ns_ = std::max(rtt_max_ns_, rtt_ns);
        search_.passed(bytes);
        if (current_ != nullptr && current_->bytes == bytes) {
            current_->fate = MtuTrial::Fate::passed;
            current_->rtt_ns = rtt_ns;
        }
        const bool is_latest = !is_ours || probe->sequence == sizes_.size();
        control_answered_ |= is_latest;
        return is_latest || bytes == latest_bytes;
    }

    /// True: something was said of the latest packet, or of another of its size.
    bool read_errors(uint32_t latest_bytes) {
        bool told = false;
        std::array<std::byte, probe_header_bytes> quoted{};
        while (const auto queued = take_queued_message(fd_.get(), quoted)) {
            const Cause& cause = queued->cause;
            if (cause.error == 0)
                continue;
            if (cause.error != EMSGSIZE) {
                fail(cause);
                continue;
            }
            const bool by_link = cause.kind == CauseKind::local;
            const auto probe =
                read_probe_header(std::span<const std::byte>(quoted).first(queued->quoted_bytes));
            const bool is_ours =
                probe && probe->session == session_ && probe->sequence - 1 < sizes_.size();
            const uint32_t bytes = is_ours && !by_link ? sizes_[probe->sequence - 1] : latest_bytes;
            search_.too_big(bytes, cause.mtu, by_link);
            result_.limit_cause = cause;
            if (current_ == nullptr || current_->bytes != bytes)
                continue;
            current_->fate = MtuTrial::Fate::too_big;
            current_->cause = cause;
            told = true;
        }
        int pending = 0; // the queue has said it already
        socklen_t size = sizeof(pending);
        ::getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &pending, &size);
        return told;
    }

    void fail(const Cause& cause) {
        if (std::exchange(failed_, true))
            return;
        result_.error = fmt::format("{}: {}", name_of(target_, address_), describe(cause));
    }
    void fail(int error) {
        if (error == EINTR && std::exchange(failed_, true))
            return;
        if (error == EINTR)
            result_.error = fmt::format("{}: interrupted", name_of(target_, address_));
        else
            fail(cause_of(error, address_));
    }

    Target target_;
    SocketAddress address_;
    EventLoop& loop_;
    Print print_;
    uint32_t session_;
    Fd fd_;
    uint32_t header_bytes_ = 0;
    MtuSearch search_{1, 1};
    MtuResult result_;
    std::vector<uint32_t> sizes_; ///< of the packet with each sequence number, from 1 on
    std::vector<std::byte> buffer_ = std::vector<std::byte>(datagram_bytes_room);
    std::vector<std::byte> received_ = std::vector<std::byte>(datagram_bytes_room);
    MtuTrial* current_ = nullptr; ///< whose size was sent last; none: it was the control
    bool control_answered_ = false;
    bool failed_ = false;
    uint64_t sent_ns_ = 0;
    uint64_t rtt_max_ns_ = 0;
};

} // namespace

Result<Exit> ping_mtu(const CommonOptions& common, const PingOptions& options) {
    std::vector<NotMeasured> missing;
    auto targets = resolve_endpoints(common, options, missing);
    if (!targets)
        return std::unexpected(targets.error());
    const auto addresses = choose_addresses(*targets, common, options, UINT64_MAX);
    auto loop = EventLoop::open();
    if (!loop)
        return std::unexpected(loop.error());
    const bool json = options.report.json;
    const PingStyle style{
        .several = targets->size() > 1,
        .color = colors_output(common.color),
        .columns = output_columns()};
    const Report report(common.color, false);
    std::vector<MtuResult> results;
    Exit exit = missing.empty() ? Exit::ok : Exit::failed;
    Result<void> printed;
    const auto put = [&](const std::string& text) {
        if (printed && !json && !text.empty())
            printed = print(text);
    };
    for (size_t i = 0; i < targets->size() && !loop->interrupted(); i++) {
        MtuResult head;
        head.name = (*targets)[i].name;
        head.address = to_string(addresses[i]);
        put((i > 0 ? "\n" : "") + mtu_header(head, style));
        auto found = MtuSeeker((*targets)[i], addresses[i], *loop, [&](const MtuTrial& trial) {
                         if (!options.quiet)
                             put(mtu_trial_line(trial, style));
                     }).run();
        if (!found)
            return std::unexpected(found.error());
        put(mtu_summary(*found, style));
        if (!found->error.empty()) {
            report.error(found->error);
            exit = Exit::failed;
        }
        results.push_back(std::move(*found));
    }
    if (loop->interrupted())
        exit = Exit::interrupted;
    if (json)
        printed = print(mtu_json(results, exit, missing));
    if (!printed)
        return std::unexpected(printed.error());
    return exit;
}

} // namespace riposte::client
