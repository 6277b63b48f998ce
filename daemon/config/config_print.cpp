// The configuration as TOML. Every value is written out, so that the text also documents the
// defaults; parse_config() reads it back to an equal configuration.

#include "common/units.h"
#include "daemon/config/config.h"

#include <iterator>

#include <fmt/format.h>

namespace riposte {
namespace {

/// A TOML basic string. `text` is UTF-8, since it came from TOML; only what the grammar does not
/// allow between quotes is escaped.
std::string in_quotes(std::string_view text) {
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

/// ["192.0.2.0/24", "::1"]
template<class T>
std::string strings(const std::vector<T>& values) {
    std::string out;
    for (const T& value : values) {
        if (!out.empty())
            out += ", ";
        out += in_quotes(to_string(value));
    }
    return fmt::format("[{}]", out);
}

std::string print_listen(const ListenerConfig& listen) {
    std::string out = fmt::format(
        "\n[[listen]]\nservice = {}\naddress = {}\nallow = {}\ndeny = {}\nconnections = {}\n",
        in_quotes(to_string(listen.service)), strings(listen.addresses),
        strings(listen.access.allow), strings(listen.access.deny), listen.connections_max);
    if (listen.service == ServiceKind::hello)
        out += fmt::format("message = {}\n", in_quotes(listen.options.message));
    return out;
}

std::string print_prefixes(const std::vector<Cidr>& prefixes) {
    std::string out;
    for (const Cidr& prefix : prefixes) {
        if (!out.empty())
            out += ", ";
        out += in_quotes(to_string(prefix));
    }
    return "[" + out + "]";
}

} // namespace

std::string print_config(const Config& config) {
    std::string out = fmt::format(
        "backend = {}\nworkers = {}\nbusy_poll = {}\ndrain_timeout = {}\nlog_level = {}\n",
        in_quotes(to_string(config.backend)), config.workers,
        in_quotes(format_duration_us(config.busy_poll_us)),
        in_quotes(format_duration(config.drain_timeout_ms)),
        in_quotes(to_string(config.log_level)));
    for (const ListenerConfig& listen : config.listen)
        out += print_listen(listen);
    const TcpLimits& limits = config.limits;
    out += fmt::format(
        "\n[limits]\nconnections = {}\nconnections_per_source = {}\n"
        "source_prefix_ipv4 = {}\nsource_prefix_ipv6 = {}\n"
        "when_full = {}\nfirst_byte_timeout = {}\nidle_timeout = {}\n"
        "write_stall_timeout = {}\nrate_min = {}\nwrite_rate_min = {}\nrate_window = {}\n"
        "linger_timeout = {}\nbuffer_memory = {}\n",
        limits.connections_max, limits.connections_per_source_max, limits.source_prefix_ipv4_bits,
        limits.source_prefix_ipv6_bits, in_quotes(to_string(limits.when_full)),
        in_quotes(format_duration(limits.first_byte_timeout_ms)),
        in_quotes(format_duration(limits.idle_timeout_ms)),
        in_quotes(format_duration(limits.write_stall_timeout_ms)), limits.rate_min,
        limits.write_rate_min, in_quotes(format_duration(limits.rate_window_ms)),
        in_quotes(format_duration(limits.linger_timeout_ms)),
        in_quotes(format_size(limits.buffer_memory_bytes)));
    const UdpLimits& datagrams = config.datagrams;
    out += fmt::format(
        "\n[datagrams]\nprefix_ipv4 = {}\nprefix_ipv6 = {}\nrate_per_prefix = {}\n"
        "bytes_per_prefix = {}\nrate = {}\nbytes = {}\nrate_exempt = {}\nport_exempt = {}\n"
        "longer_answers_to = {}\n",
        datagrams.prefix_ipv4_bits, datagrams.prefix_ipv6_bits, datagrams.rate_per_prefix,
        in_quotes(format_size(datagrams.bytes_per_prefix)), datagrams.rate,
        in_quotes(format_size(datagrams.bytes)), print_prefixes(datagrams.rate_exempt),
        print_prefixes(datagrams.port_exempt), print_prefixes(datagrams.longer_answers_to));
    const AccessLogConfig& access_log = config.access_log;
    out += fmt::format(
        "\n[access_log]\nconnections = {}\ndatagrams_every = {}\nrate = {}\nbytes = {}\n",
        access_log.connections, access_log.datagrams_every, access_log.rate, access_log.bytes);
    out += fmt::format("\n[metrics]\nlisten = {}\n", strings(config.metrics.listen));
    return out;
}

} // namespace riposte
