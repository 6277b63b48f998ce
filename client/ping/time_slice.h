// Being on time on a busy machine.
#pragma once

namespace riposte::client {

/// Asks the kernel (6.12 and later; older ones take no notice) for short time slices, which make
/// this process run the sooner when it wakes among others that want the processor, and take nothing
/// away from them. Needs no privilege.
void request_short_time_slices();

} // namespace riposte::client
