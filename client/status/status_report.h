// The status for people: what is out of order first, then what the daemon is, how near its limits
// are, its listeners, how fast it answers, what it refuses and why. Lines are as wide as the look
// says; what the daemon says is escaped and cut, so that no control byte reaches the terminal.
#pragma once

#include "client/show/table.h"
#include "client/status/status_figures.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace riposte::client {

/// `before` is an earlier status of the same process, for rates; without one there are none. One
/// of another process (another pid or start time) is ignored, and so are counts that shrank.
std::vector<std::string> status_lines(
    const StatusFigures& now, const StatusFigures* before, Look look);

/// Only what the operator should look at, which is part of the above; nothing if all is well.
std::vector<std::string> status_warnings(const StatusFigures& now, Look look);

/// The first lines of them, as many as a terminal of `rows` rows shows: the last one says how
/// many more there are.
std::vector<std::string> fit_rows(std::vector<std::string> lines, size_t rows);
/// As much of a line (of ASCII, and colours) as fits into so many columns: one that wraps would
/// take two rows.
std::string fit_columns(std::string_view line, size_t columns);
/// Why there is nothing to show (escaped already), broken into lines.
std::vector<std::string> error_lines(std::string_view message, Look look);

} // namespace riposte::client
