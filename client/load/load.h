// `riposte load`: as many requests as go (closed loop), or as many as asked for (open loop).
#pragma once

#include "client/options/options.h"
#include "common/error.h"

namespace riposte::client {

/// Exit::ok: every request was answered rightly, and --fail-if held; Exit::failed: not so, or
/// nobody answers there at all. An error is one line about the latter, or about this machine.
Result<Exit> load(const CommonOptions& common, const LoadOptions& options);

} // namespace riposte::client
