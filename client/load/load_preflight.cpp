// Nothing frames an answer in a stream: it is over when the peer ends it, or has been quiet for a
// while. An echo under way is waited for longer, since what is missing of it is known.
#include "client/load/load_preflight.h"

#include "client/measure/probe.h"
#include "client/report.h"
#include "common/clock.h"
#include "common/units.h"

#include <algorithm>
#include <cerrno>
#include <vector>

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

namespace riposte::client {

namespace {

constexpr uint64_t quiet_ms = 100;
constexpr size_t answer_chunk_bytes = 65536;
/// An answer that is longer than its request by more than that is none: the service just talks.
constexpr size_t answer_excess_max = 1 << 20;

/// poll(2) until `deadline_ms`: what is ready of `events`, 0 if the time passed first.
short wait_for_events(int fd, short events, uint64_t deadline_ms) {
    for (;;) {
        pollfd wait{.fd = fd, .events = events, .revents = 0};
        const uint64_t now = monotonic_ms();
        const int ready =
            ::poll(&wait, 1, now < deadline_ms ? static_cast<int>(deadline_ms - now) : 0);
        if (ready >= 0 || errno != EINTR)
            return ready > 0 ? wait.revents : static_cast<short>(0);
    }
}

std::unexpected<Error> failed(const Target& target, std::string_view what) {
    return fail(Exit::failed, fmt::format("{}: {}", target.name, what));
}

std::unexpected<Error> no_answer(const Target& target) {
    return failed(
        target, fmt::format(
                    "no answer after {}; is riposted running there? -W waits longer",
                    format_duration(target.timeout_ms)));
}

class StreamPreflight {
public:
    StreamPreflight(const Target& target, int fd, std::span<const std::byte> request)
        : target_(target), fd_(fd), request_(request), unsent_(request),
          chunk_(answer_chunk_bytes) {}

    Result<Preflight> run() {
        const uint64_t start = monotonic_ms();
        uint64_t deadline = start + target_.timeout_ms;
        while (!ended_) {
            const auto events = static_cast<short>(POLLIN | (unsent_.empty() ? 0 : POLLOUT));
            const short ready = wait_for_events(fd_, events, deadline);
            if (ready == 0)
                break;
            if ((ready & POLLOUT) != 0)
                write_some();
            const bool progress = (ready & ~POLLOUT) != 0 && read_some();
            if (answer_.size() > request_.size() + answer_excess_max)
                return failed(target_, "answers without end; load needs an answer to each request");
            if (progress)
                deadline = monotonic_ms() + (is_echo_under_way() ? target_.timeout_ms : quiet_ms);
        }
        if (!answer_.empty())
            return judge_answer(answer_, request_, ended_);
        if (!ended_)
            return no_answer(target_);
        return failed(
            target_, error_ == 0
                         ? "closed without an answer; is it the service that you meant?"
                         : reason(error_) + " before an answer; is it the service that you meant?");
    }

private:
    /// As resembles() has it; counted as it comes, since a long echo comes in hundreds of pieces.
    bool is_echo_under_way() const {
        return answer_.size() < request_.size() && matching_ * 2 > answer_.size();
    }

    void write_some() {
        const ssize_t size = ::send(fd_, unsent_.data(), unsent_.size(), MSG_NOSIGNAL);
        if (size >= 0)
            unsent_ = unsent_.subspan(static_cast<size_t>(size));
        else if (errno != EAGAIN && errno != EINTR)
            unsent_ = {}; // broken: what had come before is read, and then the error
    }

    bool read_some() {
        const ssize_t size = ::recv(fd_, chunk_.data(), chunk_.size(), 0);
        if (size < 0 && (errno == EAGAIN || errno == EINTR))
            return false;
        if (size <= 0) {
            ended_ = true;
            error_ = size < 0 ? errno : 0;
            return false;
        }
        const auto piece = std::span<const std::byte>(chunk_).first(static_cast<size_t>(size));
        matching_ +=
            matching_bytes(piece, request_.subspan(std::min(answer_.size(), request_.size())));
        answer_.insert(answer_.end(), piece.begin(), piece.end());
        return true;
    }

    const Target& target_;
    int fd_;
    std::span<const std::byte> request_;
    std::span<const std::byte> unsent_;
    std::vector<std::byte> answer_;
    size_t matching_ = 0; ///< bytes of the answer that are those of the request
    std::vector<std::byte> chunk_;
    bool ended_ = false;
    int error_ = 0;
};

/// A datagram may be lost: it is sent again, twice at most, within the timeout.
Result<Preflight> preflight_datagram(
    const Target& target, const SocketAddress& address, int fd,
    std::span<const std::byte> request) {
    std::vector<std::byte> answer(answer_chunk_bytes);
    const uint64_t start = monotonic_ms();
    const auto system_error = [&](int error) {
        const Failure failure{.address = address, .error = error};
        return std::unexpected(connect_error(target, {&failure, 1}));
    };
    for (const uint64_t share : {4U, 2U, 1U}) {
        if (::send(fd, request.data(), request.size(), MSG_NOSIGNAL) < 0)
            return system_error(errno);
        // A datagram with a bad checksum wakes poll(2), and is gone when it is read.
        while (wait_for_events(fd, POLLIN, start + target.timeout_ms / share) != 0) {
            const ssize_t size = ::recv(fd, answer.data(), answer.size(), 0);
            if (size >= 0)
                return judge_answer(
                    std::span<const std::byte>(answer).first(static_cast<size_t>(size)), request,
                    false);
            if (errno != EAGAIN && errno != EINTR)
                return system_error(errno);
        }
    }
    return no_answer(target);
}

} // namespace

Preflight judge_answer(
    std::span<const std::byte> answer, std::span<const std::byte> request, bool closed) {
    const bool echo = answer.size() == request.size() && resembles(answer, request);
    return {
        .answering = echo ? Answering::echo : Answering::other,
        .answer_bytes = static_cast<uint32_t>(answer.size()),
        .closes = closed};
}

Result<Preflight> preflight(
    const Target& target, const SocketAddress& address, std::span<const std::byte> request) {
    const auto fd = connect_to(target, address, target.timeout_ms);
    if (!fd)
        return std::unexpected(connect_error(target, {&fd.error(), 1}));
    if (target.transport == Transport::udp)
        return preflight_datagram(target, address, fd->get(), request);
    return StreamPreflight(target, fd->get(), request).run();
}

} // namespace riposte::client
