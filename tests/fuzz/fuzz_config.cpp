// The configuration file. An accepted one prints as TOML that is accepted again and means the same;
// the error of a refused one is one line that points into the text.
#include "daemon/config/config.h"
#include "tests/fuzz/fuzz.h"

#include <charconv>
#include <optional>

using namespace riposte;
using fuzz::require;

namespace {

constexpr std::string_view name = "fuzz.toml";

/// Takes "NUMBER:" off the front.
std::optional<size_t> take_number(std::string_view& text) {
    size_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    if (error != std::errc{} || !text.starts_with(':'))
        return std::nullopt;
    text.remove_prefix(1);
    return number;
}

/// "fuzz.toml:LINE:COLUMN: what", where the place is in the text or just behind it.
void require_refusal(const Error& error, std::string_view text) {
    require(error.exit == Exit::config, "the exit code is that of the configuration");
    fuzz::require_one_line(error.message);
    std::string_view rest = error.message;
    require(
        rest.starts_with(name) && rest.substr(name.size()).starts_with(':'), "names the file",
        error.message);
    rest.remove_prefix(name.size() + 1);
    const auto line = take_number(rest);
    const auto column = line ? take_number(rest) : std::nullopt;
    require(line && column && rest.starts_with(' '), "says line and column", error.message);
    const auto lines = static_cast<size_t>(std::ranges::count(text, '\n')) + 1;
    require(*line >= 1 && *line <= lines + 1, "the line is there", error.message);
    require(*column >= 1 && *column <= text.size() + 2, "the column is there", error.message);
}

bool same(const ListenerConfig& a, const ListenerConfig& b) {
    return a.service == b.service && a.addresses == b.addresses && a.options == b.options &&
           a.acl == b.acl;
}

/// Compares everything except places in the text.
bool same(const Config& a, const Config& b) {
    return a.backend == b.backend && a.workers == b.workers && a.busy_poll_us == b.busy_poll_us &&
           a.drain_timeout_ms == b.drain_timeout_ms && a.log_level == b.log_level &&
           a.limits == b.limits && a.datagrams == b.datagrams && a.metrics == b.metrics &&
           a.access_log == b.access_log &&
           std::ranges::equal(
               a.listen, b.listen, [](const auto& x, const auto& y) { return same(x, y); });
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) { // NOLINT(*-naming)
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto config = parse_config(text, name);
    if (!config) {
        require_refusal(config.error(), text);
        return 0;
    }
    require(validate(*config).has_value(), "what was read is valid");
    const std::string printed = print_config(*config);
    const auto again = parse_config(printed, name);
    require(again.has_value(), "what was printed is accepted", printed);
    require(same(*config, *again), "what was printed means the same", printed);
    require(print_config(*again) == printed, "it is printed in the same way again", printed);
    return 0;
}
