#include "daemon/config/words.h"

#include "common/text.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace riposte {
namespace {

constexpr std::array<std::string_view, 3> backend_names{"auto", "io_uring", "epoll"};
constexpr std::array<std::string_view, 2> full_names{"refuse", "close_idle"};
constexpr std::array<std::string_view, 4> level_names{"error", "warning", "info", "debug"};

} // namespace

std::string_view to_string(BackendChoice choice) {
    return backend_names[static_cast<size_t>(choice)];
}

std::optional<BackendChoice> parse_backend_choice(std::string_view text) {
    const auto* found = std::ranges::find(backend_names, text);
    if (found == backend_names.end())
        return std::nullopt;
    return static_cast<BackendChoice>(found - backend_names.begin());
}

std::span<const std::string_view> backend_choice_names() {
    return backend_names;
}

std::string_view to_string(WhenFull when_full) {
    return full_names[static_cast<size_t>(when_full)];
}

std::optional<WhenFull> parse_when_full(std::string_view text) {
    const auto* found = std::ranges::find(full_names, text);
    if (found == full_names.end())
        return std::nullopt;
    return static_cast<WhenFull>(found - full_names.begin());
}

std::span<const std::string_view> when_full_names() {
    return full_names;
}

std::span<const std::string_view> log_level_names() {
    return level_names;
}

std::string unknown_word(
    std::string_view noun, std::string_view word, std::span<const std::string_view> names) {
    const std::string_view near = nearest(word, names);
    const std::string shown = escape(word, 40);
    if (!near.empty())
        return fmt::format("unknown {} '{}'; did you mean '{}'?", noun, shown, near);
    return fmt::format("unknown {} '{}'; it must be {}", noun, shown, one_of(names));
}

} // namespace riposte
