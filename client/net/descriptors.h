// The limit of open files (RLIMIT_NOFILE).
#pragma once

#include <cstdint>

namespace riposte::client {

/// Descriptors of a command that are none of its peers'.
inline constexpr uint64_t descriptors_besides = 32;

/// Raises the soft limit to the hard one, which is as far as permitted. The limit from now on;
/// UINT64_MAX: not known.
uint64_t raise_descriptor_limit();

} // namespace riposte::client
