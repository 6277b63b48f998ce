// A link of known faults between two network devices, and a log of the fate of each packet.
//
//     link LOG PACKETS SECONDS SEED CLIENT-DEVICE SERVER-DEVICE FORWARD BACKWARD ROUTER4 ROUTER6
//
// Receives IP packets from the link's ends of two veth pairs and forwards them with the faults
// FORWARD (from the client to the server) and BACKWARD (faults.h), and logs each packet (record.h).
// It replies only to packets that are too big, from the router's addresses. The other ends' link
// addresses are 02:00:00:00:00:01 (client's) and :02 (server's); tests/support/link.py makes the
// devices.
//
// Prints "ready", then executes the lines of its standard input, and answers each with "ok" or
// "error: ...":
//
//     forward FAULTS        from the next packet on; the numbers of packets continue
//     backward FAULTS
//     settled               answered when no packet is in flight
//
// Ends when standard input or its parent ends, at SIGTERM, and when the log is full (status 3) or
// the time is over (status 4).
//
// It sleeps until shortly before a packet is due and then spins; if permitted, it runs with
// priority over all ordinary processes (SCHED_FIFO). Its lateness is in the log: tests compare
// figures with the actual times.

#include "direction.h"
#include "faults.h"
#include "record.h"
#include "wire.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include <arpa/inet.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <unistd.h>

namespace riposte::link {
namespace {

constexpr int64_t spin_ns = 80'000;
constexpr int64_t wait_ns_max = 100'000'000;
constexpr int status_usage = 2;
constexpr int status_full = 3;
constexpr int status_time = 4;

volatile sig_atomic_t terminated = 0;

struct Options {
    std::string log;
    uint64_t packets = 0;
    uint64_t seconds = 0;
    uint64_t seed = 0;
    std::string devices[2];
    Faults faults[2];
    Router router;
};

bool read_number(std::string_view text, uint64_t min, uint64_t max, uint64_t& target) {
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), target);
    return problem == std::errc{} && end == text.data() + text.size() && target >= min &&
           target <= max;
}

bool read_options(int argc, char** argv, Options& options, std::string& error) {
    error = "see the comment in front of main.cpp";
    if (argc != 11)
        return false;
    options.log = argv[1];
    options.devices[0] = argv[5];
    options.devices[1] = argv[6];
    if (!read_number(argv[2], 1, 10'000'000, options.packets) ||
        !read_number(argv[3], 1, 86'400, options.seconds) ||
        !read_number(argv[4], 0, UINT64_MAX, options.seed) ||
        inet_pton(AF_INET, argv[9], options.router.ipv4.data()) != 1 ||
        inet_pton(AF_INET6, argv[10], options.router.ipv6.data()) != 1)
        return false;
    for (int i = 0; i < 2; ++i) {
        std::optional<Faults> faults = read_faults(argv[7 + i], error);
        if (!faults)
            return false;
        options.faults[i] = *faults;
    }
    return true;
}

class Link {
public:
    explicit Link(const Options& options)
        : options_(options), directions_{{0, options.seed, log_}, {1, options.seed, log_}} {
        for (size_t i = 0; i < 2; ++i)
            directions_[i].set(options.faults[i], options.router);
    }

    bool open(std::string& error) {
        if (!log_.open(options_.log, static_cast<uint32_t>(options_.packets))) {
            error = options_.log + ": " + strerrordesc_np(errno);
            return false;
        }
        for (uint8_t i = 0; i < 2; ++i) {
            const std::array<uint8_t, 6> peer{2, 0, 0, 0, 0, static_cast<uint8_t>(i + 1)};
            if (!wires_[i].open(options_.devices[i], peer, error))
                return false;
        }
        const sched_param priority{.sched_priority = 1};
        log_.head().realtime =
            sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &priority) == 0;
        prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
        return true;
    }

    int run() {
        const int64_t end_ns = now_ns() + static_cast<int64_t>(options_.seconds) * 1'000'000'000;
        int status = 0;
        while (!terminated && !input_ended_ && status == 0) {
            const int64_t now = now_ns();
            if (log_.full())
                status = status_full;
            else if (now >= end_ns)
                status = status_time;
            else
                turn(now);
        }
        count_drops();
        log_.head().ended = 1;
        return status;
    }

private:
    /// Packets that came, then those that are due: a packet that came may be due before others.
    void turn(int64_t now) {
        const int64_t due = std::min(directions_[0].next_due(), directions_[1].next_due());
        wait(std::min(due - now, wait_ns_max));
        for (size_t i = 0; i < 2; ++i) {
            wires_[i].read([&](Bytes packet, int64_t at_ns) {
                if (log_.full())
                    return;
                const Bytes answer = directions_[i].arrive(std::move(packet), at_ns);
                if (!answer.empty())
                    directions_[1 - i].send_own(answer, at_ns);
            });
        }
        for (size_t i = 0; i < 2; ++i)
            send_due(i);
    }

    void send_due(size_t i) {
        const int64_t now = now_ns();
        while (const std::optional<Departure> departure = directions_[i].leave(now)) {
            const int64_t before = now_ns();
            const bool sent = wires_[1 - i].send(departure->bytes);
            directions_[i].left(*departure, sent, before, now_ns());
        }
        if (asked_to_settle_ && directions_[0].next_due() == INT64_MAX &&
            directions_[1].next_due() == INT64_MAX) {
            asked_to_settle_ = false;
            count_drops();
            answer("ok");
        }
    }

    void wait(int64_t nanoseconds) {
        // Shortly before a packet is due it only polls: packets that came are read in any case.
        const bool spins = nanoseconds <= spin_ns;
        if (spins && ++spins_ % 64 != 0)
            return;
        const int64_t sleep = spins ? 0 : nanoseconds - spin_ns;
        const timespec limit{.tv_sec = sleep / 1'000'000'000, .tv_nsec = sleep % 1'000'000'000};
        pollfd polled[3] = {
            {wires_[0].fd(), POLLIN, 0}, {wires_[1].fd(), POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
        if (ppoll(polled, 3, &limit, nullptr) > 0 && polled[2].revents != 0)
            read_input();
    }

    void read_input() {
        char buffer[4096];
        const ssize_t size = ::read(STDIN_FILENO, buffer, sizeof buffer);
        if (size <= 0) {
            input_ended_ = size == 0 || (errno != EAGAIN && errno != EINTR);
            return;
        }
        input_.append(buffer, static_cast<size_t>(size));
        while (input_.find('\n') != std::string::npos) {
            obey(std::string_view(input_).substr(0, input_.find('\n')));
            input_.erase(0, input_.find('\n') + 1);
        }
        input_ended_ = input_ended_ || input_.size() > sizeof buffer;
    }

    void obey(std::string_view line) {
        if (line == "settled") {
            asked_to_settle_ = true;
            return;
        }
        const size_t space = std::min(line.find(' '), line.size());
        const std::string_view verb = line.substr(0, space);
        std::string error = "no such command";
        if (verb == "forward" || verb == "backward") {
            const std::string_view text = line.substr(std::min(space + 1, line.size()));
            if (const std::optional<Faults> faults = read_faults(text, error)) {
                directions_[verb == "backward"].set(*faults, options_.router);
                return answer("ok");
            }
        }
        answer("error: " + error);
    }

    static void answer(const std::string& text) {
        std::printf("%s\n", text.c_str());
        std::fflush(stdout);
    }

    void count_drops() {
        for (size_t i = 0; i < 2; ++i)
            log_.head().socket_drops[i] += wires_[i].drops();
    }

    Options options_;
    Log log_;
    Wire wires_[2]; // the client's and the server's
    Direction directions_[2];
    std::string input_;
    bool input_ended_ = false;
    bool asked_to_settle_ = false;
    unsigned spins_ = 0;
};

void end_with_parent() {
    prctl(PR_SET_PDEATHSIG, static_cast<unsigned long>(SIGTERM), 0UL, 0UL, 0UL);
    struct sigaction action{};
    action.sa_handler = [](int) { terminated = 1; };
    sigaction(SIGTERM, &action, nullptr);
    std::signal(SIGINT, SIG_IGN); // from a terminal, it is meant for the test
    std::signal(SIGPIPE, SIG_IGN);
}

int run(int argc, char** argv) {
    Options options;
    std::string error;
    if (!read_options(argc, argv, options, error)) {
        std::fprintf(stderr, "link: %s\n", error.c_str());
        return status_usage;
    }
    end_with_parent();
    const auto link = std::make_unique<Link>(options);
    if (!link->open(error)) {
        std::fprintf(stderr, "link: %s\n", error.c_str());
        return 1;
    }
    std::puts("ready");
    std::fflush(stdout);
    return link->run();
}

} // namespace
} // namespace riposte::link

int main(int argc, char** argv) {
    return riposte::link::run(argc, argv);
}
