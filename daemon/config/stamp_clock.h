// May the daemon read what the kernel knows of the clock, as a listener wants it?
#pragma once

#include "daemon/config/config.h"

namespace riposte {

/// Does a listener have `clock = "system"`?
bool wants_system_clock(const Config& config);

/// Refuses such a configuration if adjtimex(2) fails: a reflector that silently says nothing of its
/// clock would look as if it was not synchronized. Exit::permission if a sandbox is the reason,
/// else Exit::os; the message begins with the listener's place in the configuration.
Result<void> check_stamp_clock(const Config& config);

} // namespace riposte
