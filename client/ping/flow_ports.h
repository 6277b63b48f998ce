// The local ports of --flows: the same ones in each run, so that routers which choose a way by the
// ports send each flow the same way every time.
#pragma once

#include "client/net/connect.h"
#include "common/address.h"
#include "common/error.h"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace riposte::client {

/// The target of sockets that have this local port, at the address of --source if there is one.
Target from_port(const Target& target, int family, uint16_t port);

/// So many ports from that of --source on, or flow_port_first. One that a socket of another program
/// has is left out, and reported with a line. Exit::usage: there are not enough.
Result<std::vector<uint16_t>> choose_flow_ports(
    const Target& target, int family, uint32_t flows,
    const std::function<void(const std::string&)>& report);

} // namespace riposte::client
