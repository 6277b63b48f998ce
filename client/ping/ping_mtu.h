// riposte ping --mtu: the largest packet that the path to an endpoint carries, and back.
#pragma once

#include "client/options/options.h"
#include "common/error.h"

namespace riposte::client {

/// Searches for each endpoint in turn, and prints what it finds. Exit::failed if an endpoint does
/// not answer, Exit::interrupted after a signal.
Result<Exit> ping_mtu(const CommonOptions& common, const PingOptions& options);

} // namespace riposte::client
