// Local addresses that a socket is bound to.
#pragma once

#include "common/address.h"

#include <cstdint>

namespace riposte::client {

/// The address with this port in place of its own.
SocketAddress with_port(SocketAddress address, uint16_t port);

/// Any address of this machine, of that family.
SocketAddress any_address(int family);

} // namespace riposte::client
