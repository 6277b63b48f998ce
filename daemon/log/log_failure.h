// A fatal error in the log, with what monitoring wants to have apart from its text: the status that
// it would end with, and the place that it points at.
#pragma once

#include "common/error.h"
#include "daemon/log/log.h"

#include <optional>
#include <string_view>

namespace riposte {

/// "riposted.toml:12:1", where an error's message begins with such a one: see Error::message.
struct FilePlace {
    std::string_view file;
    std::string_view line;
    std::string_view column;
};

/// Pure.
std::optional<FilePlace> leading_place(std::string_view message);

/// "PREFIX MESSAGE" at the level error.
void log_failure(log::Event event, std::string_view prefix, const Error& error);

} // namespace riposte
