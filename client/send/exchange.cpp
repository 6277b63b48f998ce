// A stream is written and read at the same time: a peer that echoes stops reading when the client
// does not read, so writing everything first would block forever on a message longer than
// the buffers on the way. The answer goes to standard output as it arrives; a slow reader there
// delays the exchange, which is intended and not the peer's fault: the timeout counts from the last
// byte that moved, without the time in write(2).
//
// A reset throws away what the peer had not read, but not what it had sent before: that is still
// in our receive queue, and is copied to the end before the reset is reported. Whether the answer
// was complete is unknown then, so it never counts as success, unless the rules say where the
// answer ends and that has come.
#include "client/send/exchange.h"

#include "client/net/patience.h"
#include "client/show/figures.h"
#include "common/clock.h"
#include "common/text.h"
#include "common/units.h"

#include <cerrno>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

namespace riposte::client {

namespace {

constexpr size_t receive_chunk_bytes = 65536; ///< read at once; also more than any datagram holds

using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point start) {
    return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

/// Copies what arrives to the output, as far as it belongs to the answer.
class AnswerCopy {
public:
    AnswerCopy(int output, AnswerWatch& watch, Exchange& result)
        : output_(output), watch_(watch), result_(result) {}

    /// `ms`: since the message left. False if the exchange is over; why is in the result.
    bool take(std::string_view piece, double ms) {
        if (!std::exchange(begun_, true))
            result_.first_ms = ms;
        result_.answer_ms = ms;
        const std::string_view answer = piece.substr(0, watch_.take(piece));
        if (output_ != no_output)
            if (const int error = write_all(output_, answer); error != 0)
                return end(Ending::output_failed, error);
        result_.received += answer.size();
        if (!answer.empty())
            result_.last = answer.back();
        if (watch_.is_out_of_memory())
            return end(Ending::broken, ENOMEM);
        return !watch_.is_over();
    }

private:
    bool end(Ending ending, int error) {
        result_.ending = ending;
        result_.error = error;
        return false;
    }

    int output_;
    AnswerWatch& watch_;
    Exchange& result_;
    bool begun_ = false;
};

class StreamExchange {
public:
    StreamExchange(
        int fd, std::string_view message, int output, const Report& report, AnswerWatch& watch)
        : fd_(fd), pending_(message), report_(report), watch_(watch), copy_(output, watch, result_),
          buffer_(receive_chunk_bytes) {}

    Exchange run(uint32_t timeout_ms) {
        start_ = Clock::now();
        while (!done_) {
            if (pending_.empty())
                end_message();
            pollfd wait{.fd = fd_, .events = 0, .revents = 0};
            wait.events =
                static_cast<short>((peer_ended_ ? 0 : POLLIN) | (pending_.empty() ? 0 : POLLOUT));
            if (await_ready({&wait, 1}, {.deadline_ms = monotonic_ms() + timeout_ms}) != 0) {
                end(Ending::timed_out, 0);
                break;
            }
            if (!pending_.empty())
                write_some();
            if (!done_ && !peer_ended_ && (wait.revents & ~POLLOUT) != 0)
                read_some();
            if (peer_ended_ && pending_.empty())
                done_ = true;
        }
        return result_;
    }

private:
    void end(Ending ending, int error) {
        result_.ending = ending;
        result_.error = error;
        done_ = true;
    }

    /// Half-closes, once. A peer that is gone already shows at the next read.
    void end_message() {
        if (std::exchange(message_ended_, true))
            return;
        ::shutdown(fd_, SHUT_WR);
        report_.note(fmt::format("sent {}", byte_count(result_.sent)));
    }

    void write_some() {
        const ssize_t size = ::send(fd_, pending_.data(), pending_.size(), MSG_NOSIGNAL);
        if (size >= 0) {
            pending_.remove_prefix(static_cast<size_t>(size));
            result_.sent += static_cast<uint64_t>(size);
        } else if (errno != EAGAIN && errno != EINTR) {
            // EPIPE is how a reset reads after the peer had ended its side.
            const int error = errno == EPIPE ? ECONNRESET : errno;
            while (!done_ && !peer_ended_ && read_some()) {
            }
            if (result_.ending != Ending::output_failed && !watch_.is_over())
                end(Ending::broken, error);
        }
    }

    /// Copies what is there; false if nothing was.
    bool read_some() {
        const ssize_t size = ::recv(fd_, buffer_.data(), buffer_.size(), 0);
        if (size < 0) {
            if (errno != EAGAIN && errno != EINTR)
                end(Ending::broken, errno);
            return false;
        }
        if (size == 0) {
            peer_ended_ = true;
            watch_.finish();
            return false;
        }
        done_ = !copy_.take({buffer_.data(), static_cast<size_t>(size)}, ms_since(start_));
        return !done_;
    }

    int fd_;
    std::string_view pending_; ///< what of the message is not written yet
    const Report& report_;
    AnswerWatch& watch_;
    Exchange result_;
    AnswerCopy copy_;
    std::vector<char> buffer_;
    Clock::time_point start_;
    bool message_ended_ = false;
    bool peer_ended_ = false;
    bool done_ = false;
};

/// What the rules still wait for: `; expected "OK", got 5 bytes: "hello"`; empty: nothing.
std::string missing(const AnswerWatch& watch) {
    if (const std::string end = watch.missing_end(); !end.empty())
        return fmt::format(" before {} came; got {}", end, watch.shown());
    if (const std::string content = watch.missing_content(); !content.empty())
        return fmt::format("; expected {}, got {}", content, watch.shown());
    return "";
}

std::string why_timed_out(
    const Exchange& exchange, const AnswerWatch& watch, size_t message_bytes, uint32_t timeout_ms) {
    const std::string wait = format_duration(timeout_ms);
    if (exchange.sent < message_bytes)
        return fmt::format(
            "the peer stopped reading the message for {} ({} of {} sent, {} of answer); "
            "-W waits longer",
            wait, exchange.sent, byte_count(message_bytes), byte_count(exchange.received));
    if (exchange.received == 0 && !watch.has_taken())
        return fmt::format(
            "{}no answer after {}; -W waits longer",
            exchange.connect_ms > 0
                ? fmt::format("connected in {} ms, ", milliseconds(exchange.connect_ms * 1e6))
                : "",
            wait);
    const std::string without = missing(watch);
    return fmt::format(
        "the answer stalled for {}{}; -W waits longer", wait,
        without.empty() ? fmt::format(" ({} had come)", byte_count(exchange.received)) : without);
}

std::string why_broken(const Exchange& exchange, const AnswerWatch& watch) {
    const std::string without = watch.has_taken() ? missing(watch) : "";
    return fmt::format(
        "{}{}{}", reason(exchange.error),
        without.empty() ? fmt::format(" ({} had come)", byte_count(exchange.received)) : without,
        exchange.error == ECONNRESET && exchange.received > 0
            ? "; the message may have been longer than the peer reads"
            : "");
}

} // namespace

Exchange exchange_stream(
    int fd, std::string_view message, uint32_t timeout_ms, int output, const Report& report,
    AnswerWatch& watch) {
    return StreamExchange(fd, message, output, report, watch).run(timeout_ms);
}

Exchange receive_datagrams(
    int fd, std::string_view first, double first_ms, uint32_t timeout_ms, int output,
    AnswerWatch& watch) {
    const Clock::time_point received = Clock::now();
    Exchange result;
    AnswerCopy copy(output, watch, result);
    const auto take = [&](std::string_view datagram, double ms) {
        const bool goes_on = copy.take(datagram, ms);
        if (goes_on)
            watch.finish();
        return goes_on && !watch.is_over();
    };
    if (!take(first, first_ms))
        return result;
    std::vector<char> buffer(receive_chunk_bytes);
    for (uint64_t deadline_ms = monotonic_ms() + timeout_ms;;) {
        if (await_ready(fd, POLLIN, {.deadline_ms = deadline_ms}) != 0) {
            result.ending = Ending::timed_out;
            return result;
        }
        const ssize_t size = ::recv(fd, buffer.data(), buffer.size(), 0);
        if (size >= 0) {
            deadline_ms = monotonic_ms() + timeout_ms;
            const double ms = first_ms + ms_since(received);
            if (!take({buffer.data(), static_cast<size_t>(size)}, ms))
                return result;
        } else if (errno != EAGAIN && errno != EINTR) {
            result.ending = Ending::broken;
            result.error = errno;
            return result;
        }
    }
}

Result<void> judge(
    const Exchange& exchange, const AnswerWatch& watch, std::string_view name, size_t message_bytes,
    uint32_t timeout_ms) {
    const auto failed = [&](std::string_view what) {
        return fail(Exit::failed, fmt::format("{}: {}", name, what));
    };
    switch (exchange.ending) {
    case Ending::finished:
        if (exchange.received == 0 && !watch.has_taken())
            return failed("closed without an answer; is it the service that you meant?");
        if (!watch.missing_end().empty())
            return failed("closed" + missing(watch));
        if (const std::string content = watch.missing_content(); !content.empty())
            return failed(fmt::format("expected {}, got {}", content, watch.shown()));
        return {};
    case Ending::timed_out:
        return failed(why_timed_out(exchange, watch, message_bytes, timeout_ms));
    case Ending::broken:
        return failed(why_broken(exchange, watch));
    case Ending::output_failed:
        return output_error(exchange.error);
    }
    std::unreachable();
}

} // namespace riposte::client
