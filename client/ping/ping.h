// `riposte ping`: probes at a fixed pace, over TCP and UDP, to one endpoint or several.
//
// The schedule is absolute: probe k of an endpoint is due at start + k * interval, however late the
// one before was. A probe that leaves late is counted from the time at which it was due.
#pragma once

#include "client/options/options.h"
#include "common/error.h"

namespace riposte::client {

/// Exit::ok: every probe was answered correctly, and --fail-if held; Exit::failed: not so. An error
/// is one of this machine or of the command line.
Result<Exit> ping(const CommonOptions& common, const PingOptions& options);

} // namespace riposte::client
