// One request at a time against an echo: the time of a reply on an idle server.
//
// One socket, TCP without Nagle's delay or UDP; it sends a request, waits for its whole reply,
// compares it, and sends the next. By default the wait is a blocking recv: both sides sleep, and
// the wake-ups are most of the time. With -S the wait polls the socket without sleeping, which
// excludes the generator's own wake-up. With -i a request leaves at each interval and the generator
// sleeps in between: a server that sleeps meanwhile shows its wake-up. A UDP request without a
// reply for 200 ms is lost; a reply after that is late. A request counts when its reply is correct;
// corrupted ones count in the warm-up, too.
//
//     round_trip -p PORT [-u] [-s BYTES] [-d SECONDS] [-w WARMUP] [-S] [-i INTERVAL_US]
#include "tests/bench/bench_support.h"

#include <sys/prctl.h>
#include <time.h>

using namespace riposte;
using namespace riposte::bench;

namespace {

constexpr unsigned bytes_max = 65507;
constexpr uint64_t datagram_wait_ns = 200 * ns_per_ms;
constexpr uint64_t stream_wait_ns = 10 * ns_per_second; ///< a stream without its reply: a fault
constexpr unsigned looks_per_clock = 256;               ///< when the wait does not sleep

struct Settings {
    unsigned port = 0;
    bool datagrams = false;
    unsigned bytes = 64;
    double seconds = 5;
    double warmup = 1;
    bool spin = false;
    unsigned interval_us = 0;

    uint64_t wait_ns() const { return datagrams ? datagram_wait_ns : stream_wait_ns; }
};

class RoundTrip {
public:
    explicit RoundTrip(const Settings& settings)
        : settings_(settings), messages_(settings.bytes), request_(settings.bytes),
          answer_(size_t{settings.bytes} + 1) {
        if (settings_.datagrams)
            fd_ = Fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        else
            fd_ = tcp_socket();
        if (!fd_)
            die("socket");
        const timeval wait{
            .tv_sec = static_cast<time_t>(settings_.wait_ns() / ns_per_second),
            .tv_usec = static_cast<suseconds_t>(settings_.wait_ns() % ns_per_second / 1000)};
        if (setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait) != 0)
            die("SO_RCVTIMEO");
        if (connect_to(fd_, loopback(1, settings_.port)) != 0)
            die("connect");
        // The pace is kept to the microsecond, not to the default slack of fifty.
        if (settings_.interval_us > 0 && prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL) != 0)
            die("PR_SET_TIMERSLACK");
    }

    void run_until(uint64_t end_ns) {
        while (monotonic_ns() < end_ns) {
            if (settings_.interval_us > 0 && !await_turn(end_ns))
                return;
            exchange();
        }
    }

    void start_counting() {
        round_trips_.clear();
        lost_ = late_ = 0;
    }

    void report(const Measured& measured) const {
        JsonLine line;
        line.add("requests", round_trips_.count());
        line.add("seconds", measured.seconds);
        line.add("cpu_seconds", measured.cpu_seconds);
        line.add("corrupted", corrupted_);
        line.add("lost", lost_);
        line.add("late", late_);
        line.add_percentiles(
            round_trips_, 1, "ns", {{"p50", 50}, {"p90", 90}, {"p99", 99}, {"p99_9", 99.9}});
        line.print();
    }

private:
    /// Sleeps until the next request is due, or the end, which is false. Turns that were missed are
    /// left out: the pace is a bound.
    bool await_turn(uint64_t end_ns) {
        const uint64_t now = monotonic_ns();
        if (turn_ns_ < now)
            turn_ns_ = now;
        const uint64_t until = turn_ns_ < end_ns ? turn_ns_ : end_ns;
        const timespec time{
            .tv_sec = static_cast<time_t>(until / ns_per_second),
            .tv_nsec = static_cast<long>(until % ns_per_second)};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, nullptr) == EINTR) {
        }
        if (until == end_ns)
            return false;
        turn_ns_ += uint64_t{settings_.interval_us} * 1000;
        return true;
    }

    void exchange() {
        messages_.write(++sequence_, request_.data());
        const uint64_t start_ns = monotonic_ns();
        if (send(fd_.get(), request_.data(), request_.size(), MSG_NOSIGNAL) !=
            static_cast<ssize_t>(request_.size()))
            die("send");
        const bool came = settings_.datagrams ? await_datagram() : await_stream();
        const uint64_t elapsed = monotonic_ns() - start_ns;
        if (!came)
            lost_++;
        else if (messages_.is_right(sequence_, answer_.data(), size_))
            round_trips_.record(elapsed);
        else
            corrupted_++;
    }

    /// False if the request got no reply in time. Skips correct replies to earlier requests.
    bool await_datagram() {
        const uint64_t deadline_ns = monotonic_ns() + datagram_wait_ns;
        for (;;) {
            const ssize_t size = look(answer_.data(), answer_.size());
            if (size < 0 || monotonic_ns() > deadline_ns)
                return false;
            size_ = static_cast<size_t>(size);
            if (!is_late())
                return true;
            late_++;
        }
    }

    bool is_late() const {
        if (size_ < Messages::header_bytes)
            return false;
        const uint64_t sequence = Messages::sequence_of(answer_.data());
        return sequence > 0 && sequence < sequence_ &&
               messages_.is_right(sequence, answer_.data(), size_);
    }

    bool await_stream() {
        for (size_ = 0; size_ < settings_.bytes;) {
            const ssize_t size = look(answer_.data() + size_, settings_.bytes - size_);
            if (size < 0)
                die("recv");
            if (size == 0)
                die_plainly("the server ended the connection");
            size_ += static_cast<size_t>(size);
        }
        return true;
    }

    /// The result of recv; -1 with EAGAIN when the wait is over.
    ssize_t look(std::byte* out, size_t room) const {
        if (!settings_.spin)
            return checked(recv_asleep(out, room));
        uint64_t deadline_ns = 0;
        for (unsigned looks = 1;; looks++) {
            const ssize_t size = recv(fd_.get(), out, room, MSG_DONTWAIT);
            if (size >= 0 || errno != EAGAIN)
                return checked(size);
            if (looks % looks_per_clock != 0)
                continue;
            const uint64_t now = monotonic_ns();
            if (deadline_ns == 0)
                deadline_ns = now + settings_.wait_ns();
            if (now > deadline_ns) {
                errno = EAGAIN;
                return -1;
            }
        }
    }

    /// A recv that has a timeout is interrupted by a stop of the process, too (signal(7)).
    ssize_t recv_asleep(std::byte* out, size_t room) const {
        for (;;) {
            const ssize_t size = recv(fd_.get(), out, room, 0);
            if (size >= 0 || errno != EINTR)
                return size;
        }
    }

    static ssize_t checked(ssize_t size) {
        if (size < 0 && errno != EAGAIN)
            die("recv");
        return size;
    }

    Settings settings_;
    Messages messages_;
    Fd fd_;
    std::vector<std::byte> request_;
    std::vector<std::byte> answer_; ///< one byte more, so that an answer that is too long is seen
    size_t size_ = 0;               ///< of the answer
    uint64_t sequence_ = 0;
    uint64_t turn_ns_ = 0; ///< when the next request is due
    uint64_t corrupted_ = 0;
    uint64_t lost_ = 0;
    uint64_t late_ = 0;
    client::Histogram round_trips_;
};

bool parse(int argc, char** argv, Settings& settings) {
    Options options("-p PORT [-u] [-s BYTES] [-d SECONDS] [-w WARMUP] [-S] [-i INTERVAL_US]");
    options.port(settings.port);
    options.flag('u', settings.datagrams);
    options.number('s', settings.bytes, Messages::header_bytes, bytes_max);
    options.times(settings.seconds, settings.warmup);
    options.flag('S', settings.spin);
    options.number('i', settings.interval_us, 1, 60'000'000);
    return options.parse(argc, argv);
}

} // namespace

int main(int argc, char** argv) {
    Settings settings;
    if (!parse(argc, argv, settings))
        return 2;
    RoundTrip load(settings);
    load.report(measure(load, settings.warmup, settings.seconds));
    return 0;
}
