// Many idle connections to an echo, to measure their cost for the server.
//
// The connections are opened one after the other, 500 from each source address (127.0.0.2 and up),
// so that no limit per source is reached; each has one message echoed and compared, so that the
// server has really served it. Then the program prints `{"held": COUNT}`, and holds them until
// standard input ends. It closes them with RST, which leaves no TIME_WAIT. A connection that the
// server closed before then is a fault, because the figures would be those of fewer.
//
//     hold_connections -p PORT -c COUNT [-s BYTES]
//
// -s 0: nothing is sent.
#include "tests/bench/bench_support.h"

using namespace riposte;
using namespace riposte::bench;

namespace {

constexpr unsigned connections_per_source = 500;
constexpr unsigned bytes_max = 65536;
constexpr time_t wait_seconds = 10; ///< for one answer

struct Settings {
    unsigned port = 0;
    unsigned count = 0;
    unsigned bytes = 64;
};

void send_whole(const Fd& fd, const std::byte* data, size_t size) {
    if (send(fd.get(), data, size, MSG_NOSIGNAL) != static_cast<ssize_t>(size))
        die("send");
}

void echo_once(const Fd& fd, unsigned number, std::vector<std::byte>& message) {
    for (size_t at = 0; at < message.size(); at++)
        message[at] = static_cast<std::byte>(mixed(number + at) & 0xff);
    send_whole(fd, message.data(), message.size());
    std::vector<std::byte> answer(message.size());
    for (size_t done = 0; done < answer.size();) {
        const ssize_t size = recv(fd.get(), answer.data() + done, answer.size() - done, 0);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0)
            die("recv");
        if (size == 0)
            die_plainly("the server ended a connection before it had answered");
        done += static_cast<size_t>(size);
    }
    if (answer != message)
        die_plainly("an answer is wrong");
}

Fd open_one(const Settings& settings, unsigned number) {
    Fd fd = tcp_socket();
    const timeval wait{.tv_sec = wait_seconds, .tv_usec = 0};
    const linger reset{.l_onoff = 1, .l_linger = 0};
    if (setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait) != 0 ||
        setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset) != 0)
        die("setsockopt");
    bind_source(fd, 2 + number / connections_per_source);
    if (connect_to(fd, loopback(1, settings.port)) != 0)
        die("connect");
    return fd;
}

void await_end_of_input() {
    char buffer[256];
    ssize_t size = 0;
    do
        size = read(STDIN_FILENO, buffer, sizeof buffer);
    while (size > 0 || (size < 0 && errno == EINTR));
}

unsigned count_ended(const std::vector<Fd>& connections) {
    unsigned ended = 0;
    for (const Fd& fd : connections) {
        char byte = 0;
        const ssize_t size = recv(fd.get(), &byte, 1, MSG_DONTWAIT | MSG_PEEK);
        if (size >= 0 || errno != EAGAIN)
            ended++;
    }
    return ended;
}

bool parse(int argc, char** argv, Settings& settings) {
    Options options("-p PORT -c COUNT [-s BYTES]");
    options.port(settings.port);
    options.number('c', settings.count, 1, 19900);
    options.number('s', settings.bytes, 0, bytes_max);
    if (!options.parse(argc, argv))
        return false;
    if (settings.count == 0)
        fprintf(stderr, "%s: -c is required\n", program_invocation_short_name);
    return settings.count > 0;
}

} // namespace

int main(int argc, char** argv) {
    Settings settings;
    if (!parse(argc, argv, settings))
        return 2;
    raise_descriptor_limit(settings.count + 16);
    std::vector<Fd> connections;
    std::vector<std::byte> message(settings.bytes);
    for (unsigned i = 0; i < settings.count; i++) {
        connections.push_back(open_one(settings, i));
        if (settings.bytes > 0)
            echo_once(connections.back(), i, message);
    }
    JsonLine line;
    line.add("held", settings.count);
    line.print();
    await_end_of_input();
    const unsigned ended = count_ended(connections);
    connections.clear();
    if (ended > 0) {
        fprintf(stderr, "%s: %u were not held\n", program_invocation_short_name, ended);
        return 1;
    }
    return 0;
}
