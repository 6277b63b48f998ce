// Answers in a stream have no frames: an answer is complete when the peer ends the stream or sends
// nothing for a while. A partial echo is waited for longer, since its missing length is known;
// another answer that continues beyond the timeout counts as endless.
#include "client/load/load_preflight.h"

#include "client/measure/probe.h"
#include "client/net/reach.h"
#include "client/show/figures.h"
#include "client/show/report.h"
#include "common/clock.h"
#include "common/text.h"
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
constexpr uint32_t datagram_turn_ms = 250; ///< of an address, before the next one is asked, too
constexpr uint32_t datagram_sends = 4;     ///< within the timeout
/// An answer that is longer than its request by more than that is not one: the service sends on its
/// own.
constexpr size_t answer_excess_max = 1 << 20;

class StreamPreflight {
public:
    StreamPreflight(
        const Target& target, const Reached& reached, std::span<const std::byte> request)
        : timeout_ms_(target.timeout_ms), name_(name_of(target, reached.address)),
          address_(reached.address), connect_ms_(reached.answer_ms), fd_(reached.fd.get()),
          request_(request), unsent_(request), chunk_(answer_chunk_bytes) {}

    std::expected<Preflight, PreflightFailure> run() {
        const uint64_t start = monotonic_ms();
        uint64_t deadline = start + timeout_ms_;
        while (!ended_) {
            const auto events = static_cast<short>(POLLIN | (unsent_.empty() ? 0 : POLLOUT));
            pollfd wait{.fd = fd_, .events = events, .revents = 0};
            if (await_ready({&wait, 1}, {.deadline_ms = deadline}) != 0)
                break;
            const short ready = wait.revents;
            if ((ready & POLLOUT) != 0)
                write_some();
            const bool progress = (ready & ~POLLOUT) != 0 && read_some();
            const bool is_endless =
                progress && !is_echo_under_way() && monotonic_ms() >= start + timeout_ms_;
            if (is_endless || answer_.size() > request_.size() + answer_excess_max)
                return failed(
                    "answers without end; load needs an answer to each request",
                    Outcome::wrong_size);
            if (progress)
                deadline = monotonic_ms() + (is_echo_under_way() ? timeout_ms_ : quiet_ms);
        }
        if (!answer_.empty())
            return judge_answer(answer_, request_, ended_);
        if (!ended_)
            return failed(
                fmt::format(
                    "connected in {} ms, no answer after {}; is it the service that you meant? "
                    "-W waits longer",
                    milliseconds(connect_ms_ * 1e6), format_duration(timeout_ms_)),
                Outcome::lost);
        const Cause cause = cause_of_end(error_, address_);
        return failed(
            error_ == 0 ? "closed without an answer; is it the service that you meant?"
                        : reason(error_) + " before an answer; is it the service that you meant?",
            outcome_of(cause), cause);
    }

private:
    std::unexpected<PreflightFailure> failed(
        std::string_view what, Outcome outcome, const Cause& cause = {}) const {
        return std::unexpected(PreflightFailure{
            {Exit::failed, fmt::format("{}: {}", name_, what)}, outcome, address_, cause});
    }

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

    uint32_t timeout_ms_;
    std::string name_;
    const SocketAddress& address_;
    double connect_ms_;
    int fd_;
    std::span<const std::byte> request_;
    std::span<const std::byte> unsent_;
    std::vector<std::byte> answer_;
    size_t matching_ = 0; ///< bytes of the answer that are those of the request
    std::vector<std::byte> chunk_;
    bool ended_ = false;
    int error_ = 0;
};

} // namespace

Preflight judge_answer(
    std::span<const std::byte> answer, std::span<const std::byte> request, bool closed) {
    const bool echo = answer.size() == request.size() && resembles(answer, request);
    return {
        .answering = echo ? Answering::echo : Answering::other,
        .answer_bytes = static_cast<uint32_t>(answer.size()),
        .closes = closed};
}

std::expected<Preflight, PreflightFailure> preflight(
    const Target& target, std::span<const std::byte> request, const Patience& patience) {
    Trial trial{.datagram = request, .patience = patience};
    if (target.transport == Transport::udp) {
        trial.turn_ms_max = datagram_turn_ms;
        trial.resend_ms = std::max(target.timeout_ms / datagram_sends, 1U); // it may be lost
    }
    const auto reached = reach(target, trial, Report(Color::never, false));
    if (!reached) {
        const Failure& last = reached.error().back();
        return std::unexpected(PreflightFailure{
            connect_error(target, reached.error()), outcome_of(last), last.address,
            cause_of(last)});
    }
    auto found = target.transport == Transport::udp
                     ? judge_answer(reached->answer, request, false)
                     : StreamPreflight(target, *reached, request).run();
    if (found)
        found->address = reached->address;
    return found;
}

} // namespace riposte::client
