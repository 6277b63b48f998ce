// Which words are options and which are operands (arguments.h), and of which command. What they
// mean is in options_COMMAND.cpp.
#include "client/options/options.h"

#include "build_features.h"
#include "client/options/options_values.h"
#include "client/options/raw_options.h"
#include "common/arguments.h"
#include "common/text.h"

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace riposte::client {

namespace {

constexpr const char* version_text = "riposte " RIPOSTE_VERSION "\n";

/// Where an option is noted: a flag, or the value as it is written.
struct Binding {
    OptionName option;
    bool* flag = nullptr;
    RawValue* word = nullptr;
    std::vector<std::string>* words = nullptr; ///< an option that may be given several times
};

Binding flag(char letter, const char* name, bool& target) {
    return {.option = {.letter = letter, .name = name}, .flag = &target};
}

Binding value(char letter, const char* name, RawValue& target) {
    return {.option = {.letter = letter, .name = name, .takes_value = true}, .word = &target};
}

/// What every command answers itself.
struct Asked {
    bool help = false;
    bool version = false;
};

using Bindings = std::vector<Binding>;

Bindings bind(Asked& asked) {
    return {flag('h', "help", asked.help), flag('V', "version", asked.version)};
}

Bindings bind(RawCommon& words) {
    return {
        flag('4', nullptr, words.ipv4), flag('6', nullptr, words.ipv6),
        value('W', "timeout", words.timeout), value(0, "source", words.source),
        value(0, "color", words.color)};
}

Bindings bind(RawPath& words) {
    return {
        value('I', "interface", words.interface), value(0, "mark", words.mark),
        value(0, "dscp", words.dscp), value(0, "ttl", words.ttl), flag(0, "df", words.df)};
}

Bindings bind(RawReport& words) {
    return {flag('j', "json", words.json),         flag(0, "json-lines", words.json_lines),
            flag(0, "live", words.live),           value(0, "every", words.every),
            flag(0, "histogram", words.histogram), value(0, "hist", words.histogram_file),
            value(0, "plot", words.plot_file),     value(0, "fail-if", words.fail_if)};
}

Bindings bind(RawSend& words) {
    return {flag('u', nullptr, words.common.udp), flag(0, "first", words.first),
            value(0, "until", words.until),       value(0, "expect", words.expect),
            flag('q', "quiet", words.quiet),      flag('v', "verbose", words.verbose)};
}

Bindings bind(RawPing& words) {
    return {
        flag('u', nullptr, words.common.udp),
        value('c', "count", words.count),
        value('i', "interval", words.interval),
        value('w', "deadline", words.deadline),
        value('s', "size", words.size),
        flag('q', "quiet", words.quiet),
        flag('D', "timestamps", words.timestamps),
        flag(0, "reconnect", words.reconnect),
        value(0, "flows", words.flows),
        flag(0, "mtu", words.mtu),
        value(0, "targets", words.targets),
        flag(0, "connect", words.connect),
        flag(0, "all-addresses", words.all_addresses),
        flag(0, "alive", words.alive),
        flag(0, "unreachable", words.unreachable),
        value(0, "resolve-every", words.resolve_every),
        value(0, "key-file", words.key_file),
        value(0, "ssid", words.ssid)};
}

Bindings bind(RawLoad& words) {
    return {
        flag('u', nullptr, words.common.udp),
        value('c', "connections", words.connections),
        value('d', "duration", words.duration),
        value('n', "count", words.count),
        value('r', "rate", words.rate),
        value('s', "size", words.size),
        value(0, "depth", words.depth),
        value(0, "warmup", words.warmup),
        flag(0, "reconnect", words.reconnect),
        flag(0, "no-verify", words.no_verify),
        value(0, "upload", words.upload),
        value(0, "download", words.download),
        value(0, "bitrate", words.bitrate),
        value(0, "bytes", words.bytes),
        value(0, "while-pinging", words.while_pinging),
        flag('q', "quiet", words.quiet)};
}

Bindings bind(RawProbe& words) {
    return {
        value('c', "config", words.config),
        {.option = {.letter = 0, .name = "targets", .takes_value = true}, .words = &words.targets},
        {.option = {.letter = 0, .name = "listen", .takes_value = true}, .words = &words.listen},
        flag(0, "check", words.check),
        flag(0, "list", words.list),
        value(0, "for", words.duration),
        flag('j', "json", words.json),
        value(0, "fail-if", words.fail_if),
        value(0, "color", words.color)};
}

/// It asks over TCP or a unix socket alone, so there is no -u.
Bindings bind(RawStatus& words) {
    return {
        flag('j', "json", words.json), flag('q', "quiet", words.quiet),
        flag('w', "watch", words.watch), value('i', "interval", words.interval)};
}

std::string see_help(std::string_view command) {
    return fmt::format("see 'riposte{}{} --help'", command.empty() ? "" : " ", command);
}

/// `word` may have a value: "--timout=3".
Error unknown_option(std::string_view word, std::string_view command, const Bindings& bindings) {
    std::vector<std::string> names;
    for (const Binding& each : bindings)
        if (each.option.name != nullptr)
            names.push_back(to_string(each.option));
    const std::vector<std::string_view> known(names.begin(), names.end());
    const std::string_view near = nearest(word.substr(0, word.find('=')), known);
    return {
        Exit::usage,
        near.empty() ? fmt::format("unknown option '{}'; {}", escape(word), see_help(command))
                     : fmt::format("unknown option '{}'; did you mean {}?", escape(word), near)};
}

Error describe_fault(
    const ArgumentFault& fault, std::string_view command, const Bindings& bindings) {
    switch (fault.kind) {
    case ArgumentFault::Kind::unknown:
        break;
    case ArgumentFault::Kind::needs_value:
        return {
            Exit::usage, fmt::format("{} needs a value", to_string(bindings[fault.option].option))};
    case ArgumentFault::Kind::takes_no_value:
        return {
            Exit::usage,
            fmt::format("{} takes no value", to_string(bindings[fault.option].option))};
    }
    return unknown_option(fault.word, command, bindings);
}

Error unexpected_operand(
    const std::vector<std::string>& operands, size_t place, std::string_view command) {
    const std::string& word = operands[place];
    // The port may be this word, or the one before it: send HOST PORT MESSAGE.
    for (size_t port = place; port > 0 && port + 2 > place; port--)
        if (const std::string meant = with_port(operands[port - 1], operands[port]); !meant.empty())
            return {
                Exit::usage, fmt::format(
                                 "unexpected operand '{}'; for port {} write {}", escape(word, 40),
                                 operands[port], meant)};
    return {
        Exit::usage, fmt::format(
                         "unexpected operand '{}'; quote what has spaces, or {}", escape(word),
                         see_help(command))};
}

SplitArguments split(std::span<const char* const> words, const Bindings& bindings) {
    std::vector<OptionName> options;
    for (const Binding& each : bindings)
        options.push_back(each.option);
    return split_arguments(words, options);
}

/// Notes what was given. An option with a value is given once.
Result<void> note(const SplitArguments& given, const Bindings& bindings) {
    for (const SplitArguments::Given& each : given.options) {
        const Binding& binding = bindings[each.option];
        if (binding.flag != nullptr)
            *binding.flag = true;
        else if (binding.words != nullptr)
            binding.words->push_back(each.value);
        else if (binding.word->has_value())
            return fail(
                Exit::usage, fmt::format(
                                 "{} is given {} times; give it once", to_string(binding.option),
                                 std::ranges::count(
                                     given.options, each.option, &SplitArguments::Given::option)));
        else
            *binding.word = each.value;
    }
    return {};
}

Bindings joined(std::initializer_list<Bindings> all) {
    Bindings bindings;
    for (const Bindings& some : all)
        bindings.insert(bindings.end(), some.begin(), some.end());
    return bindings;
}

Options answer(std::string_view text) {
    return {.common = {}, .command = Answer{std::string(text)}};
}

/// What is common to the commands: `bindings` are noted, and at most `operands_max` operands come
/// back, or what --help and --version answer.
std::expected<SplitArguments, Result<Options>> read_words(
    std::string_view command, std::string_view help, std::span<const char* const> words,
    size_t operands_max, Bindings bindings) {
    Asked asked;
    bindings = joined({bind(asked), std::move(bindings)});
    SplitArguments given = split(words, bindings);
    const Result<void> noted = note(given, bindings);
    if (asked.help)
        return std::unexpected(answer(help));
    if (asked.version)
        return std::unexpected(answer(version_text));
    if (given.fault)
        return std::unexpected(
            Result<Options>(std::unexpected(describe_fault(*given.fault, command, bindings))));
    if (!noted)
        return std::unexpected(Result<Options>(std::unexpected(noted.error())));
    if (given.operands.size() > operands_max)
        return std::unexpected(Result<Options>(
            std::unexpected(unexpected_operand(given.operands, operands_max, command))));
    return given;
}

/// An operand that may be left out.
RawValue operand(const SplitArguments& given, size_t place) {
    return place < given.operands.size() ? RawValue(given.operands[place]) : std::nullopt;
}

Result<Options> parse_send(std::span<const char* const> arguments) {
    RawSend words;
    const auto given = read_words(
        "send", send_help, arguments, 2,
        joined({bind(words.common), bind(words.path), bind(words)}));
    if (!given)
        return given.error();
    words.endpoint = operand(*given, 0);
    words.message = operand(*given, 1);
    words.message_marked = given->unmarked < 2;
    return read_send(words);
}

Result<Options> parse_ping(std::span<const char* const> arguments) {
    RawPing words;
    auto given = read_words(
        "ping", ping_help, arguments, SIZE_MAX,
        joined({bind(words.common), bind(words.path), bind(words.report), bind(words)}));
    if (!given)
        return given.error();
    words.endpoints = std::move(given->operands);
    return read_ping(words);
}

Result<Options> parse_load(std::span<const char* const> arguments) {
    RawLoad words;
    const auto given = read_words(
        "load", load_help, arguments, 1,
        joined({bind(words.common), bind(words.path), bind(words.report), bind(words)}));
    if (!given)
        return given.error();
    words.endpoint = operand(*given, 0);
    return read_load(words);
}

Result<Options> parse_status(std::span<const char* const> arguments) {
    RawStatus words;
    const auto given =
        read_words("status", status_help, arguments, 1, joined({bind(words.common), bind(words)}));
    if (!given)
        return given.error();
    words.endpoint = operand(*given, 0);
    return read_status(words);
}

Result<Options> parse_probe(std::span<const char* const> arguments) {
    RawProbe words;
    const auto given = read_words("probe", probe_help, arguments, 0, bind(words));
    return given ? read_probe(words) : given.error();
}

Result<Options> parse_help(std::span<const char* const> arguments);
Result<Options> parse_version(std::span<const char* const> arguments);

struct Command {
    std::string_view name;
    std::string_view help;
    Result<Options> (*parse)(std::span<const char* const>);
};

std::array<Command, 7> commands() {
    return {Command{"send", send_help, parse_send},    Command{"ping", ping_help, parse_ping},
            Command{"load", load_help, parse_load},    Command{"status", status_help, parse_status},
            Command{"probe", probe_help, parse_probe}, Command{"version", root_help, parse_version},
            Command{"help", root_help, parse_help}};
}

/// "did you mean ping?", or where to look.
std::string near_command(std::string_view word) {
    const auto all = commands();
    std::vector<std::string_view> known;
    known.reserve(all.size());
    for (const Command& each : all)
        known.push_back(each.name);
    const std::string_view near = nearest(word, known);
    return near.empty() ? "see 'riposte --help'" : fmt::format("did you mean {}?", near);
}

/// The command line that is likely meant where the command was left out: "send host:7007"; or "".
std::string without_command(const std::vector<std::string>& operands) {
    const std::string& first = operands.front();
    if (operands.size() > 1)
        if (const std::string meant = with_port(first, operands[1]); !meant.empty())
            return "send " + meant;
    const bool is_endpoint = first == "localhost" || first.find_first_of(".:") != std::string::npos;
    return is_endpoint && read_endpoint(first, false) ? "send " + first : "";
}

Error unknown_command(const std::vector<std::string>& operands) {
    const std::string meant = without_command(operands);
    return {
        Exit::usage, fmt::format(
                         "unknown command '{}'; {}", escape(operands.front()),
                         meant.empty() ? near_command(operands.front())
                                       : fmt::format("did you mean 'riposte {}'?", meant))};
}

/// `riposte help COMMAND` is `riposte COMMAND --help`.
Result<Options> parse_help(std::span<const char* const> arguments) {
    const auto given = read_words("help", root_help, arguments, 1, {});
    if (!given)
        return given.error();
    if (given->operands.empty())
        return answer(root_help);
    const auto all = commands();
    const std::string_view name = given->operands.front();
    const auto* const command = std::ranges::find(all, name, &Command::name);
    if (command == all.end())
        return std::unexpected(Error{
            Exit::usage,
            fmt::format("help: unknown command '{}'; {}", escape(name), near_command(name))});
    return answer(command->help);
}

Result<Options> parse_version(std::span<const char* const> arguments) {
    const auto given = read_words("version", root_help, arguments, 0, {});
    if (!given)
        return given.error();
    return answer(version_text);
}

/// No command stands first: --help, --version, or a fault.
Result<Options> parse_without_command(std::span<const char* const> words) {
    Asked asked;
    const Bindings bindings = bind(asked);
    const SplitArguments given = split(words, bindings);
    for (const SplitArguments::Given& each : given.options)
        *bindings[each.option].flag = true;
    const std::string_view first =
        given.operands.empty() ? std::string_view() : given.operands.front();
    const auto all = commands();
    if (asked.help) {
        const auto* const command = std::ranges::find(all, first, &Command::name);
        return answer(command == all.end() ? root_help : command->help);
    }
    if (asked.version)
        return answer(version_text);
    if (given.fault)
        return std::unexpected(describe_fault(*given.fault, "", bindings));
    if (given.operands.empty())
        return fail(
            Exit::usage, "no command; try 'riposte send localhost', or see 'riposte --help'");
    return std::unexpected(unknown_command(given.operands));
}

} // namespace

Result<Options> parse_options(int argc, const char* const* argv) {
    std::span words(argv + (argc > 0 ? 1 : 0), argv + argc);
    for (const Command& command : commands())
        if (!words.empty() && words.front() == command.name)
            return command.parse(words.subspan(1));
    return parse_without_command(words);
}

} // namespace riposte::client
