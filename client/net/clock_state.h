// What the kernel knows of this machine's clock: adjtimex(2).
#pragma once

#include "common/stamp/timestamp.h"

namespace riposte::client {

/// Synchronized: the kernel's bound of the error (maxerror) is below 16 s, which it reaches when
/// nothing has disciplined the clock for hours, or ever. The bound is the error then; otherwise it
/// is unknown.
stamp::ErrorEstimate own_clock_error();

} // namespace riposte::client
