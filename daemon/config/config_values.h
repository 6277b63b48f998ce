// What the file and the flags have in common: the words that are allowed, how an unknown one is
// refused, and how an address becomes a listener's. One wording for both.
#pragma once

#include "daemon/config/config.h"

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace riposte {

inline constexpr uint32_t workers_max = 256;
inline constexpr uint32_t busy_poll_us_max = 10'000;
/// Of all [[listen]] sections together; each is a socket per worker.
inline constexpr size_t listen_addresses_max = 1024;

std::optional<BackendChoice> parse_backend_choice(std::string_view text);
std::span<const std::string_view> backend_choice_names();
std::optional<WhenFull> parse_when_full(std::string_view text);
std::span<const std::string_view> when_full_names();
std::span<const std::string_view> log_level_names();

/// "auto, io_uring or epoll"
std::string one_of(std::span<const std::string_view> names);

/// "unknown backend 'epol'; did you mean 'epoll'?", or all names where none is near.
std::string unknown_word(
    std::string_view noun, std::string_view word, std::span<const std::string_view> names);

/// toml++'s own words, in one line: "Error while parsing string: ..." -> "bad string: ...".
std::string syntax_error(std::string_view description);

/// Adds an address as it was written: without a scheme it is TCP and UDP.
void add_address(ListenerConfig& listen, Endpoint endpoint);

} // namespace riposte
