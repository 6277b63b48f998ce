// A plain epoll loop that loads an echo: the yardstick for `riposte load`.
//
// A good C programmer's work of an afternoon, system calls only: `-c` connections, one thread,
// level-triggered events, and on each connection `-D` pending messages of `-s` bytes. It counts the
// whole messages that arrive, and sends as many again in one write. It records the time of each
// write and of each batch of replies; latencies go into a histogram of powers of two. `-V` compares
// the replies with the requests, which all have the same bytes.
//
//     plain_load -p PORT [-c CONNECTIONS] [-s BYTES] [-D DEPTH] [-d SECONDS] [-w SECONDS] [-V]
//
// It loads 127.0.0.1:PORT for -w seconds of warm-up, which do not count, and -d seconds that do,
// and prints one line of JSON. Any fault ends it with status 1.
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

namespace {

constexpr size_t buffer_bytes = 65536;
constexpr unsigned depth_max = 4096;
constexpr int events_max = 256;
constexpr int octaves = 64;

struct Settings {
    uint16_t port = 0;
    unsigned connections = 50;
    size_t bytes = 64;
    unsigned depth = 1;
    double seconds = 5;
    double warmup = 1;
    bool verify = false;
};

/// The messages of a connection are answered in their order: its times are a ring.
struct Connection {
    int fd = -1;
    unsigned waiting = 0;    ///< messages without a whole answer
    unsigned oldest = 0;     ///< in the ring
    size_t received = 0;     ///< bytes of the answer under way
    size_t unsent = 0;       ///< bytes that the socket did not take yet
    size_t send_at = 0;      ///< where in a message they begin
    bool wants_room = false; ///< EPOLLOUT is asked for, since something is unsent
    uint64_t* sent_ns = nullptr;
};

struct Totals {
    uint64_t requests = 0;
    uint64_t latencies[octaves] = {};
};

[[noreturn]] void die(const char* what) {
    fprintf(stderr, "plain_load: %s: %s\n", what, errno != 0 ? strerrordesc_np(errno) : "wrong");
    _exit(1);
}

uint64_t now_ns() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<uint64_t>(now.tv_sec) * 1000000000U + static_cast<uint64_t>(now.tv_nsec);
}

double cpu_seconds() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& time) {
        return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

class PlainLoad {
public:
    explicit PlainLoad(const Settings& settings)
        : settings_(settings), epoll_(epoll_create1(EPOLL_CLOEXEC)),
          connections_(new Connection[settings.connections]),
          message_(new char[settings.bytes + buffer_bytes]), buffer_(new char[buffer_bytes]) {
        if (epoll_ < 0)
            die("epoll_create1");
        // The message over and over, so that any piece of the stream can be written and compared.
        for (size_t at = 0; at < settings_.bytes + buffer_bytes; at++)
            message_[at] = static_cast<char>('!' + at % settings_.bytes % 90);
    }
    ~PlainLoad() {
        for (unsigned i = 0; i < settings_.connections; i++) {
            close(connections_[i].fd);
            delete[] connections_[i].sent_ns;
        }
        close(epoll_);
        delete[] connections_;
        delete[] message_;
        delete[] buffer_;
    }
    PlainLoad(const PlainLoad&) = delete;
    PlainLoad& operator=(const PlainLoad&) = delete;

    void open() {
        for (unsigned i = 0; i < settings_.connections; i++) {
            open_one(connections_[i]);
            epoll_event event{};
            event.events = EPOLLIN;
            event.data.u32 = i;
            if (epoll_ctl(epoll_, EPOLL_CTL_ADD, connections_[i].fd, &event) != 0)
                die("epoll_ctl");
        }
    }

    void start() {
        for (unsigned i = 0; i < settings_.connections; i++)
            send_messages(i, settings_.depth);
    }

    void run_until(uint64_t end_ns) {
        epoll_event events[events_max];
        while (now_ns() < end_ns) {
            const int count = epoll_wait(epoll_, events, events_max, 1000);
            if (count < 0 && errno != EINTR)
                die("epoll_wait");
            for (int i = 0; i < count; i++) {
                if ((events[i].events & EPOLLOUT) != 0)
                    flush(events[i].data.u32);
                if ((events[i].events & ~static_cast<uint32_t>(EPOLLOUT)) != 0)
                    receive(events[i].data.u32);
            }
        }
    }

    const Totals& totals() const { return totals_; }
    void clear() { totals_ = Totals{}; }

private:
    void open_one(Connection& connection) const {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(settings_.port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const int on = 1;
        if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0)
            die("socket");
        if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
            die("connect");
        connection.fd = fd;
        connection.sent_ns = new uint64_t[settings_.depth];
    }

    void receive(unsigned index) {
        Connection& connection = connections_[index];
        const ssize_t size = recv(connection.fd, buffer_, buffer_bytes, MSG_DONTWAIT);
        if (size <= 0) {
            if (size < 0 && (errno == EAGAIN || errno == EINTR))
                return;
            die("recv");
        }
        const auto bytes = static_cast<size_t>(size);
        if (settings_.verify && memcmp(buffer_, message_ + connection.received, bytes) != 0) {
            errno = 0;
            die("an answer");
        }
        const size_t all = connection.received + bytes;
        const auto answers = static_cast<unsigned>(all / settings_.bytes);
        connection.received = all % settings_.bytes;
        if (answers == 0)
            return;
        const uint64_t now = now_ns();
        for (unsigned i = 0; i < answers; i++) {
            const uint64_t latency = now - connection.sent_ns[connection.oldest];
            connection.oldest = connection.oldest + 1 < settings_.depth ? connection.oldest + 1 : 0;
            totals_.latencies[63 - __builtin_clzll(latency | 1)]++;
        }
        totals_.requests += answers;
        connection.waiting -= answers;
        send_messages(index, answers);
    }

    void send_messages(unsigned index, unsigned count) {
        Connection& connection = connections_[index];
        const uint64_t now = now_ns();
        for (unsigned i = 0; i < count; i++) {
            const unsigned place = connection.oldest + connection.waiting++;
            connection.sent_ns[place < settings_.depth ? place : place - settings_.depth] = now;
        }
        const bool blocked = connection.unsent > 0;
        connection.unsent += count * settings_.bytes;
        if (!blocked)
            flush(index);
    }

    void flush(unsigned index) {
        Connection& connection = connections_[index];
        while (connection.unsent > 0) {
            const size_t wanted =
                connection.unsent < buffer_bytes ? connection.unsent : buffer_bytes;
            const ssize_t size = send(
                connection.fd, message_ + connection.send_at, wanted, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (size < 0) {
                if (errno != EAGAIN)
                    die("send");
                break;
            }
            connection.unsent -= static_cast<size_t>(size);
            connection.send_at = (connection.send_at + static_cast<size_t>(size)) % settings_.bytes;
        }
        if (connection.wants_room != (connection.unsent > 0))
            want_room(index, connection.unsent > 0);
    }

    void want_room(unsigned index, bool wanted) {
        epoll_event event{};
        event.events = EPOLLIN | (wanted ? static_cast<uint32_t>(EPOLLOUT) : 0U);
        event.data.u32 = index;
        if (epoll_ctl(epoll_, EPOLL_CTL_MOD, connections_[index].fd, &event) != 0)
            die("epoll_ctl");
        connections_[index].wants_room = wanted;
    }

    Settings settings_;
    int epoll_;
    Connection* connections_;
    char* message_; ///< settings_.bytes + buffer_bytes of it
    char* buffer_;
    Totals totals_;
};

/// The upper bound of the octave that holds the percentile, in seconds.
double percentile(const Totals& totals, double percent) {
    const double wanted = static_cast<double>(totals.requests) * percent / 100;
    uint64_t seen = 0;
    for (int octave = 0; octave < octaves; octave++) {
        seen += totals.latencies[octave];
        if (seen > 0 && static_cast<double>(seen) >= wanted)
            return static_cast<double>(uint64_t{2} << octave) / 1e9;
    }
    return 0;
}

/// Sets what the option names; false if there is no such option.
bool set(Settings& settings, char option, const char* value) {
    const auto number = static_cast<unsigned>(strtoul(value, nullptr, 10));
    switch (option) {
    case 'p':
        settings.port = static_cast<uint16_t>(number);
        return true;
    case 'c':
        settings.connections = number;
        return true;
    case 's':
        settings.bytes = number;
        return true;
    case 'D':
        settings.depth = number;
        return true;
    case 'd':
        settings.seconds = strtod(value, nullptr);
        return true;
    case 'w':
        settings.warmup = strtod(value, nullptr);
        return true;
    default:
        return false;
    }
}

bool parse(int argc, char** argv, Settings& settings) {
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-V") == 0) {
            settings.verify = true;
            continue;
        }
        const bool is_option = argv[i][0] == '-' && argv[i][1] != 0 && argv[i][2] == 0;
        if (!is_option || i + 1 == argc || !set(settings, argv[i][1], argv[i + 1]))
            return false;
        i++;
    }
    return settings.port > 0 && settings.connections > 0 && settings.bytes > 0 &&
           settings.depth > 0 && settings.depth <= depth_max && settings.seconds > 0 &&
           settings.warmup >= 0;
}

} // namespace

int main(int argc, char** argv) {
    Settings settings;
    if (!parse(argc, argv, settings)) {
        fprintf(
            stderr, "usage: plain_load -p PORT [-c CONNECTIONS] [-s BYTES] [-D DEPTH] "
                    "[-d SECONDS] [-w SECONDS] [-V]\n");
        return 2;
    }
    PlainLoad load(settings);
    load.open();
    load.start();
    load.run_until(now_ns() + static_cast<uint64_t>(settings.warmup * 1e9));
    load.clear();
    const double cpu_before = cpu_seconds();
    const uint64_t start_ns = now_ns();
    load.run_until(start_ns + static_cast<uint64_t>(settings.seconds * 1e9));
    const double elapsed = static_cast<double>(now_ns() - start_ns) / 1e9;
    const double cpu = cpu_seconds() - cpu_before;
    const Totals& totals = load.totals();
    printf(
        "{\"requests\": %llu, \"seconds\": %.6f, \"rate\": %.1f, \"cpu_seconds\": %.6f, "
        "\"p50_below\": %.9f, \"p99_below\": %.9f}\n",
        static_cast<unsigned long long>(totals.requests), elapsed,
        static_cast<double>(totals.requests) / elapsed, cpu, percentile(totals, 50),
        percentile(totals, 99));
    return 0;
}
