// Memory for what is read from a socket and judged at once: one piece a thread, however many
// sockets it reads. What stands in it is valid until the next read of this thread.
#pragma once

#include <array>
#include <cstddef>
#include <span>

namespace riposte::client {

inline constexpr size_t receive_room_bytes = 65536; ///< more than any datagram holds

inline std::span<std::byte> receive_room() {
    thread_local std::array<std::byte, receive_room_bytes> room;
    return room;
}

} // namespace riposte::client
