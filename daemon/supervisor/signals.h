// What signals do to the daemon; see signal(7).
#pragma once

#include <csignal>

namespace riposte {

/// Those that the supervisor reads: TERM and INT to stop, HUP to reload, USR1 for the statistics.
sigset_t read_signals();

/// TERM and INT alone.
sigset_t stop_signals();

/// The first thing in main. Writing to what has no reader or no room is an error of write(2) and
/// ends nobody (PIPE, XFSZ). HUP and USR1 wait until the supervisor reads them, even if the caller
/// ignored them; so does not TERM or INT: they end a start at once.
void take_signals();

/// Now the supervisor reads them all. Before there are threads, which inherit the mask.
void block_read_signals();

} // namespace riposte
