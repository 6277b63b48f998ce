// One message and its answer.
//
// A stream is written and read at the same time: a peer that echoes stops reading when the client
// does not read, so writing everything first would block forever on a message longer than
// the buffers on the way. The answer goes to standard output as it arrives; a slow reader there
// delays the exchange, which is intended and not the peer's fault: the timeout counts from the last
// byte that moved, without the time in write(2).
//
// A reset throws away what the peer had not read, but not what it had sent before: that is still
// in our receive queue, and is copied to the end before the reset is reported. Whether the answer
// was complete is unknown then, so it never counts as success.
#include "client/send/send.h"

#include "client/net/connect.h"
#include "client/net/reach.h"
#include "client/show/figures.h"
#include "common/clock.h"
#include "common/text.h"
#include "common/units.h"

#include <array>
#include <cerrno>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace riposte::client {

namespace {

constexpr size_t receive_chunk_bytes = 65536; ///< read at once; also more than any datagram holds

using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point start) {
    return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

class StreamExchange {
public:
    StreamExchange(int fd, std::string_view message, int output, const Report& report)
        : fd_(fd), pending_(message), output_(output), report_(report),
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
            if (result_.ending != Ending::output_failed)
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
            return false;
        }
        result_.answer_ms = ms_since(start_);
        const std::string_view bytes(buffer_.data(), static_cast<size_t>(size));
        if (const int error = write_all(output_, bytes); error != 0) {
            end(Ending::output_failed, error);
            return false;
        }
        result_.received += bytes.size();
        result_.last = bytes.back();
        return true;
    }

    int fd_;
    std::string_view pending_; ///< what of the message is not written yet
    int output_;
    const Report& report_;
    std::vector<char> buffer_;
    Clock::time_point start_;
    Exchange result_;
    bool message_ended_ = false;
    bool peer_ended_ = false;
    bool done_ = false;
};

/// Standard input to its end, binary safe; at most `bytes_max`, else `too_long`.
Result<std::string> read_input(size_t bytes_max, std::string_view too_long) {
    std::string message;
    std::array<char, receive_chunk_bytes> chunk{};
    for (;;) {
        const ssize_t size = ::read(STDIN_FILENO, chunk.data(), chunk.size());
        if (size == 0)
            return message;
        if (size > 0) {
            message.append(chunk.data(), static_cast<size_t>(size));
            if (message.size() > bytes_max)
                return fail(Exit::usage, std::string(too_long));
        } else if (errno == EAGAIN) {
            pollfd wait{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
            ::poll(&wait, 1, -1);
        } else if (errno != EINTR) {
            return fail(Exit::usage, fmt::format("standard input: {}", reason(errno)));
        }
    }
}

Result<std::string> load_message(const SendOptions& options) {
    const bool datagram = options.endpoint.transport == Transport::udp;
    const size_t bytes_max = datagram ? datagram_bytes_max : message_bytes_max;
    const std::string_view too_long =
        datagram ? "a UDP datagram holds at most 65,507 bytes; send a longer message over TCP"
                 : "a message holds at most 1 GiB";
    if (options.message_from_input)
        return read_input(bytes_max, too_long);
    if (options.message.size() > bytes_max)
        return fail(Exit::usage, std::string(too_long));
    return options.message;
}

/// On a terminal the prompt, or our next line, starts a line of its own; the output itself stays
/// as it came.
void end_terminal_line(char last) {
    if (last != '\n' && isatty(STDOUT_FILENO) == 1 && isatty(STDERR_FILENO) == 1)
        write_all(STDERR_FILENO, "\n");
}

void note_answer(const Report& report, const SocketAddress& peer, size_t bytes, double ms) {
    report.note(
        fmt::format("answer from {}: {} in {:.1f} ms", to_string(peer), byte_count(bytes), ms));
}

Result<void> send_stream(
    const Target& target, const Reached& reached, std::string_view message, const Report& report) {
    Exchange exchange =
        exchange_stream(reached.fd.get(), message, target.timeout_ms, STDOUT_FILENO, report);
    exchange.connect_ms = reached.answer_ms;
    end_terminal_line(exchange.last);
    if (exchange.received > 0)
        note_answer(report, reached.address, exchange.received, exchange.answer_ms);
    return judge(exchange, name_of(target, reached.address), message.size(), target.timeout_ms);
}

Result<void> show_datagram(const Reached& reached, const Report& report) {
    const std::string_view answer(
        reinterpret_cast<const char*>(reached.answer.data()), reached.answer.size());
    if (const int error = write_all(STDOUT_FILENO, answer); error != 0)
        return output_error(error);
    end_terminal_line(answer.empty() ? '\n' : answer.back());
    note_answer(report, reached.address, answer.size(), reached.answer_ms);
    return {};
}

} // namespace

Exchange exchange_stream(
    int fd, std::string_view message, uint32_t timeout_ms, int output, const Report& report) {
    return StreamExchange(fd, message, output, report).run(timeout_ms);
}

Result<void> judge(
    const Exchange& exchange, std::string_view name, size_t message_bytes, uint32_t timeout_ms) {
    const auto had_come = [&] { return fmt::format("{} had come", byte_count(exchange.received)); };
    const auto failed = [&](std::string_view what) {
        return fail(Exit::failed, fmt::format("{}: {}", name, what));
    };
    switch (exchange.ending) {
    case Ending::finished:
        if (exchange.received == 0)
            return failed("closed without an answer; is it the service that you meant?");
        return {};
    case Ending::timed_out: {
        const std::string wait = format_duration(timeout_ms);
        if (exchange.sent < message_bytes)
            return failed(fmt::format(
                "the peer stopped reading the message for {} ({} of {} sent, {} of answer); "
                "-W waits longer",
                wait, exchange.sent, byte_count(message_bytes), byte_count(exchange.received)));
        if (exchange.received == 0)
            return failed(fmt::format(
                "{}no answer after {}; -W waits longer",
                exchange.connect_ms > 0
                    ? fmt::format("connected in {} ms, ", milliseconds(exchange.connect_ms * 1e6))
                    : "",
                wait));
        return failed(
            fmt::format("the answer stalled for {} ({}); -W waits longer", wait, had_come()));
    }
    case Ending::broken:
        return failed(fmt::format(
            "{} ({}){}", reason(exchange.error), had_come(),
            exchange.error == ECONNRESET && exchange.received > 0
                ? "; the message may have been longer than the peer reads"
                : ""));
    case Ending::output_failed:
        return output_error(exchange.error);
    }
    std::unreachable();
}

Result<Exit> send(const CommonOptions& common, const SendOptions& options) {
    const Result<std::string> message = load_message(options);
    if (!message)
        return std::unexpected(message.error());
    const Patience patience{.deadline_ms = monotonic_ms() + common.timeout_ms};
    const Result<Target> target = resolve_target(options.endpoint, common, patience);
    if (!target)
        return std::unexpected(target.error());
    const Report report(common.color, options.verbose);
    if (!options.hint.empty())
        report.error(options.hint);
    const Trial trial{.datagram = std::as_bytes(std::span(*message)), .patience = patience};
    const auto reached = reach(*target, trial, report);
    if (!reached)
        return std::unexpected(connect_error(*target, reached.error()));
    const Result<void> sent = target->transport == Transport::tcp
                                  ? send_stream(*target, *reached, *message, report)
                                  : show_datagram(*reached, report);
    if (!sent)
        return std::unexpected(sent.error());
    return Exit::ok;
}

} // namespace riposte::client
