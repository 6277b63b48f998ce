// `riposte load`: load at full speed (closed loop) or at a fixed rate (open loop).
#pragma once

#include "client/options/options.h"
#include "common/error.h"

namespace riposte::client {

/// Exit::ok: every request was answered correctly, and --fail-if held; Exit::failed: not so,
/// or no service answers there at all. An error is one line about the latter, or about this
/// machine.
Result<Exit> load(const CommonOptions& common, const LoadOptions& options);

} // namespace riposte::client
