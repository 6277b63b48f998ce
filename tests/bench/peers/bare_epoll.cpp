// A limit, not a peer: unsafe, no backpressure; a mark to approach and beat.
//
// A level-triggered epoll loop: one recv into one buffer for all, one send. Bytes that the socket
// does not take at once are lost, errors of accept are ignored, and there are no timeouts.
#include "start.h"

#include <array>
#include <vector>

#include <sys/epoll.h>
#include <unistd.h>

namespace {

constexpr int events_max = 256;
constexpr int accepts_max = 64; // in one turn

std::array<char, bench::stream_buffer_bytes> stream_buffer;
std::array<char, bench::datagram_buffer_bytes> datagram_buffer;

void watch(int epoll, int fd) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        bench::die("epoll_ctl");
}

void accept_some(int epoll, int listener, std::vector<bool>& greeted) {
    for (int i = 0; i < accepts_max; i++) {
        const int fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        if (greeted.size() <= static_cast<size_t>(fd))
            greeted.resize(static_cast<size_t>(fd) + 1);
        greeted[static_cast<size_t>(fd)] = false;
        watch(epoll, fd);
    }
}

void greet(int fd, std::vector<bool>::reference greeted) {
    if (greeted)
        return;
    greeted = true;
    send(fd, bench::greeting.data(), bench::greeting.size(), MSG_NOSIGNAL);
    shutdown(fd, SHUT_WR);
}

[[noreturn]] void serve_streams(uint16_t port, bool greets) {
    const int epoll = epoll_create1(EPOLL_CLOEXEC);
    const int listener = bench::bound_socket(SOCK_STREAM | SOCK_NONBLOCK, port);
    std::vector<bool> greeted; // by descriptor
    watch(epoll, listener);
    bench::say_ready();
    epoll_event events[events_max];
    for (;;) {
        const int count = epoll_wait(epoll, events, events_max, -1);
        for (int i = 0; i < count; i++) {
            const int fd = events[i].data.fd;
            if (fd == listener) {
                accept_some(epoll, listener, greeted);
                continue;
            }
            const ssize_t size = recv(fd, stream_buffer.data(), stream_buffer.size(), 0);
            if (size == 0 || (size < 0 && errno != EAGAIN))
                close(fd);
            else if (size > 0 && greets)
                greet(fd, greeted[static_cast<size_t>(fd)]);
            else if (size > 0)
                send(fd, stream_buffer.data(), static_cast<size_t>(size), MSG_NOSIGNAL);
        }
    }
}

/// One socket needs no epoll: the cheapest is to sleep in recvfrom itself.
[[noreturn]] void serve_datagrams(uint16_t port) {
    const int fd = bench::bound_socket(SOCK_DGRAM, port);
    bench::say_ready();
    sockaddr_in peer;
    auto* address = reinterpret_cast<sockaddr*>(&peer);
    for (;;) {
        socklen_t peer_size = sizeof peer;
        const ssize_t size =
            recvfrom(fd, datagram_buffer.data(), datagram_buffer.size(), 0, address, &peer_size);
        if (size >= 0)
            sendto(fd, datagram_buffer.data(), static_cast<size_t>(size), 0, address, peer_size);
    }
}

} // namespace

int main(int argc, char** argv) {
    const auto [mode, port] = bench::start(argc, argv);
    if (mode == bench::Mode::udp)
        serve_datagrams(port);
    serve_streams(port, mode == bench::Mode::hello);
}
