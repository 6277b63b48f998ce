// The backend that the configuration asks for, or the one that runs (then never `automatic`).
#pragma once

#include <cstdint>
#include <string_view>

namespace riposte {

enum class BackendChoice : uint8_t { automatic, io_uring, epoll };

std::string_view to_string(BackendChoice choice); ///< "auto", "io_uring", "epoll"

} // namespace riposte
