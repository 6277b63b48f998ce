// TOML to Config: the top of the file, and where toml++'s exceptions end.

#include "daemon/config/config.h"

#include "daemon/config/config_reader.h"

#include <array>

#include <fmt/format.h>

namespace riposte {
namespace {

constexpr std::array<Key<Config>, 10> top_keys{{
    {"backend",
     [](const Value& value, Config& config) {
         return read_word(
             value, "backend", parse_backend_choice, backend_choice_names(), config.backend);
     }},
    {"workers", [](const Value& value,
                   Config& config) { return read_integer(value, 0, workers_max, config.workers); }},
    {"busy_poll",
     [](const Value& value, Config& config) {
         return read_duration_us(value, busy_poll_us_max, config.busy_poll_us);
     }},
    {"drain_timeout",
     [](const Value& value, Config& config) {
         return read_duration(value, 0, config.drain_timeout_ms);
     }},
    {"log_level",
     [](const Value& value, Config& config) {
         return read_word(value, "log level", parse_log_level, log_level_names(), config.log_level);
     }},
    {"listen", read_listen},
    {"limits", read_limits},
    {"datagrams", read_datagrams},
    {"metrics", read_metrics},
    {"access_log", read_access_log},
}};

} // namespace

std::string unknown_key(Place place, std::string_view key) {
    struct Known {
        Place place;
        std::vector<std::string_view> names;
        std::string_view in;
        std::string_view put_it;
    };
    const std::array<Known, 6> sections{{
        {Place::top, key_names(top_keys), "", "before the first section"},
        {Place::listen, listen_key_names(), " in [[listen]]", "under [[listen]]"},
        {Place::limits, limits_key_names(), " in [limits]", "under [limits]"},
        {Place::datagrams, datagrams_key_names(), " in [datagrams]", "under [datagrams]"},
        {Place::metrics, metrics_key_names(), " in [metrics]", "under [metrics]"},
        {Place::access_log, access_log_key_names(), " in [access_log]", "under [access_log]"},
    }};
    const std::string shown = escape(key, 40);
    for (const Known& other : sections)
        if (other.place != place && std::ranges::find(other.names, key) != other.names.end())
            return fmt::format("'{}' does not belong here; put it {}", shown, other.put_it);
    const auto here = std::ranges::find(sections, place, &Known::place);
    const std::string_view near = nearest(key, here->names);
    if (!near.empty())
        return fmt::format("unknown key '{}'{}; did you mean '{}'?", shown, here->in, near);
    return fmt::format("unknown key '{}'{}; it must be {}", shown, here->in, one_of(here->names));
}

Result<Config> parse_config(std::string_view text, std::string_view name) {
    const Document document{text, name};
    Config config = default_config();
    try {
        const toml::table table = toml::parse(text);
        auto read = read_section<Config>(document, Place::top, table, top_keys, config);
        if (!read)
            return std::unexpected(read.error());
    } catch (const toml::parse_error& error) {
        return document.refuse(error.source().begin, syntax_error(error.description()));
    }
    if (auto valid = validate(config); !valid)
        return std::unexpected(valid.error());
    return config;
}

} // namespace riposte
