// The gate before figures count: an echo whose client reads late, while another client is served.
//
// One connection sends a pattern as fast as the server takes it, reads nothing for a while, and
// then everything, comparing it byte for byte to the end of the stream, which must follow the last
// byte (the sending side is closed after it). Every eight bytes of the pattern contain their
// offset, so that any lost, repeated or exchanged bytes are found. Meanwhile a second connection
// has a small message echoed every 10 ms: it must not wait for the first one.
//
//     late_reader -p PORT [-b MEBIBYTES] [-l LATE_MS] [-T SECONDS]
//
// Ends when all bytes have come, at the first wrong byte, or after -T seconds (60). The program
// does not judge how long the other connection waits: `others_longest_ms` reports it. Status 1 if
// the bytes or the replies of the other connection were not exact.
#include "tests/bench/bench_support.h"

#include <algorithm>

#include <poll.h>

using namespace riposte;
using namespace riposte::bench;

namespace {

constexpr size_t chunk_bytes = 65536;
constexpr unsigned other_bytes = 64;
constexpr uint64_t other_interval_ns = 10 * ns_per_ms;

struct Settings {
    unsigned port = 0;
    unsigned mebibytes = 24;
    unsigned late_ms = 500;
    double limit = 60;

    uint64_t bytes() const { return uint64_t{mebibytes} << 20; }
};

/// The pattern of the stream: the word at each multiple of eight is made of its place.
class Pattern {
public:
    /// `size` bytes of the stream from `offset` on; valid until the next call. size <= chunk_bytes.
    const std::byte* at(uint64_t offset, size_t size) {
        constexpr size_t word = sizeof(uint64_t);
        const uint64_t first = offset / word;
        const size_t skip = offset % word;
        const size_t count = (skip + size + word - 1) / word;
        for (size_t i = 0; i < count; i++)
            words_[i] = mixed(first + i);
        return reinterpret_cast<const std::byte*>(words_.data()) + skip;
    }

private:
    std::vector<uint64_t> words_ = std::vector<uint64_t>(chunk_bytes / sizeof(uint64_t) + 2);
};

/// The connection that reads late.
class Bulk {
public:
    explicit Bulk(const Settings& settings)
        : fd_(tcp_socket()), bytes_(settings.bytes()), buffer_(chunk_bytes) {
        if (connect_to(fd_, loopback(1, settings.port)) != 0)
            die("connect");
    }

    bool is_over() const { return ended_ || wrong_; }
    bool is_exact() const { return ended_ && !wrong_ && received_ == bytes_; }
    uint64_t received() const {
        return received_;
    } ///< right bytes; the next one is the first wrong

    pollfd wanted(bool reads) const {
        const int events = (sent_ < bytes_ ? POLLOUT : 0) | (reads ? POLLIN : 0);
        return {.fd = fd_.get(), .events = static_cast<short>(events), .revents = 0};
    }

    void advance(int events, bool reads) {
        if ((events & (POLLOUT | POLLERR)) != 0 && sent_ < bytes_)
            send_more();
        if (reads && !is_over() && (events & (POLLIN | POLLHUP | POLLERR)) != 0)
            receive_more();
    }

private:
    void send_more() {
        const size_t size = std::min<uint64_t>(chunk_bytes, bytes_ - sent_);
        const ssize_t taken =
            send(fd_.get(), pattern_.at(sent_, size), size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (taken < 0) {
            ended_ = errno != EAGAIN;
            return;
        }
        sent_ += static_cast<uint64_t>(taken);
        if (sent_ == bytes_ && shutdown(fd_.get(), SHUT_WR) != 0)
            ended_ = true;
    }

    void receive_more() {
        const ssize_t got = recv(fd_.get(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
        if (got <= 0) {
            ended_ = got == 0 || errno != EAGAIN;
            return;
        }
        // Any byte after the last one is wrong.
        const auto size = static_cast<size_t>(got);
        const size_t due = std::min<uint64_t>(size, bytes_ - received_);
        const std::byte* expected = pattern_.at(received_, due);
        const auto same = static_cast<size_t>(
            std::mismatch(buffer_.data(), buffer_.data() + due, expected).first - buffer_.data());
        received_ += same;
        wrong_ = same < size;
    }

    Fd fd_;
    uint64_t bytes_;
    uint64_t sent_ = 0;
    uint64_t received_ = 0;
    bool ended_ = false; ///< the stream has ended, correctly or not
    bool wrong_ = false;
    Pattern pattern_;
    std::vector<std::byte> buffer_;
};

/// The connection that must not wait: one small message under way at a time.
class Other {
public:
    explicit Other(const Settings& settings)
        : fd_(tcp_socket()), messages_(other_bytes), request_(other_bytes), answer_(other_bytes) {
        if (connect_to(fd_, loopback(1, settings.port)) != 0)
            die("connect");
    }

    bool is_waiting() const { return waiting_; }
    bool failed() const { return failed_; }
    uint64_t answered() const { return answered_; }
    /// The longest time to a reply, including the pending one.
    uint64_t longest_ns(uint64_t now) const {
        return waiting_ ? std::max(longest_ns_, now - sent_ns_) : longest_ns_;
    }
    uint64_t due_ns() const { return waiting_ ? UINT64_MAX : sent_ns_ + other_interval_ns; }

    pollfd wanted() const { return {.fd = fd_.get(), .events = POLLIN, .revents = 0}; }

    void send_if_due(uint64_t now) {
        if (failed_ || now < due_ns())
            return;
        messages_.write(++sequence_, request_.data());
        failed_ = send(fd_.get(), request_.data(), other_bytes, MSG_DONTWAIT | MSG_NOSIGNAL) !=
                  static_cast<ssize_t>(other_bytes);
        waiting_ = true;
        sent_ns_ = now;
        received_ = 0;
    }

    void receive() {
        const ssize_t got =
            recv(fd_.get(), answer_.data() + received_, other_bytes - received_, MSG_DONTWAIT);
        if (got <= 0) {
            failed_ = failed_ || got == 0 || errno != EAGAIN;
            return;
        }
        received_ += static_cast<size_t>(got);
        if (received_ < other_bytes)
            return;
        if (!messages_.is_right(sequence_, answer_.data(), other_bytes)) {
            failed_ = true;
            return;
        }
        longest_ns_ = longest_ns(monotonic_ns());
        waiting_ = false;
        answered_++;
    }

private:
    Fd fd_;
    Messages messages_;
    std::vector<std::byte> request_;
    std::vector<std::byte> answer_;
    size_t received_ = 0;
    bool waiting_ = false;
    bool failed_ = false;
    uint64_t sequence_ = 0;
    uint64_t sent_ns_ = 0;
    uint64_t longest_ns_ = 0;
    uint64_t answered_ = 0;
};

class Gate {
public:
    explicit Gate(const Settings& settings)
        : settings_(settings), bulk_(settings), other_(settings) {}

    void run() {
        const uint64_t late_ns = start_ns_ + settings_.late_ms * ns_per_ms;
        const uint64_t limit_ns = start_ns_ + static_cast<uint64_t>(settings_.limit * 1e9);
        // After the last byte, the other connection's last reply is still awaited.
        for (uint64_t now = start_ns_; now < limit_ns; now = monotonic_ns()) {
            if (bulk_.is_over() && (other_.failed() || !other_.is_waiting()))
                break;
            if (!bulk_.is_over())
                other_.send_if_due(now);
            turn(now, late_ns, limit_ns);
        }
        end_ns_ = monotonic_ns();
    }

    bool is_passed() const {
        return bulk_.is_exact() && other_.answered() > 0 && !other_.failed() &&
               !other_.is_waiting();
    }

    void report() const {
        JsonLine line;
        line.add("bytes", bulk_.received());
        line.add("exact", bulk_.is_exact());
        if (bulk_.is_exact())
            line.add_null("first_wrong_offset");
        else
            line.add("first_wrong_offset", bulk_.received());
        line.add("others", other_.answered());
        line.add("others_failed", other_.failed() || other_.is_waiting());
        line.add("others_longest_ms", static_cast<double>(other_.longest_ns(end_ns_)) / 1e6);
        line.add("seconds", static_cast<double>(end_ns_ - start_ns_) / 1e9);
        line.print();
    }

private:
    /// Waits for events, at most until a message is due. The other connection goes first: this
    /// program's work for the bulk must not look like the server's delay.
    void turn(uint64_t now, uint64_t late_ns, uint64_t limit_ns) {
        const bool reads = now >= late_ns;
        uint64_t due_ns = std::min(limit_ns, other_.due_ns());
        if (!reads)
            due_ns = std::min(due_ns, late_ns);
        const uint64_t wait_ms = due_ns > now ? (due_ns - now) / ns_per_ms + 1 : 0;
        pollfd wanted[] = {other_.wanted(), bulk_.wanted(reads)};
        if (other_.failed())
            wanted[0].fd = -1;
        // A broken connection would wake each poll, even one that waits for no event on it.
        if (bulk_.is_over() || wanted[1].events == 0)
            wanted[1].fd = -1;
        if (poll(wanted, std::size(wanted), static_cast<int>(wait_ms)) < 0 && errno != EINTR)
            die("poll");
        if (wanted[0].revents != 0)
            other_.receive();
        if (wanted[1].revents != 0)
            bulk_.advance(wanted[1].revents, reads);
    }

    Settings settings_;
    uint64_t start_ns_ = monotonic_ns();
    uint64_t end_ns_ = 0;
    Bulk bulk_;
    Other other_;
};

bool parse(int argc, char** argv, Settings& settings) {
    Options options("-p PORT [-b MEBIBYTES] [-l LATE_MS] [-T SECONDS]");
    options.port(settings.port);
    options.number('b', settings.mebibytes, 1, 65536);
    options.number('l', settings.late_ms, 0, 60000);
    options.number('T', settings.limit, 0.01, 3600.0);
    return options.parse(argc, argv);
}

} // namespace

int main(int argc, char** argv) {
    Settings settings;
    if (!parse(argc, argv, settings))
        return 2;
    Gate gate(settings);
    gate.run();
    gate.report();
    return gate.is_passed() ? 0 : 1;
}
