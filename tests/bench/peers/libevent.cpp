// libevent: bufferevents, as its book recommends for streams; a plain event for datagrams.
//
// Bytes move from the input to the output without a copy. Above the high-water mark of the output
// reading stops, and at the low-water mark it continues. (libevent 2.1 reads 4 KiB at a time, which
// an application cannot change.)
#include "start.h"

#include <array>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <event2/util.h>

namespace {

constexpr size_t output_high = 4 * bench::stream_buffer_bytes;
constexpr size_t output_low = bench::stream_buffer_bytes;

bool greets = false;

void on_read(bufferevent* stream, void*);
void on_event(bufferevent* stream, short what, void*);

void on_low(bufferevent* stream, void*) {
    bufferevent_setcb(stream, on_read, nullptr, on_event, nullptr);
    bufferevent_enable(stream, EV_READ);
}

void on_read(bufferevent* stream, void*) {
    evbuffer* output = bufferevent_get_output(stream);
    evbuffer_add_buffer(output, bufferevent_get_input(stream));
    if (evbuffer_get_length(output) < output_high)
        return;
    bufferevent_disable(stream, EV_READ);
    bufferevent_setwatermark(stream, EV_WRITE, output_low, 0);
    bufferevent_setcb(stream, on_read, on_low, on_event, nullptr);
}

void on_empty(bufferevent* stream, void*) {
    bufferevent_free(stream);
}

void on_event(bufferevent* stream, short what, void*) {
    if ((what & BEV_EVENT_ERROR) != 0 || evbuffer_get_length(bufferevent_get_output(stream)) == 0)
        return bufferevent_free(stream);
    // The peer finished; it still gets the rest of its reply.
    bufferevent_setwatermark(stream, EV_WRITE, 0, 0);
    bufferevent_setcb(stream, nullptr, on_empty, on_event, nullptr);
}

void drain(bufferevent* stream, void*) {
    evbuffer* input = bufferevent_get_input(stream);
    evbuffer_drain(input, evbuffer_get_length(input));
}

void on_greeted(bufferevent* stream, void*) {
    shutdown(bufferevent_getfd(stream), SHUT_WR);
    bufferevent_setcb(stream, drain, nullptr, on_event, nullptr);
}

void greet(bufferevent* stream, void*) {
    drain(stream, nullptr);
    bufferevent_setcb(stream, drain, on_greeted, on_event, nullptr);
    bufferevent_write(stream, bench::greeting.data(), bench::greeting.size());
}

void on_connection(evconnlistener* listener, evutil_socket_t fd, sockaddr*, int, void*) {
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    bufferevent* stream =
        bufferevent_socket_new(evconnlistener_get_base(listener), fd, BEV_OPT_CLOSE_ON_FREE);
    bufferevent_set_max_single_read(stream, bench::stream_buffer_bytes);
    bufferevent_setcb(stream, greets ? greet : on_read, nullptr, on_event, nullptr);
    bufferevent_enable(stream, EV_READ | EV_WRITE);
}

void on_datagram(evutil_socket_t fd, short, void*) {
    static std::array<char, bench::datagram_buffer_bytes> buffer;
    sockaddr_in peer;
    auto* address = reinterpret_cast<sockaddr*>(&peer);
    for (;;) {
        socklen_t peer_size = sizeof peer;
        const ssize_t size = recvfrom(fd, buffer.data(), buffer.size(), 0, address, &peer_size);
        if (size < 0)
            return;
        // A datagram that the socket does not take is lost.
        sendto(fd, buffer.data(), static_cast<size_t>(size), 0, address, peer_size);
    }
}

} // namespace

int main(int argc, char** argv) {
    const auto [mode, port] = bench::start(argc, argv);
    event_config* config = event_config_new();
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    event_config_set_flag(config, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
    event_base* base = event_base_new_with_config(config);
    if (base == nullptr)
        bench::die("event_base_new_with_config");
    if (mode == bench::Mode::udp) {
        const int fd = bench::bound_socket(SOCK_DGRAM | SOCK_NONBLOCK, port);
        event_add(event_new(base, fd, EV_READ | EV_PERSIST, on_datagram, nullptr), nullptr);
    } else {
        greets = mode == bench::Mode::hello;
        const sockaddr_in address = bench::address_of(port);
        if (evconnlistener_new_bind(
                base, on_connection, nullptr,
                LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE | LEV_OPT_CLOSE_ON_EXEC, bench::backlog,
                reinterpret_cast<const sockaddr*>(&address), sizeof address) == nullptr)
            bench::die("evconnlistener_new_bind");
    }
    bench::say_ready();
    return event_base_dispatch(base);
}
