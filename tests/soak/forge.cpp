// Floods a UDP port over IPv4 with datagrams from forged sources, as fast as one core sends them or
// at a rate. Only for one's own networks: tests run it in namespaces that they have made.
//
//     forge ADDRESS PORT SECONDS [RATE [SOURCES [BYTES]]]
//
// RATE is in datagrams a second; 0: as fast as possible. SOURCES is the number of different
// sources; 0: each datagram has a random one, out of all addresses that a host could have. BYTES is
// the size of the payload, by default 64. Prints the number of datagrams and the time: "sent
// 1000000 in 1.000 s".
//
// The kernel fills in the IP header's checksum (raw(7)); UDP's is optional (RFC 768).

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <random>
#include <string_view>

#include <arpa/inet.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <time.h>

namespace {

constexpr size_t batch = 64;
constexpr size_t payload_bytes_max = 1400;

struct Packet {
    iphdr ip;
    udphdr udp;
    std::array<char, payload_bytes_max> payload;
};

struct Task {
    in_addr to{};
    uint16_t port = 0;
    uint32_t seconds = 0;
    uint32_t rate = 0;
    uint32_t sources = 0;
    uint32_t bytes = 64;
};

uint64_t now_ns() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

bool read_number(std::string_view text, uint32_t max, uint32_t& target) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), target);
    return error == std::errc{} && end == text.data() + text.size() && target <= max;
}

bool read_task(int argc, char** argv, Task& task) {
    uint32_t port = 0;
    if (argc < 4 || argc > 7 || inet_pton(AF_INET, argv[1], &task.to) != 1 ||
        !read_number(argv[2], 65'535, port) || !read_number(argv[3], 3'600, task.seconds))
        return false;
    task.port = static_cast<uint16_t>(port);
    return (argc < 5 || read_number(argv[4], 100'000'000, task.rate)) &&
           (argc < 6 || read_number(argv[5], 1U << 24, task.sources)) &&
           (argc < 7 || read_number(argv[6], payload_bytes_max, task.bytes));
}

/// An address that could be a host's, not loopback: 1.0.0.0 to 126.255.255.255.
uint32_t source_of(uint32_t number) {
    return (1 + (number >> 24) % 126) << 24 | (number & 0xffffff);
}

class Flood {
public:
    Flood(int fd, const Task& task) : fd_(fd), task_(task) {
        to_.sin_family = AF_INET;
        to_.sin_addr = task.to;
        for (size_t i = 0; i < batch; ++i) {
            const size_t size = sizeof(iphdr) + sizeof(udphdr) + task.bytes;
            Packet& packet = packets_[i];
            packet.ip.version = 4;
            packet.ip.ihl = 5;
            packet.ip.ttl = 64;
            packet.ip.protocol = IPPROTO_UDP;
            packet.ip.tot_len = htons(static_cast<uint16_t>(size));
            packet.ip.daddr = task.to.s_addr;
            packet.udp.dest = htons(task.port);
            packet.udp.len = htons(static_cast<uint16_t>(sizeof(udphdr) + task.bytes));
            vectors_[i] = {&packet, size};
            messages_[i].msg_hdr.msg_name = &to_;
            messages_[i].msg_hdr.msg_namelen = sizeof to_;
            messages_[i].msg_hdr.msg_iov = &vectors_[i];
            messages_[i].msg_hdr.msg_iovlen = 1;
        }
    }

    /// Returns the number sent; packets that failed (a full queue) do not count.
    uint64_t run() {
        const uint64_t begin = now_ns();
        const uint64_t end = begin + uint64_t{task_.seconds} * 1'000'000'000;
        uint64_t sent = 0;
        for (uint64_t now = begin; now < end; now = now_ns()) {
            const uint64_t due =
                task_.rate == 0 ? UINT64_MAX : (now - begin) * task_.rate / 1'000'000'000;
            if (sent >= due) {
                const timespec pause{.tv_sec = 0, .tv_nsec = 200'000};
                nanosleep(&pause, nullptr);
                continue;
            }
            sent += send(static_cast<unsigned>(std::min<uint64_t>(batch, due - sent)));
        }
        return sent;
    }

private:
    uint64_t send(unsigned count) {
        for (unsigned i = 0; i < count; ++i) {
            const auto number = static_cast<uint32_t>(random_());
            const uint32_t source = task_.sources == 0 ? number : number % task_.sources << 8;
            packets_[i].ip.saddr = htonl(source_of(source));
            packets_[i].udp.source =
                htons(static_cast<uint16_t>(10'000 + static_cast<uint32_t>(random_()) % 50'000));
        }
        const int sent = ::sendmmsg(fd_, messages_.data(), count, 0);
        return sent > 0 ? static_cast<uint64_t>(sent) : 0;
    }

    int fd_;
    Task task_;
    sockaddr_in to_{};
    std::array<Packet, batch> packets_{};
    std::array<iovec, batch> vectors_{};
    std::array<mmsghdr, batch> messages_{};
    std::minstd_rand random_{static_cast<uint32_t>(now_ns())};
};

} // namespace

int main(int argc, char** argv) {
    Task task;
    if (!read_task(argc, argv, task)) {
        std::fputs("usage: forge ADDRESS PORT SECONDS [RATE [SOURCES [BYTES]]]\n", stderr);
        return 2;
    }
    const int fd = ::socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
    if (fd < 0) {
        std::perror("forge: no raw socket");
        return 1;
    }
    Flood flood(fd, task);
    const uint64_t begin = now_ns();
    const uint64_t sent = flood.run();
    std::printf(
        "sent %llu in %.3f s\n", static_cast<unsigned long long>(sent),
        static_cast<double>(now_ns() - begin) / 1e9);
    return 0;
}
