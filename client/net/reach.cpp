#include "client/net/reach.h"

#include "client/net/error_queue.h"
#include "common/clock.h"
#include "common/text.h"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

namespace riposte::client {

namespace {

constexpr uint32_t choice_turn_ms = 250;      ///< of a datagram's address that is to be measured
constexpr int hops_too_small_max = 8;         ///< each with a smaller MTU than the one before
constexpr size_t datagram_bytes_room = 65536; ///< more than any datagram has

std::string spelled(const Target& target, const SocketAddress& address) {
    return fmt::format("{}://{}", to_string(target.transport), to_string(address));
}

class Trying {
public:
    Trying(const Target& target, const Trial& trial, const Report& report)
        : target_(target), trial_(trial), report_(report), end_ms_(trial.patience.deadline_ms) {}

    std::expected<Reached, std::vector<Failure>> run() {
        if (trial_.resend_ms > 0)
            next_resend_ms_ = monotonic_ms() + trial_.resend_ms;
        while (next_ < target_.addresses.size() || !waiting_.empty()) {
            if (next_ < target_.addresses.size() && monotonic_ms() >= turn_end_ms_) {
                begin();
                continue;
            }
            if (auto reached = wait())
                return std::move(*reached);
        }
        std::ranges::sort(failures_, {}, &Failed::index);
        std::vector<Failure> failures;
        failures.reserve(failures_.size());
        for (const Failed& failed : failures_)
            failures.push_back(failed.failure);
        return std::unexpected(std::move(failures));
    }

private:
    struct Waiting {
        size_t index; ///< among the target's addresses
        Fd fd;
        uint64_t begun_ns;
        int times_too_big = 0; ///< UDP: routers refused to pass on what was sent
    };
    struct Failed {
        size_t index;
        Failure failure;
    };

    bool is_stream() const { return target_.transport == Transport::tcp; }
    bool is_latest(const Waiting& tried) const { return tried.index + 1 == next_; }

    void begin() {
        if (!waiting_.empty() && is_latest(waiting_.back()))
            note_silent(waiting_.back());
        const SocketAddress& address = target_.addresses[next_++];
        const uint64_t now_ms = monotonic_ms();
        const uint64_t left_ms = end_ms_ - std::min(end_ms_, now_ms);
        const uint64_t turn_ms = std::clamp<uint64_t>(
            left_ms / (target_.addresses.size() - (next_ - 1)), 1, trial_.turn_ms_max);
        turn_end_ms_ = now_ms + turn_ms;
        end_ms_ = std::max(end_ms_, turn_end_ms_); // the last one is asked, too
        Waiting tried{.index = next_ - 1, .fd = Fd(), .begun_ns = monotonic_ns()};
        auto fd = begin_connect(target_, address);
        if (!fd) {
            fail(tried, fd.error());
            return;
        }
        tried.fd = std::move(*fd);
        if (!is_stream()) {
            note_connected(tried);
            tried.begun_ns = monotonic_ns();
            if (const int error = send(tried); error != 0) {
                Cause cause = take_queued_error(tried.fd.get()); // with the MTU, if it is too big
                if (cause.error != error)
                    cause = {};
                fail(tried, {.address = address, .error = error, .cause = cause});
                return;
            }
            report_.note(fmt::format("sent {}", byte_count(trial_.datagram.size())));
        }
        waiting_.push_back(std::move(tried));
    }

    /// 0 or errno.
    int send(const Waiting& tried) const {
        const auto [bytes, size] = std::pair(trial_.datagram.data(), trial_.datagram.size());
        return ::send(tried.fd.get(), bytes, size, MSG_NOSIGNAL) < 0 ? errno : 0;
    }

    /// Waits for an event; the address that answered, if one did.
    std::optional<Reached> wait() {
        std::vector<pollfd> polled;
        polled.reserve(waiting_.size());
        for (const Waiting& tried : waiting_)
            polled.push_back(
                {.fd = tried.fd.get(),
                 .events = static_cast<short>(is_stream() ? POLLOUT : POLLIN),
                 .revents = 0});
        const uint64_t turn_end_ms = next_ < target_.addresses.size() ? turn_end_ms_ : end_ms_;
        const uint64_t until_ms = std::min({end_ms_, turn_end_ms, next_resend_ms_});
        const int error = await_ready(polled, {until_ms, trial_.patience.loop});
        if (error == 0)
            return look(polled);
        if (error != ETIMEDOUT || until_ms == end_ms_)
            give_up(error);
        else if (until_ms == next_resend_ms_)
            resend();
        return std::nullopt;
    }

    std::optional<Reached> look(const std::vector<pollfd>& polled) {
        std::vector<Waiting> still;
        std::optional<Reached> reached;
        for (size_t i = 0; i < waiting_.size(); i++) {
            Waiting& tried = waiting_[i];
            Cause cause{.error = EINPROGRESS};
            if (polled[i].revents != 0 && !reached)
                cause = is_stream() ? finish_connect(tried.fd.get(), address_of(tried))
                                    : receive(tried);
            if (cause.error == 0)
                reached = answered(tried);
            else if (cause.error == EINPROGRESS)
                still.push_back(std::move(tried));
            else
                fail(
                    tried, {.address = address_of(tried),
                            .error = cause.error,
                            .heard = true,
                            .cause = cause,
                            .took_ns = monotonic_ns() - tried.begun_ns});
        }
        waiting_ = std::move(still);
        return reached;
    }

    /// `error` 0: a datagram is in `answer_`. EINPROGRESS: nothing came. Else what was said of the
    /// address.
    Cause receive(Waiting& tried) {
        answer_.resize(datagram_bytes_room);
        int error = 0;
        // The socket returns a pending error before a datagram, and only once.
        for (int i = 0; i < 2; i++) {
            const ssize_t size = ::recv(tried.fd.get(), answer_.data(), answer_.size(), 0);
            if (size >= 0) {
                answer_.resize(static_cast<size_t>(size));
                return {};
            }
            if (errno != EAGAIN && errno != EINTR)
                error = errno;
        }
        Cause cause = take_queued_error(tried.fd.get());
        if (cause.error == 0 && error != 0)
            cause = cause_of(error, address_of(tried));
        // The path's MTU has just been learned: the next one is sent in fragments that fit.
        if (cause.error == EMSGSIZE && !target_.path.df &&
            tried.times_too_big++ < hops_too_small_max) {
            send(tried);
            return {.error = EINPROGRESS};
        }
        // A datagram with a bad checksum wakes poll(2), and is gone when it is read.
        return cause.error == 0 ? Cause{.error = EINPROGRESS} : cause;
    }

    Reached answered(Waiting& tried) {
        if (is_stream())
            note_connected(tried);
        return {
            .fd = std::move(tried.fd),
            .address = address_of(tried),
            .answer = std::move(answer_),
            .answer_ms = ms_since(tried)};
    }

    void resend() {
        next_resend_ms_ += trial_.resend_ms;
        for (const Waiting& tried : waiting_)
            send(tried); // an error comes back by the socket as well, or with the next one
    }

    /// The time is over (ETIMEDOUT), or the wait was interrupted.
    void give_up(int error) {
        for (const Waiting& tried : waiting_) {
            fail(
                tried, {.address = address_of(tried),
                        .error = error,
                        .waited_ms = error == ETIMEDOUT ? waited_ms(tried) : 0});
        }
        waiting_.clear();
        next_ = target_.addresses.size();
    }

    /// The first address has all of the timeout, which began before its name was looked up.
    uint32_t waited_ms(const Waiting& tried) const {
        const uint64_t begun_ms = tried.begun_ns / 1'000'000;
        const auto ms = static_cast<uint32_t>(end_ms_ - std::min(end_ms_, begun_ms));
        return tried.index == 0 ? target_.timeout_ms : std::max(ms, 1U);
    }

    void fail(const Waiting& tried, const Failure& failure) {
        if (is_latest(tried))
            turn_end_ms_ = 0;
        const bool is_late = failure.error == ETIMEDOUT && failure.waited_ms > 0;
        if (is_late)
            note_silent(tried);
        else
            report_.note(fmt::format(
                "{}: {} after {:.1f} ms", spelled(target_, failure.address), what_failed(failure),
                ms_since(tried)));
        failures_.push_back({tried.index, failure});
    }

    void note_silent(const Waiting& tried) const {
        report_.note(fmt::format(
            "{}: no {} after {:.1f} ms", spelled(target_, address_of(tried)),
            is_stream() ? "connection" : "answer", ms_since(tried)));
    }

    void note_connected(const Waiting& tried) const {
        report_.note(fmt::format(
            "connected to {} from {}", spelled(target_, address_of(tried)),
            to_string(local_address(tried.fd.get()))));
    }

    const SocketAddress& address_of(const Waiting& tried) const {
        return target_.addresses[tried.index];
    }
    static double ms_since(const Waiting& tried) {
        return static_cast<double>(monotonic_ns() - tried.begun_ns) / 1e6;
    }

    const Target& target_;
    const Trial& trial_;
    const Report& report_;
    size_t next_ = 0;          ///< the next of the addresses
    uint64_t turn_end_ms_ = 0; ///< of the one before it
    uint64_t end_ms_;
    uint64_t next_resend_ms_ = UINT64_MAX;
    std::vector<Waiting> waiting_;
    std::vector<Failed> failures_;
    std::vector<std::byte> answer_;
};

} // namespace

std::expected<Reached, std::vector<Failure>> reach(
    const Target& target, const Trial& trial, const Report& report) {
    return Trying(target, trial, report).run();
}

SocketAddress choose_address(
    const Target& target, std::span<const std::byte> probe, uint64_t deadline_ms) {
    if (target.addresses.size() == 1)
        return target.addresses.front();
    Trial trial{.datagram = probe, .patience = {.deadline_ms = deadline_ms}};
    if (target.transport == Transport::udp) {
        trial.turn_ms_max = choice_turn_ms;
        trial.patience.deadline_ms =
            std::min(deadline_ms, monotonic_ms() + choice_turn_ms * target.addresses.size());
    }
    const auto reached = reach(target, trial, Report(Color::never, false));
    if (reached)
        return reached->address;
    const auto silent = std::ranges::find(reached.error(), ETIMEDOUT, &Failure::error);
    return silent != reached.error().end() ? silent->address : target.addresses.front();
}

} // namespace riposte::client
