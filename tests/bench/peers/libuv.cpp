// libuv: uv_read_start, and replies by uv_try_write first, because its documentation advises
// against queues that are not needed.
//
// libuv requests a buffer and reads into it at once, so one buffer serves all connections. Bytes
// that the socket does not take are copied for uv_write, and reading stops until they are written.
#include "start.h"

#include <array>
#include <vector>

#include <uv.h>

namespace {

struct Connection {
    uv_tcp_t tcp;
    uv_write_t write;
    uv_shutdown_t shutdown;
    std::vector<char> unsent;
    bool greeted = false;
};

bool greets = false;
std::array<char, bench::stream_buffer_bytes> stream_buffer;
// UV_UDP_RECVMMSG divides it into pieces of 64 KiB, of which it uses 20 at most.
std::array<char, 20 * bench::datagram_buffer_bytes> datagram_buffer;

void check(int status, const char* what) {
    if (status < 0)
        bench::die(what, -status);
}

uv_stream_t* stream_of(Connection& connection) {
    return reinterpret_cast<uv_stream_t*>(&connection.tcp);
}

void give_stream_buffer(uv_handle_t*, size_t, uv_buf_t* buffer) {
    *buffer = uv_buf_init(stream_buffer.data(), stream_buffer.size());
}

void give_datagram_buffer(uv_handle_t*, size_t, uv_buf_t* buffer) {
    *buffer = uv_buf_init(datagram_buffer.data(), datagram_buffer.size());
}

void close(Connection& connection) {
    auto* handle = reinterpret_cast<uv_handle_t*>(&connection.tcp);
    if (!uv_is_closing(handle))
        uv_close(
            handle, [](uv_handle_t* closed) { delete static_cast<Connection*>(closed->data); });
}

void on_read(uv_stream_t* stream, ssize_t size, const uv_buf_t* buffer);

void on_written(uv_write_t* request, int status) {
    auto& connection = *static_cast<Connection*>(request->handle->data);
    connection.unsent = {};
    if (status < 0 || uv_read_start(request->handle, give_stream_buffer, on_read) < 0)
        close(connection);
}

void send(Connection& connection, const char* data, size_t size) {
    uv_buf_t answer = uv_buf_init(const_cast<char*>(data), static_cast<unsigned>(size));
    const int sent = uv_try_write(stream_of(connection), &answer, 1);
    if (sent < 0 && sent != UV_EAGAIN)
        return close(connection);
    const auto done = static_cast<size_t>(sent > 0 ? sent : 0);
    if (done == size)
        return;
    uv_read_stop(stream_of(connection));
    connection.unsent.assign(data + done, data + size);
    answer = uv_buf_init(connection.unsent.data(), static_cast<unsigned>(connection.unsent.size()));
    if (uv_write(&connection.write, stream_of(connection), &answer, 1, on_written) < 0)
        close(connection);
}

void on_read(uv_stream_t* stream, ssize_t size, const uv_buf_t* buffer) {
    auto& connection = *static_cast<Connection*>(stream->data);
    if (size < 0)
        return close(connection);
    if (size == 0 || connection.greeted)
        return;
    if (!greets)
        return send(connection, buffer->base, static_cast<size_t>(size));
    connection.greeted = true;
    send(connection, bench::greeting.data(), bench::greeting.size());
    uv_shutdown(&connection.shutdown, stream, nullptr);
}

void on_connection(uv_stream_t* listener, int status) {
    if (status < 0)
        return;
    auto* connection = new Connection;
    connection->tcp.data = connection;
    uv_tcp_init(listener->loop, &connection->tcp);
    if (uv_accept(listener, stream_of(*connection)) < 0 ||
        uv_tcp_nodelay(&connection->tcp, 1) < 0 ||
        uv_read_start(stream_of(*connection), give_stream_buffer, on_read) < 0)
        close(*connection);
}

void on_datagram(
    uv_udp_t* socket, ssize_t size, const uv_buf_t* buffer, const sockaddr* peer, unsigned) {
    // Without a peer no datagram came: the end of a batch.
    if (size < 0 || peer == nullptr)
        return;
    const uv_buf_t answer = uv_buf_init(buffer->base, static_cast<unsigned>(size));
    // A datagram that the socket does not take is lost.
    uv_udp_try_send(socket, &answer, 1, peer);
}

} // namespace

int main(int argc, char** argv) {
    const auto [mode, port] = bench::start(argc, argv);
    const sockaddr_in local = bench::address_of(port);
    const auto* address = reinterpret_cast<const sockaddr*>(&local);
    uv_loop_t* loop = uv_default_loop();
    uv_tcp_t listener;
    uv_udp_t socket;
    if (mode == bench::Mode::udp) {
        check(uv_udp_init_ex(loop, &socket, AF_INET | UV_UDP_RECVMMSG), "uv_udp_init_ex");
        check(uv_udp_bind(&socket, address, 0), "uv_udp_bind");
        check(uv_udp_recv_start(&socket, give_datagram_buffer, on_datagram), "uv_udp_recv_start");
    } else {
        greets = mode == bench::Mode::hello;
        check(uv_tcp_init(loop, &listener), "uv_tcp_init");
        check(uv_tcp_bind(&listener, address, 0), "uv_tcp_bind"); // sets SO_REUSEADDR
        check(
            uv_listen(reinterpret_cast<uv_stream_t*>(&listener), bench::backlog, on_connection),
            "uv_listen");
    }
    bench::say_ready();
    return uv_run(loop, UV_RUN_DEFAULT);
}
