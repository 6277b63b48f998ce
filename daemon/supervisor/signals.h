// The daemon's signals; see signal(7).
#pragma once

#include <csignal>

namespace riposte {

/// The signals that the supervisor reads: TERM and INT to stop, HUP to reload, USR1 for the
/// statistics.
sigset_t read_signals();

/// TERM and INT alone.
sigset_t stop_signals();

/// The first call in main. A write without a reader or without room becomes an error of write(2)
/// and does not end the process (PIPE, XFSZ). HUP and USR1 stay pending until the supervisor reads
/// them, even if the caller ignored them. TERM and INT are not blocked: they end a start at once.
void take_signals();

/// From here on the supervisor reads all of them. Call it before threads start: they inherit the
/// mask.
void block_read_signals();

} // namespace riposte
