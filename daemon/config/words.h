// The words that values may have, and the message that refuses an unknown word: the same in the
// file and in flags.
#pragma once

#include "daemon/config/config.h"

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace riposte {

std::optional<BackendChoice> parse_backend_choice(std::string_view text);
std::span<const std::string_view> backend_choice_names();
std::optional<WhenFull> parse_when_full(std::string_view text);
std::span<const std::string_view> when_full_names();
std::span<const std::string_view> log_level_names();

/// "unknown backend 'epol'; did you mean 'epoll'?", or all names if none is near.
std::string unknown_word(
    std::string_view noun, std::string_view word, std::span<const std::string_view> names);

} // namespace riposte
