// Opens one socket to serve on, TCP or UDP, bound here or inherited, and sets its options for a
// worker. Every failure has a message of one line. For ownership and lifetime see listeners.h.
//
// Sources: socket(7), ip(7), ipv6(7), tcp(7), udp(7), sd_listen_fds(3).
#pragma once

#include "common/address.h"
#include "common/error.h"
#include "common/fd.h"
#include "common/reason.h"
#include "daemon/services/service.h"

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

namespace riposte {

/// An address to bind.
struct ListenAddress {
    Transport transport = Transport::tcp;
    SocketAddress address;
    bool dual_stack = false; ///< [::] that accepts IPv4 as well
};

/// "tcp://127.0.0.1:7001"; "tcp://*:7001" for dual stack, as in an endpoint.
std::string to_string(const ListenAddress& address);

/// Do the addresses exclude each other, so that both cannot be bound at once?
bool overlap(const ListenAddress& a, const ListenAddress& b);

SocketAddress with_port(const SocketAddress& address, uint16_t port);

/// 0.0.0.0 with this port.
SocketAddress any_ipv4(uint16_t port);

/// Did bind_socket() fail with `error` because IPv6 is missing, and not only this address? The
/// kernel may lack IPv6, no interface may have an IPv6 address, or only loopback may lack one:
/// containers often have IPv6 switched off and still "::1 localhost" in /etc/hosts.
bool lacks_ipv6(int error, const SocketAddress& address);

/// "no IPv6 here (...)", for such an error.
Reason ipv6_missing(int error, std::string_view consequence);

/// Opens a socket for a worker: non-blocking, close-on-exec, listening if it is a stream. The error
/// is an errno.
std::expected<Fd, int> bind_socket(const ListenAddress& address, bool reuse_port);

/// If `defer`, the kernel delivers a connection only when its peer has sent something, a FIN
/// included, or after a second (TCP_DEFER_ACCEPT, tcp(7)): one wake-up instead of two, and until
/// then the connection needs neither a descriptor nor a slot. The price: when the listener is
/// closed, a connection that has sent nothing yet is reset instead of finished.
void accept_with_first_bytes(int fd, bool defer);

/// If `on`, the kernel says of each datagram when it arrived (CLOCK_REALTIME), where it was sent
/// to, and its TTL and traffic class (DatagramInfo), joins no datagrams (a train has one
/// timestamp), and replies leave with the TTL 255, so that the peer can count hops. `address` is
/// that of the socket.
void measure_datagrams(int fd, const SocketAddress& address, bool on);

/// Why bind_socket() failed: the exit code, the reason, the remedy.
Error bind_error(int error, const ListenAddress& address);

/// Sets the same options on an inherited socket and returns its address. Refuses (Exit::config)
/// sockets other than listening streams and datagram sockets of IPv4 or IPv6.
Result<ListenAddress> prepare_inherited(int fd, std::string_view name);

/// The service that FileDescriptorName= requests: the service's name, or that of our unit for it
/// ("riposted-echo.socket"). No name, or that of riposted.socket, is hello. `fd` is for the error.
Result<ServiceKind> inherited_service(int fd, std::string_view name);

} // namespace riposte
