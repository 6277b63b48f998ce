// Standalone Asio, callback style: one thread runs the io_context, which is configured for that.
//
// A session has exactly one pending operation, whose handler owns the session: when the handler
// ends without starting another operation, the session ends. Reading stops until the bytes read are
// written, because the end of the write starts the next read.
#include "start.h"

#include <array>
#include <asio.hpp>
#include <memory>

namespace {

using asio::ip::tcp;
using asio::ip::udp;

struct Session {
    explicit Session(tcp::socket connected) : socket(std::move(connected)) {}
    tcp::socket socket;
    std::array<char, bench::stream_buffer_bytes> buffer;
};

void echo(std::unique_ptr<Session> self) {
    Session& session = *self;
    session.socket.async_read_some(
        asio::buffer(session.buffer),
        [self = std::move(self)](std::error_code error, size_t size) mutable {
            if (error)
                return;
            Session& read = *self;
            asio::async_write(
                read.socket, asio::buffer(read.buffer, size),
                [self = std::move(self)](std::error_code unsent, size_t) mutable {
                    if (!unsent)
                        echo(std::move(self));
                });
        });
}

void drain(std::unique_ptr<Session> self) {
    Session& session = *self;
    session.socket.async_read_some(
        asio::buffer(session.buffer),
        [self = std::move(self)](std::error_code error, size_t) mutable {
            if (!error)
                drain(std::move(self));
        });
}

void hello(std::unique_ptr<Session> self) {
    Session& session = *self;
    session.socket.async_read_some(
        asio::buffer(session.buffer),
        [self = std::move(self)](std::error_code error, size_t) mutable {
            if (error)
                return;
            Session& read = *self;
            asio::async_write(
                read.socket, asio::buffer(bench::greeting),
                [self = std::move(self)](std::error_code unsent, size_t) mutable {
                    if (unsent || self->socket.shutdown(tcp::socket::shutdown_send, unsent))
                        return;
                    drain(std::move(self));
                });
        });
}

void accept(tcp::acceptor& acceptor, bool greets) {
    acceptor.async_accept([&acceptor, greets](std::error_code error, tcp::socket socket) {
        if (!error && !socket.set_option(tcp::no_delay(true), error))
            (greets ? hello : echo)(std::make_unique<Session>(std::move(socket)));
        accept(acceptor, greets);
    });
}

struct Datagrams {
    Datagrams(asio::io_context& context, const udp::endpoint& local) : socket(context, local) {}

    void receive() {
        socket.async_receive_from(
            asio::buffer(buffer), peer, [this](std::error_code error, size_t size) {
                // A datagram that the socket does not take is lost.
                if (!error)
                    socket.send_to(asio::buffer(buffer, size), peer, 0, error);
                receive();
            });
    }

    udp::socket socket;
    udp::endpoint peer;
    std::array<char, bench::datagram_buffer_bytes> buffer;
};

} // namespace

int main(int argc, char** argv) {
    const auto [mode, port] = bench::start(argc, argv);
    asio::io_context context(1);
    if (mode == bench::Mode::udp) {
        const auto datagrams = std::make_unique<Datagrams>(
            context, udp::endpoint(asio::ip::address_v4::loopback(), port));
        datagrams->socket.non_blocking(true);
        datagrams->receive();
        bench::say_ready();
        context.run();
        return 0;
    }
    tcp::acceptor acceptor(context, tcp::v4());
    acceptor.set_option(tcp::acceptor::reuse_address(true));
    acceptor.bind({asio::ip::address_v4::loopback(), port});
    acceptor.listen(bench::backlog);
    accept(acceptor, mode == bench::Mode::hello);
    bench::say_ready();
    context.run();
}
