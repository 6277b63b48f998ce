// Punctual wake-ups on a busy machine.
#pragma once

namespace riposte::client {

/// Asks the kernel (6.12 and later; older ones ignore it) for short time slices, with which this
/// process runs sooner after it wakes while others want the processor, without taking time from
/// them. Needs no privilege.
void request_short_time_slices();

} // namespace riposte::client
