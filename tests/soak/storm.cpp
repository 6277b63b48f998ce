// Ten thousand peers of one kind, over TCP, from one thread.
//
//     storm KIND ADDRESS PORT COUNT SECONDS
//
// Held: COUNT connections are opened and kept for SECONDS, which may be a decimal fraction.
//     idle      sends nothing
//     half      closes its sending side at once, and stays
//     slow      sends as much as possible, and reads a byte a second
//     never     sends as much as possible, and reads nothing
//     stop      reads the first bytes that come (of chargen), then nothing
//     dribble   sends a byte every two seconds, and reads the replies
// Churned: COUNT at a time, for SECONDS, as fast as possible, and at least two for each of COUNT.
//     drop      connects and closes
//     reset     connects, sends a byte and resets (RST)
//     hello     connects, sends a message, waits for the reply and the end
//     syn       sends the first packet of a connection from a forged source, COUNT in all, by a raw
//               socket: only in one's own network namespace
//
// Prints "up N" when all held connections are open, and "done N, ended M, failed K" at the end: N
// were opened, the server ended M of them, K could not be opened. To loopback, every 500
// connections have another source address: ports would run out, and the connections of a source are
// limited.

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

namespace {

constexpr uint32_t of_one_source = 500;
constexpr uint32_t connecting_max =
    200; // below the usual backlog, so that no SYN waits for a second
// As on a real network. With loopback's 64 KiB, each reader that stops costs the kernel a megabyte,
// and a few thousand of them all the memory that TCP may have on this machine (tcp(7), tcp_mem).
constexpr int segment_bytes = 1400;
constexpr uint64_t ms = 1'000'000;
constexpr uint64_t patience_ns = 60'000 * ms; // for events that must happen

enum class Kind { idle, half, slow, never, stop, dribble, drop, reset, hello, syn };

struct Task {
    Kind kind = Kind::idle;
    sockaddr_in to{};
    uint32_t count = 0;
    uint64_t duration_ns = 0;
};

uint64_t now_ns() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

struct Peer {
    int fd = -1;
    bool connected = false;
    bool taken = false; ///< stop: has had its first bytes
};

class Storm {
public:
    explicit Storm(const Task& task) : task_(task), peers_(task.count) {
        epoll_ = epoll_create1(EPOLL_CLOEXEC);
    }

    int run() { return held() ? hold() : churn(); }

private:
    bool held() const { return task_.kind < Kind::drop; }

    int hold() {
        const uint64_t give_up_ns = now_ns() + patience_ns;
        uint32_t next = 0;
        while (up_ + failed_ < task_.count && now_ns() < give_up_ns) {
            while (next < task_.count && next - up_ - failed_ < connecting_max)
                open(next++);
            wait(100);
        }
        std::printf("up %u\n", up_);
        std::fflush(stdout);
        const uint64_t end_ns = now_ns() + task_.duration_ns;
        for (uint32_t tick = 0; now_ns() < end_ns; ++tick) {
            const uint64_t tick_end_ns = std::min(end_ns, now_ns() + 100 * ms);
            each_tick(tick);
            while (now_ns() < tick_end_ns)
                wait(static_cast<int>((tick_end_ns - now_ns()) / ms) + 1);
        }
        return done(up_);
    }

    int churn() {
        for (uint32_t index = 0; index < task_.count; ++index)
            open(index);
        const uint64_t end_ns = now_ns() + task_.duration_ns;
        const uint64_t give_up_ns = end_ns + patience_ns;
        while (now_ns() < end_ns || (up_ < 2 * task_.count && now_ns() < give_up_ns))
            wait(100);
        return done(up_);
    }

    int done(uint32_t opened) const {
        std::printf("done %u, ended %u, failed %u\n", opened, ended_, failed_);
        return 0;
    }

    void open(uint32_t index) {
        Peer& peer = peers_[index];
        peer = {};
        peer.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (peer.fd < 0)
            return fail(index);
        const int on = 1;
        const int small = 4096;
        const int segment = segment_bytes;
        setsockopt(peer.fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment);
        if (task_.kind == Kind::slow || task_.kind == Kind::never || task_.kind == Kind::stop)
            setsockopt(peer.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
        if (ntohl(task_.to.sin_addr.s_addr) >> 24 == 127) {
            setsockopt(peer.fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
            sockaddr_in from{};
            from.sin_family = AF_INET;
            from.sin_addr.s_addr =
                htonl((127U << 24) + (1U << 16) + 256 * (index / of_one_source) + 1);
            if (bind(peer.fd, reinterpret_cast<sockaddr*>(&from), sizeof from) != 0)
                return fail(index);
        }
        if (connect(peer.fd, reinterpret_cast<const sockaddr*>(&task_.to), sizeof task_.to) != 0 &&
            errno != EINPROGRESS)
            return fail(index);
        epoll_event event{};
        event.events = EPOLLIN | EPOLLOUT | EPOLLET;
        event.data.u32 = index;
        epoll_ctl(epoll_, EPOLL_CTL_ADD, peer.fd, &event);
    }

    void close_peer(Peer& peer) {
        if (peer.fd >= 0)
            close(peer.fd);
        peer.fd = -1;
    }

    /// A connection could not be opened, or not held. Churned peers begin again.
    void fail(uint32_t index) {
        ++failed_;
        close_peer(peers_[index]);
        if (!held())
            again_.push_back(index);
    }

    void wait(int timeout_ms) {
        for (const uint32_t index : std::exchange(again_, {}))
            open(index);
        std::array<epoll_event, 256> events;
        const int count = epoll_wait(epoll_, events.data(), events.size(), timeout_ms);
        for (int i = 0; i < count; ++i)
            on_event(events[static_cast<size_t>(i)]);
    }

    void on_event(const epoll_event& event) {
        const uint32_t index = event.data.u32;
        Peer& peer = peers_[index];
        if (peer.fd < 0)
            return;
        if (!peer.connected) {
            if ((event.events & (EPOLLERR | EPOLLHUP)) != 0)
                return fail(index);
            if ((event.events & EPOLLOUT) == 0)
                return;
            peer.connected = true;
            ++up_;
            on_connected(index);
        }
        if (peer.fd >= 0 && (event.events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0)
            on_readable(index);
    }

    void on_connected(uint32_t index) {
        Peer& peer = peers_[index];
        switch (task_.kind) {
        case Kind::half:
            shutdown(peer.fd, SHUT_WR);
            break;
        case Kind::slow:
        case Kind::never:
            send_much(peer.fd);
            break;
        case Kind::hello:
            send(peer.fd, "Hello, i'm client!", 18, MSG_NOSIGNAL);
            break;
        case Kind::drop:
            begin_again(index);
            break;
        case Kind::reset: {
            send(peer.fd, "x", 1, MSG_NOSIGNAL);
            const linger now{1, 0};
            setsockopt(peer.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
            begin_again(index);
            break;
        }
        case Kind::idle:
        case Kind::stop:
        case Kind::dribble:
        case Kind::syn:
            break;
        }
    }

    void begin_again(uint32_t index) {
        close_peer(peers_[index]);
        again_.push_back(index);
    }

    void on_readable(uint32_t index) {
        Peer& peer = peers_[index];
        if (task_.kind == Kind::never || task_.kind == Kind::slow ||
            (task_.kind == Kind::stop && peer.taken))
            return;
        std::array<char, 4096> buffer;
        ssize_t got = 0;
        while ((got = recv(peer.fd, buffer.data(), buffer.size(), 0)) > 0) {
            peer.taken = true;
            if (task_.kind == Kind::stop)
                return;
        }
        if (got == 0 || errno != EAGAIN) {
            ++ended_;
            if (held())
                close_peer(peer);
            else
                begin_again(index);
        }
    }

    /// Ten times a second: a tenth or a twentieth of the peers has its turn.
    void each_tick(uint32_t tick) {
        const uint32_t turns = task_.kind == Kind::dribble ? 20 : 10;
        if (task_.kind != Kind::dribble && task_.kind != Kind::slow)
            return;
        for (uint32_t index = tick % turns; index < task_.count; index += turns) {
            Peer& peer = peers_[index];
            if (peer.fd < 0)
                continue;
            char byte = 'x';
            const ssize_t result = task_.kind == Kind::dribble
                                       ? send(peer.fd, &byte, 1, MSG_NOSIGNAL)
                                       : recv(peer.fd, &byte, 1, 0);
            if (result == 0 || (result < 0 && errno != EAGAIN)) {
                ++ended_;
                close_peer(peer);
            }
        }
    }

    static void send_much(int fd) {
        static const std::vector<char> much(65'536, 'x');
        while (send(fd, much.data(), much.size(), MSG_NOSIGNAL) > 0) {
        }
    }

    Task task_;
    std::vector<Peer> peers_;
    std::vector<uint32_t> again_;
    int epoll_ = -1;
    uint32_t up_ = 0;
    uint32_t ended_ = 0;
    uint32_t failed_ = 0;
};

uint16_t sum_of(const void* data, size_t size, uint32_t sum) {
    std::array<uint16_t, 64> words{};
    std::memcpy(words.data(), data, size);
    for (const uint16_t word : words)
        sum += word;
    while (sum > 0xffff)
        sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<uint16_t>(sum);
}

/// The first packets of connections that never continue.
int send_syns(const Task& task) {
    struct Pseudo {
        uint32_t from;
        uint32_t to;
        uint16_t protocol;
        uint16_t size;
    };
    struct Packet {
        iphdr ip{};
        tcphdr tcp{};
    } packet;
    const int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
    if (fd < 0) {
        std::perror("storm: a raw socket");
        return 1;
    }
    uint32_t sent = 0;
    const uint64_t end_ns = now_ns() + task.duration_ns + patience_ns;
    for (uint32_t index = 0; index < task.count && now_ns() < end_ns; ++index) {
        packet = {};
        packet.ip.version = 4;
        packet.ip.ihl = 5;
        packet.ip.ttl = 64;
        packet.ip.protocol = IPPROTO_TCP;
        packet.ip.saddr = htonl((198U << 24) + (18U << 16) + index % 131'072); // RFC 2544
        packet.ip.daddr = task.to.sin_addr.s_addr;
        packet.tcp.source = htons(static_cast<uint16_t>(1024 + index % 60'000));
        packet.tcp.dest = task.to.sin_port;
        packet.tcp.seq = htonl(index * 2'654'435'761U);
        packet.tcp.doff = 5;
        packet.tcp.syn = 1;
        packet.tcp.window = htons(65'535);
        const Pseudo pseudo{
            packet.ip.saddr, packet.ip.daddr, htons(IPPROTO_TCP), htons(sizeof packet.tcp)};
        const uint16_t sum = sum_of(&pseudo, sizeof pseudo, 0);
        packet.tcp.check = static_cast<uint16_t>(~sum_of(&packet.tcp, sizeof packet.tcp, sum));
        if (sendto(
                fd, &packet, sizeof packet, 0, reinterpret_cast<const sockaddr*>(&task.to),
                sizeof task.to) == sizeof packet)
            ++sent;
    }
    std::printf("up %u\ndone %u, ended 0, failed %u\n", sent, sent, task.count - sent);
    return 0;
}

bool read_number(std::string_view text, uint32_t max, uint32_t& target) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), target);
    return error == std::errc{} && end == text.data() + text.size() && target <= max;
}

bool read_seconds(std::string_view text, uint64_t& target_ns) {
    double seconds = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
    if (error != std::errc{} || end != text.data() + text.size() || !(seconds >= 0) ||
        seconds > 3600)
        return false;
    target_ns = static_cast<uint64_t>(seconds * 1e9);
    return true;
}

bool read_task(int argc, char** argv, Task& task) {
    constexpr std::array<std::string_view, 10> kinds = {"idle",    "half", "slow",  "never", "stop",
                                                        "dribble", "drop", "reset", "hello", "syn"};
    uint32_t port = 0;
    if (argc != 6)
        return false;
    const auto kind = std::find(kinds.begin(), kinds.end(), std::string_view(argv[1]));
    if (kind == kinds.end())
        return false;
    task.kind = static_cast<Kind>(kind - kinds.begin());
    task.to.sin_family = AF_INET;
    if (inet_pton(AF_INET, argv[2], &task.to.sin_addr) != 1 ||
        !read_number(argv[3], 65'535, port) || !read_number(argv[4], 10'000'000, task.count) ||
        !read_seconds(argv[5], task.duration_ns))
        return false;
    task.to.sin_port = htons(static_cast<uint16_t>(port));
    return task.kind == Kind::syn || task.count <= 60'000;
}

} // namespace

int main(int argc, char** argv) {
    Task task;
    if (!read_task(argc, argv, task)) {
        std::fputs("usage: storm KIND ADDRESS PORT COUNT SECONDS\n", stderr);
        return 2;
    }
    if (task.kind == Kind::syn)
        return send_syns(task);
    rlimit descriptors{};
    getrlimit(RLIMIT_NOFILE, &descriptors);
    descriptors.rlim_cur = std::min<rlim_t>(descriptors.rlim_max, task.count + 64);
    setrlimit(RLIMIT_NOFILE, &descriptors);
    return Storm(task).run();
}
