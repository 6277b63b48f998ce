// Connections per second against a hello: connect, send, read the reply to its end, close.
//
// A fixed number of conversations at a time; each begins again when it ends. A socket is registered
// once, edge triggered, for all events. If the end of the stream is known before the reply is read
// (EPOLLRDHUP), a reply that leaves room in the buffer is complete, and the read that would return
// 0 is saved. The server closes first, so TIME_WAIT is on its side; nevertheless the conversations
// use several addresses in turn, and one whose address has no free port takes the next.
//
//     connects -p PORT [-c CONCURRENT] [-d SECONDS] [-w WARMUP] [-r SOURCES] [-T TIMEOUT]
//
// -r: the number of source addresses, 127.0.0.2 and up; 0 leaves the choice to the kernel. A
// conversation that takes longer than TIMEOUT seconds has failed. Failures count in the warm-up,
// too.
#include "tests/bench/bench_support.h"

#include <numeric>

#include <sys/epoll.h>

using namespace riposte;
using namespace riposte::bench;

namespace {

constexpr std::string_view question = "Hello, i'm client!";
constexpr std::string_view right_answer = "Hello, i'm server!";
constexpr int events_max = 256;
constexpr uint64_t look_interval_ns = 100 * ns_per_ms; ///< between searches for overdue ones
constexpr int pause_ms = 1; ///< when no conversation could begin, or they fail at once

struct Settings {
    unsigned port = 0;
    unsigned concurrent = 50;
    double seconds = 5;
    double warmup = 1;
    unsigned sources = 8;
    double timeout = 5;
};

enum class Failure : uint8_t { refused, reset, wrong, timeout, other };

struct Conversation {
    Fd fd;
    uint64_t start_ns = 0;
    size_t received = 0;
    bool asked = false;
};

class Connects {
public:
    explicit Connects(const Settings& settings)
        : settings_(settings), epoll_(epoll_create1(EPOLL_CLOEXEC)),
          conversations_(settings.concurrent) {
        if (!epoll_)
            die("epoll_create1");
        for (unsigned i = settings.concurrent; i-- > 0;)
            idle_.push_back(i);
    }

    void run_until(uint64_t end_ns) {
        epoll_event events[events_max];
        for (uint64_t now = monotonic_ns(); now < end_ns; now = monotonic_ns()) {
            if (now >= next_look_ns_)
                end_overdue(now);
            const int wait_ms =
                begin_idle() ? static_cast<int>(look_interval_ns / ns_per_ms) : pause_ms;
            const int count = epoll_wait(epoll_.get(), events, events_max, wait_ms);
            if (count < 0 && errno != EINTR)
                die("epoll_wait");
            for (int i = 0; i < count; i++)
                advance(events[i].data.u32, events[i].events);
        }
    }

    void start_counting() { times_.clear(); }

    void report(const Measured& measured) const {
        const auto failed = [this](Failure kind) { return failed_[static_cast<size_t>(kind)]; };
        JsonLine line;
        line.add("connections", times_.count());
        line.add("seconds", measured.seconds);
        line.add("failed", std::accumulate(std::begin(failed_), std::end(failed_), uint64_t{0}));
        line.add_counts(
            "failed_by_kind", {{"refused", failed(Failure::refused)},
                               {"reset", failed(Failure::reset)},
                               {"wrong", failed(Failure::wrong)},
                               {"timeout", failed(Failure::timeout)},
                               {"other", failed(Failure::other)}});
        line.add("cpu_seconds", measured.cpu_seconds);
        line.add_percentiles(times_, 1e3, "us", {{"p50", 50}, {"p99", 99}, {"p99_9", 99.9}});
        line.print();
    }

private:
    /// False if some could not begin, and are idle still.
    bool begin_idle() {
        beginning_.swap(idle_);
        while (!beginning_.empty()) {
            const unsigned index = beginning_.back();
            beginning_.pop_back();
            begin(index);
        }
        return idle_.empty();
    }

    void begin(unsigned index) {
        Conversation& conversation = conversations_[index];
        conversation.start_ns = monotonic_ns();
        conversation.received = 0;
        conversation.asked = false;
        for (unsigned tries = 0;; tries++) {
            conversation.fd = Fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
            if (!conversation.fd)
                die("socket");
            if (settings_.sources > 0)
                bind_source(conversation.fd, 2 + next_source_++ % settings_.sources);
            if (connect_to(conversation.fd, loopback(1, settings_.port)) == 0 ||
                errno == EINPROGRESS)
                break;
            if (errno != EADDRNOTAVAIL || tries >= settings_.sources) {
                fail(index, failure_of(errno));
                return;
            }
        }
        epoll_event event{};
        event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | static_cast<uint32_t>(EPOLLET);
        event.data.u32 = index;
        if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, conversation.fd.get(), &event) != 0)
            die("epoll_ctl");
    }

    void advance(unsigned index, uint32_t events) {
        Conversation& conversation = conversations_[index];
        if (!conversation.asked && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0) {
            const ssize_t size =
                send(conversation.fd.get(), question.data(), question.size(), MSG_NOSIGNAL);
            if (size < 0 && errno == EAGAIN)
                return;
            if (size != static_cast<ssize_t>(question.size())) {
                fail(index, size < 0 ? failure_of(errno) : Failure::other);
                return;
            }
            conversation.asked = true;
        }
        if ((events & ~static_cast<uint32_t>(EPOLLOUT)) != 0)
            receive(index, (events & EPOLLRDHUP) != 0);
    }

    void receive(unsigned index, bool ended) {
        Conversation& conversation = conversations_[index];
        char buffer[256]; // more than the right answer: too long a one is seen
        for (;;) {
            const ssize_t got = recv(conversation.fd.get(), buffer, sizeof buffer, 0);
            if (got < 0) {
                if (errno != EAGAIN)
                    fail(index, failure_of(errno));
                return;
            }
            const auto size = static_cast<size_t>(got);
            if (right_answer.substr(conversation.received, size) !=
                std::string_view(buffer, size)) {
                fail(index, Failure::wrong);
                return;
            }
            conversation.received += size;
            if (size == 0 || (ended && size < sizeof buffer)) {
                finish(index);
                return;
            }
        }
    }

    void finish(unsigned index) {
        if (conversations_[index].received != right_answer.size()) {
            fail(index, Failure::wrong);
            return;
        }
        times_.record(monotonic_ns() - conversations_[index].start_ns);
        end(index);
    }

    void fail(unsigned index, Failure kind) {
        failed_[static_cast<size_t>(kind)]++;
        end(index);
    }

    // No event of the closed socket can follow: a wait returns each socket once.
    void end(unsigned index) {
        conversations_[index].fd.reset();
        idle_.push_back(index);
    }

    static Failure failure_of(int error) {
        switch (error) {
        case ECONNREFUSED:
            return Failure::refused;
        case ECONNRESET:
        case EPIPE:
            return Failure::reset;
        case ETIMEDOUT:
            return Failure::timeout;
        default:
            return Failure::other;
        }
    }

    void end_overdue(uint64_t now) {
        next_look_ns_ = now + look_interval_ns;
        const auto limit_ns = static_cast<uint64_t>(settings_.timeout * 1e9);
        for (unsigned i = 0; i < settings_.concurrent; i++) {
            if (conversations_[i].fd && now - conversations_[i].start_ns > limit_ns)
                fail(i, Failure::timeout);
        }
    }

    Settings settings_;
    Fd epoll_;
    std::vector<Conversation> conversations_;
    std::vector<unsigned> idle_;      ///< without a socket; they begin at the next turn
    std::vector<unsigned> beginning_; ///< those of this turn
    unsigned next_source_ = 0;
    uint64_t next_look_ns_ = 0;
    client::Histogram times_; ///< from connect to the end of the stream
    uint64_t failed_[static_cast<size_t>(Failure::other) + 1] = {};
};

bool parse(int argc, char** argv, Settings& settings) {
    Options options("-p PORT [-c CONCURRENT] [-d SECONDS] [-w WARMUP] [-r SOURCES] [-T TIMEOUT]");
    options.port(settings.port);
    options.number('c', settings.concurrent, 1, 19000);
    options.times(settings.seconds, settings.warmup);
    options.number('r', settings.sources, 0, 65000);
    options.number('T', settings.timeout, 0.01, 3600.0);
    return options.parse(argc, argv);
}

} // namespace

int main(int argc, char** argv) {
    Settings settings;
    if (!parse(argc, argv, settings))
        return 2;
    raise_descriptor_limit(settings.concurrent + 16);
    Connects load(settings);
    load.report(measure(load, settings.warmup, settings.seconds));
    return 0;
}
