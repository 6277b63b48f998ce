// Text for people: escaping of what a peer sent, the nearest known word, plurals, texts of errnos.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace riposte {

constexpr bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/// A peer's bytes as printable ASCII: control and non-ASCII bytes as \n, \r, \t, \\, \" or \xNN.
/// At most `bytes_max` bytes of input are shown; what is left out is said ("... 976 more bytes").
std::string escape(std::string_view bytes, size_t bytes_max = 128);

/// The candidate with the smallest edit distance, or "" if none is near enough to be meant
/// (more than a third of the word, rounded up, would have to change).
std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates);

/// "auto, io_uring or epoll"
std::string one_of(std::span<const std::string_view> names);

/// "1 worker", "2 workers", "0 workers".
std::string plural(uint64_t count, std::string_view noun);

/// "1 byte", "18 bytes".
std::string byte_count(uint64_t count);

/// errno's text, thread-safe: "Address already in use".
std::string errno_text(int error);

/// errno's name: "EADDRINUSE".
std::string errno_name(int error);

/// Its text as it reads in the middle of a line: "connection refused".
std::string reason(int error);

} // namespace riposte
