// What `riposte probe` prints of its figures: text for people, the worst targets first, and the
// document "riposte/probe/1". Functions of plain data.
#pragma once

#include "client/measure/fail_if.h"
#include "client/probe/figures.h"
#include "client/probe/probe_config.h"
#include "client/probe/selection.h"
#include "client/show/table.h"
#include "common/error.h"

#include <optional>
#include <string>

namespace riposte::client {

/// The value of a metric of --fail-if; nothing if it was not measured.
std::optional<double> metric(
    const FleetFigures& figures, const TargetFigures& target, const Metric& metric);

/// Exit::ok or Exit::failed: each target was probed and answered every probe correctly, as far as
/// no condition says otherwise (verdict.h), and meets none.
Exit verdict(const FleetFigures& figures, const FailIf& fail_if);

/// The targets with the greatest loss first, and of equal ones those with the longest round trips.
std::string fleet_text(const FleetFigures& figures, const FailIf& fail_if, Look look);

/// packaging/schema/riposte-probe-1.schema.json
std::string fleet_json(const FleetFigures& figures, const FailIf& fail_if, Exit exit);

/// --check: what the configuration and the lists amount to. `bytes_a_target`: what the counts of
/// one take.
std::string check_text(
    const ProbeConfig& config, const Selection& selection, size_t listed, uint64_t bytes_a_target,
    Look look);
/// --list: who is probed, and why.
std::string list_text(const Selection& selection, Look look);

} // namespace riposte::client
