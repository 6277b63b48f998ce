// One message and its answer: where the message comes from, the peer that it goes to, and what -v
// logs. The exchange itself is in exchange.h.
#include "client/send/send.h"

#include "client/net/connect.h"
#include "client/net/reach.h"
#include "client/send/exchange.h"
#include "client/show/figures.h"
#include "client/show/report.h"
#include "common/clock.h"
#include "common/text.h"

#include <array>
#include <cerrno>
#include <span>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

namespace riposte::client {

namespace {

constexpr size_t input_chunk_bytes = 65536; ///< of standard input, read at once

/// Standard input to its end, binary safe; at most `bytes_max`, else `too_long`.
Result<std::string> read_input(size_t bytes_max, std::string_view too_long) {
    std::string message;
    std::array<char, input_chunk_bytes> chunk{};
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

/// Of -v: how long each part took. `connect_ms` is 0 over UDP.
void note_times(const Report& report, double lookup_ms, const Exchange& exchange, double whole_ms) {
    const auto text = [](double ms) { return milliseconds(ms * 1e6); };
    const std::string connect =
        exchange.connect_ms > 0 ? fmt::format("connect {} ms, ", text(exchange.connect_ms)) : "";
    const std::string first =
        exchange.first_ms > 0 ? fmt::format("first byte {} ms, ", text(exchange.first_ms)) : "";
    report.note(fmt::format(
        "times: lookup {} ms, {}{}whole {} ms", text(lookup_ms), connect, first, text(whole_ms)));
}

/// The exchange with a peer that has been reached.
class Conversation {
public:
    Conversation(const Target& target, const SendOptions& options, const Report& report)
        : target_(target), output_(options.quiet ? no_output : STDOUT_FILENO), report_(report),
          watch_(options.answer) {}

    Exchange run(const Reached& reached, std::string_view message) {
        Exchange exchange;
        if (target_.transport == Transport::tcp) {
            exchange = exchange_stream(
                reached.fd.get(), message, target_.timeout_ms, output_, report_, watch_);
            exchange.connect_ms = reached.answer_ms;
        } else {
            const std::string_view first(
                reinterpret_cast<const char*>(reached.answer.data()), reached.answer.size());
            exchange = receive_datagrams(
                reached.fd.get(), first, reached.answer_ms, target_.timeout_ms, output_, watch_);
            exchange.sent = message.size();
        }
        if (output_ != no_output)
            end_terminal_line(exchange.last);
        if (watch_.has_taken())
            report_.note(fmt::format(
                "answer from {}: {} in {:.1f} ms", to_string(reached.address),
                byte_count(exchange.received), exchange.answer_ms));
        return exchange;
    }

    Result<void> judge(
        const Exchange& exchange, const Reached& reached, size_t message_bytes) const {
        return client::judge(
            exchange, watch_, name_of(target_, reached.address), message_bytes, target_.timeout_ms);
    }

private:
    const Target& target_;
    int output_;
    const Report& report_;
    AnswerWatch watch_;
};

} // namespace

Result<Exit> send(const CommonOptions& common, const SendOptions& options) {
    const Result<std::string> message = load_message(options);
    if (!message)
        return std::unexpected(message.error());
    const uint64_t start_ns = monotonic_ns();
    const auto ms_since_start = [&] {
        return static_cast<double>(monotonic_ns() - start_ns) / 1e6;
    };
    const Patience patience{.deadline_ms = monotonic_ms() + common.timeout_ms};
    const Result<Target> target = resolve_target(options.endpoint, common, patience);
    if (!target)
        return std::unexpected(target.error());
    const double lookup_ms = ms_since_start();
    const Report report(common.color, options.verbose);
    if (!options.hint.empty())
        report.error(options.hint);
    const Trial trial{.datagram = std::as_bytes(std::span(*message)), .patience = patience};
    const auto reached = reach(*target, trial, report);
    if (!reached)
        return std::unexpected(connect_error(*target, reached.error()));
    Conversation conversation(*target, options, report);
    const Exchange exchange = conversation.run(*reached, *message);
    note_times(report, lookup_ms, exchange, ms_since_start());
    if (const auto judged = conversation.judge(exchange, *reached, message->size()); !judged)
        return std::unexpected(judged.error());
    return Exit::ok;
}

} // namespace riposte::client
