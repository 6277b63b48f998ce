// The page at / of a prober, for people: its targets, the worst first, and the prober's own state.
// It needs no script and nothing from elsewhere, follows the reader's light or dark scheme, fits a
// phone, and renews itself.
#pragma once

#include "client/probe/figures.h"
#include "common/http/body.h"

#include <cstddef>
#include <string>

namespace riposte::client {

/// More targets are counted, not shown: the worst are shown.
inline constexpr size_t page_rows_max = 1000;

/// What has happened since `before`; null: since the start.
HttpBody fleet_page(
    const FleetFigures& now, const FleetFigures* before, const std::string& version);

} // namespace riposte::client
