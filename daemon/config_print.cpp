// The configuration as TOML. Every value is written out, so that the text also documents the
// defaults; parse_config() reads it back to an equal configuration.

#include "common/units.h"
#include "daemon/config.h"

#include <iterator>

#include <fmt/format.h>

namespace riposte {
namespace {

/// A TOML basic string. `text` is UTF-8, since it came from TOML; only what the grammar does not
/// allow between quotes is escaped.
std::string quoted(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\')
            (out += '\\') += c;
        else if (c == '\n')
            out += "\\n";
        else if (c == '\r')
            out += "\\r";
        else if (c == '\t')
            out += "\\t";
        else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
            out += fmt::format("\\u{:04X}", static_cast<unsigned char>(c));
        else
            out += c;
    }
    return out += '"';
}

std::string print_listen(const ListenConfig& listen) {
    std::string addresses;
    for (const Endpoint& endpoint : listen.addresses) {
        if (!addresses.empty())
            addresses += ", ";
        addresses += quoted(to_string(endpoint));
    }
    std::string out = fmt::format(
        "\n[[listen]]\nservice = {}\naddress = [{}]\n", quoted(to_string(listen.service)),
        addresses);
    if (listen.service == ServiceKind::hello)
        out += fmt::format("message = {}\n", quoted(listen.options.message));
    return out;
}

} // namespace

std::string print_config(const Config& config) {
    std::string out = fmt::format(
        "backend = {}\nworkers = {}\nbusy_poll = {}\ndrain_timeout = {}\nlog_level = {}\n",
        quoted(to_string(config.backend)), config.workers,
        quoted(format_duration_us(config.busy_poll_us)),
        quoted(format_duration(config.drain_timeout_ms)), quoted(to_string(config.log_level)));
    for (const ListenConfig& listen : config.listen)
        out += print_listen(listen);
    const LimitsConfig& limits = config.limits;
    out += fmt::format(
        "\n[limits]\nconnections = {}\nconnections_per_source = {}\n"
        "idle_timeout = {}\nwrite_stall_timeout = {}\nlinger_timeout = {}\n",
        limits.connections_max, limits.connections_per_source_max,
        quoted(format_duration(limits.idle_timeout_ms)),
        quoted(format_duration(limits.write_stall_timeout_ms)),
        quoted(format_duration(limits.linger_timeout_ms)));
    return out;
}

} // namespace riposte
