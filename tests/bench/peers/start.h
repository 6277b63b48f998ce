// What the C++ programs of this directory share: the command line, the limit of open files, and for
// those that use no library, the sockets. See README.md for what all of them promise.
//
// A fault at start ends the program with status 1 and the failed call, a wrong command line or a
// mode that the program lacks with status 2. Nothing here runs once the program says `ready`.
#pragma once

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <string_view>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>

namespace bench {

constexpr std::string_view greeting = "Hello, i'm server!";
constexpr size_t stream_buffer_bytes = 64 * 1024;
constexpr size_t datagram_buffer_bytes = 64 * 1024;
constexpr int backlog = 4096;

enum class Mode : uint8_t { echo, hello, udp, udp_plain };

struct Start {
    Mode mode;
    uint16_t port;
};

[[noreturn]] inline void die(const char* what, int error = errno) {
    std::fprintf(stderr, "%s: %s\n", what, strerrordesc_np(error));
    std::exit(1);
}

inline const char* name_of(Mode mode) {
    switch (mode) {
    case Mode::echo:
        return "echo";
    case Mode::hello:
        return "hello";
    case Mode::udp:
        return "udp";
    case Mode::udp_plain:
        return "udp-plain";
    }
    return "";
}

/// Reads `NAME MODE PORT`, and makes room for as many connections as this process may have.
inline Start start(
    int argc, char** argv,
    std::initializer_list<Mode> modes = {Mode::echo, Mode::hello, Mode::udp}) {
    rlimit files{};
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        die("getrlimit");
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) != 0)
        die("setrlimit");
    // Not every library asks for MSG_NOSIGNAL.
    signal(SIGPIPE, SIG_IGN);
    const unsigned long port = argc == 3 ? std::strtoul(argv[2], nullptr, 10) : 0;
    if (port == 0 || port > 65535) {
        std::fprintf(stderr, "usage: %s MODE PORT\n", argv[0]);
        std::exit(2);
    }
    for (Mode mode : modes)
        if (std::strcmp(argv[1], name_of(mode)) == 0)
            return {mode, static_cast<uint16_t>(port)};
    std::fprintf(stderr, "%s: there is no mode %s here\n", argv[0], argv[1]);
    std::exit(2);
}

inline void say_ready() {
    std::puts("ready");
    std::fflush(stdout);
}

inline sockaddr_in address_of(uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

/// A socket bound to 127.0.0.1:port; one of SOCK_STREAM listens. `type` may have SOCK_NONBLOCK.
inline int bound_socket(int type, uint16_t port) {
    const int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    const bool stream = (type & ~SOCK_NONBLOCK) == SOCK_STREAM;
    const int on = 1;
    if (fd < 0)
        die("socket");
    // Linux hands TCP_NODELAY on to the accepted connections, which saves a call for each.
    if (stream && (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
                   setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0))
        die("setsockopt");
    const sockaddr_in address = address_of(port);
    if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        die("bind");
    if (stream && listen(fd, backlog) != 0)
        die("listen");
    return fd;
}

} // namespace bench
