// One socket that listens, TCP or UDP: bound here or inherited, made ready for a worker, and every
// way in which that can be refused said in one line. Who owns it and for how long: listeners.h.
//
// Sources: socket(7), ip(7), ipv6(7), tcp(7), udp(7), sd_listen_fds(3).
#pragma once

#include "common/address.h"
#include "common/error.h"
#include "common/fd.h"
#include "daemon/services/service.h"

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

namespace riposte {

/// What to bind.
struct ListenAddress {
    Transport transport = Transport::tcp;
    SocketAddress address;
    bool dual_stack = false; ///< [::] that takes IPv4 as well
};

/// "tcp://127.0.0.1:7001"; "tcp://*:7001" for dual stack, as an endpoint would write it.
std::string to_string(const ListenAddress& address);

/// Can both not be bound at once?
bool overlap(const ListenAddress& a, const ListenAddress& b);

SocketAddress with_port(const SocketAddress& address, uint16_t port);

/// 0.0.0.0
SocketAddress any_ipv4(uint16_t port);

/// Did bind_socket() fail with `error` for want of IPv6, and not of this one address? The kernel
/// may not know it, no interface may have an address of it, or loopback alone may have none:
/// containers often have it switched off, and "::1 localhost" in /etc/hosts all the same.
bool lacks_ipv6(int error, const SocketAddress& address);

/// "no IPv6 here (...)", for such an error.
std::string ipv6_missing(int error);

/// A socket that a worker can be lent: non-blocking, close-on-exec, listening if it is a stream.
/// The error is an errno.
std::expected<Fd, int> bind_socket(const ListenAddress& address, bool reuse_port);

/// Whether a connection is handed over only when its peer has said something, be it FIN, or after a
/// second without (TCP_DEFER_ACCEPT, tcp(7)): one wake-up instead of two, and until then it takes
/// neither a descriptor nor a slot. The price: one that said nothing yet is reset, not finished,
/// when its listener is closed.
void accept_with_first_bytes(int fd, bool defer);

/// Why bind_socket() failed: the exit code, what went wrong, what to do about it.
Error bind_error(int error, const ListenAddress& address);

/// Makes an inherited socket ready in the same way and says what it is. Refused (Exit::config) is
/// whatever is not a listening stream or a datagram socket of IPv4 or IPv6.
Result<ListenAddress> prepare_inherited(int fd, std::string_view name);

/// The service that FileDescriptorName= asks for: its name, or that of our unit for it
/// ("riposted-echo.socket"). No name, or that of riposted.socket, is hello. `fd` is for the error.
Result<ServiceKind> inherited_service(int fd, std::string_view name);

} // namespace riposte
