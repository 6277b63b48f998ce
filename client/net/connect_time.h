// When connecting was decided, for those that look late; and what to do where it was not even
// begun.
#pragma once

#include "client/options/path_options.h"

#include <cstdint>
#include <string_view>

namespace riposte::client {

/// When a connection was made that is found to be there at `now_ns`: the peer has sent its SYN
/// then, and nothing else. A connection that was begun just now was made just now.
uint64_t connected_ns(int fd, uint64_t began_ns, uint64_t now_ns);

/// Has connecting succeeded or failed yet?
bool is_decided(int fd);

/// "; choose a longer -i": what to do when this machine has run out of something.
std::string_view connect_advice(int error, const PathOptions& path);

} // namespace riposte::client
