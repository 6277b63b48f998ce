// CLI11 stays in this file, and decides only which words are options and which are operands. What
// they mean is in options_read.cpp. Every message that a user is likely to meet is ours, so that it
// does not change with the library's version.
#include "client/options.h"

#include "build_features.h"
#include "client/options_words.h"
#include "common/text.h"

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace riposte::client {

namespace {

constexpr const char* version_text = "riposte " RIPOSTE_VERSION;

/// The last of several wins for CLI11; that there are several is refused by find_repeated().
void add_value(CLI::App& command, const char* names, Word& word) {
    command.add_option(names, word)->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
}

void add_common(CLI::App& command, CommonWords& words) {
    command.set_help_flag("-h,--help");
    command.set_version_flag("--version", version_text);
    command.add_flag("-u", words.udp);
    command.add_flag("-4", words.ipv4);
    command.add_flag("-6", words.ipv6);
    add_value(command, "-W,--timeout", words.timeout);
    add_value(command, "--source", words.source);
    add_value(command, "--color", words.color);
    // Left over words are told by find_unknown(), with what was probably meant.
    command.allow_extras();
}

void add_report(CLI::App& command, ReportWords& words) {
    command.add_flag("-j,--json", words.json);
    command.add_flag("--histogram", words.histogram);
    add_value(command, "--hist", words.histogram_file);
    add_value(command, "--plot", words.plot_file);
    add_value(command, "--fail-if", words.fail_if);
}

CLI::App& add_send(CLI::App& root, SendWords& words) {
    CLI::App& command = *root.add_subcommand("send");
    add_common(command, words.common);
    command.add_flag("-v,--verbose", words.verbose);
    command.add_option("ENDPOINT", words.endpoint);
    command.add_option("MESSAGE", words.message);
    return command;
}

/// Its operands are what is left over: a list of operands would take "[::1]" for a list in
/// brackets.
CLI::App& add_ping(CLI::App& root, PingWords& words) {
    CLI::App& command = *root.add_subcommand("ping");
    add_common(command, words.common);
    add_report(command, words.report);
    add_value(command, "-c,--count", words.count);
    add_value(command, "-i,--interval", words.interval);
    add_value(command, "-w,--deadline", words.deadline);
    add_value(command, "-s,--size", words.size);
    command.add_flag("-q,--quiet", words.quiet);
    command.add_flag("-D,--timestamps", words.timestamps);
    command.add_flag("--reconnect", words.reconnect);
    return command;
}

CLI::App& add_load(CLI::App& root, LoadWords& words) {
    CLI::App& command = *root.add_subcommand("load");
    add_common(command, words.common);
    add_report(command, words.report);
    add_value(command, "-c,--connections", words.connections);
    add_value(command, "-d,--duration", words.duration);
    add_value(command, "-n,--count", words.count);
    add_value(command, "-r,--rate", words.rate);
    add_value(command, "-s,--size", words.size);
    add_value(command, "--depth", words.depth);
    add_value(command, "--warmup", words.warmup);
    command.add_flag("--reconnect", words.reconnect);
    command.add_flag("--no-verify", words.no_verify);
    command.add_option("ENDPOINT", words.endpoint);
    return command;
}

/// It asks over TCP or a unix socket alone, so there is no -u.
CLI::App& add_status(CLI::App& root, StatusWords& words) {
    CLI::App& command = *root.add_subcommand("status");
    add_common(command, words.common);
    command.remove_option(command.get_option("-u"));
    command.add_flag("-j,--json", words.json);
    command.add_flag("-w,--watch", words.watch);
    add_value(command, "-i,--interval", words.interval);
    command.add_option("ENDPOINT", words.endpoint);
    return command;
}

std::string command_name(const CLI::App& command) {
    const CLI::App* parent = command.get_parent();
    return (parent != nullptr ? parent->get_name() + " " : "") + command.get_name();
}

std::string see_help(const CLI::App& command) {
    return fmt::format("see '{} --help'", command_name(command));
}

bool looks_like_option(std::string_view word) {
    return word.starts_with('-') && word != "-";
}

/// `word` may have a value: "--timout=3".
Error unknown_option(const CLI::App& command, std::string_view word) {
    std::vector<std::string> names;
    for (const CLI::Option* option : command.get_options())
        for (const std::string& name : option->get_lnames())
            names.push_back("--" + name);
    const std::vector<std::string_view> known(names.begin(), names.end());
    const std::string_view near = nearest(word.substr(0, word.find('=')), known);
    return {
        Exit::usage,
        near.empty() ? fmt::format("unknown option '{}'; {}", escape(word), see_help(command))
                     : fmt::format("unknown option '{}'; did you mean {}?", escape(word), near)};
}

/// The first word that `command` has no use for, if any, as an error.
std::optional<Error> find_unknown(const CLI::App& command) {
    // CLI11 leaves the -- itself among them, too: what stands after it is no option.
    std::vector<std::string> words = command.remaining();
    const auto mark = std::ranges::find(words, "--");
    const bool has_options = mark != words.begin() && !words.empty();
    if (mark != words.end())
        words.erase(mark);
    if (words.empty())
        return std::nullopt;
    if (has_options && words.front().starts_with('-'))
        return unknown_option(command, words.front());
    return Error{
        Exit::usage, fmt::format(
                         "unexpected operand '{}'; quote what has spaces, or {}",
                         escape(words.front()), see_help(command))};
}

/// Those of ping: what `command` had no use for, and what stands behind a --, which comes back to
/// the root. No endpoint begins with a dash.
Result<std::vector<std::string>> take_endpoints(const CLI::App& command, const CLI::App& root) {
    std::vector<std::string> endpoints;
    for (const CLI::App* app : {&command, &root})
        for (std::string& word : app->remaining()) {
            if (word == "--")
                continue;
            if (looks_like_option(word))
                return std::unexpected(unknown_option(command, word));
            endpoints.push_back(std::move(word));
        }
    return endpoints;
}

/// An option with a value that was given more than once.
std::optional<Error> find_repeated(const CLI::App& command) {
    for (const CLI::Option* option : command.get_options())
        if (option->get_items_expected_max() > 0 && option->count() > 1 &&
            !option->get_positional())
            return Error{
                Exit::usage,
                fmt::format(
                    "{} is given {} times; give it once", option->get_name(), option->count())};
    return std::nullopt;
}

/// The faults that CLI11 would word in its own way or not see: it takes the next word for the value
/// of "--size=".
std::optional<Error> find_bad_value(const CLI::App& command, std::span<const char* const> words) {
    for (const std::string_view word : words) {
        if (word == "--")
            break;
        const size_t equals = word.find('=');
        if (equals == std::string_view::npos || !word.starts_with("--"))
            continue;
        const std::string name(word.substr(0, equals));
        const CLI::Option* option = command.get_option_no_throw(name);
        if (option == nullptr)
            continue;
        if (option->get_items_expected_max() == 0)
            return Error{Exit::usage, fmt::format("{} takes no value", name)};
        if (equals + 1 == word.size())
            return Error{Exit::usage, fmt::format("{} needs a value", name)};
    }
    return std::nullopt;
}

/// No command at all, or a word that is none.
Error missing_command(const CLI::App& root) {
    if (const auto words = root.remaining(); !words.empty() && !words.front().starts_with('-')) {
        std::vector<std::string> names;
        for (const CLI::App* command : root.get_subcommands({}))
            names.push_back(command->get_name());
        const std::vector<std::string_view> known(names.begin(), names.end());
        const std::string_view near = nearest(words.front(), known);
        return {
            Exit::usage,
            fmt::format(
                "unknown command '{}'; {}", escape(words.front()),
                near.empty() ? "see 'riposte --help'" : fmt::format("did you mean {}?", near))};
    }
    return find_unknown(root).value_or(
        Error{Exit::usage, "no command; try 'riposte send localhost', or see 'riposte --help'"});
}

std::string first_line(std::string_view text) {
    return std::string(text.substr(0, text.find('\n')));
}

/// The command line as CLI11 splits it.
struct CommandLine {
    CLI::App root{"", "riposte"};
    SendWords send_words;
    PingWords ping_words;
    LoadWords load_words;
    StatusWords status_words;
    CLI::App& send = add_send(root, send_words);
    CLI::App& ping = add_ping(root, ping_words);
    CLI::App& load = add_load(root, load_words);
    CLI::App& status = add_status(root, status_words);

    CommandLine() {
        root.set_help_flag("-h,--help");
        root.set_version_flag("--version", version_text);
        root.require_subcommand(0, 1);
        root.allow_extras();
    }

    const CLI::App* command() const {
        for (const CLI::App* each : {&send, &ping, &load, &status})
            if (each->parsed())
                return each;
        return nullptr;
    }

    std::string_view help() const {
        if (send.parsed())
            return send_help;
        if (ping.parsed())
            return ping_help;
        if (load.parsed())
            return load_help;
        return status.parsed() ? status_help : root_help;
    }
};

Result<Options> read_command(
    CommandLine& line, const CLI::App& command, std::span<const char* const> words) {
    // What stands in front of the command; what stands behind it comes later among the root's, too.
    if (words.front() != command.get_name() && std::string_view(words.front()) != "--")
        return std::unexpected(missing_command(line.root));
    if (auto error = find_bad_value(command, words))
        return std::unexpected(std::move(*error));
    if (&command == &line.ping) {
        auto endpoints = take_endpoints(command, line.root);
        if (!endpoints)
            return std::unexpected(std::move(endpoints.error()));
        line.ping_words.endpoints = std::move(*endpoints);
    } else {
        // What stands after a -- that the command has no use for comes back to the root.
        for (const CLI::App* app : {&command, &std::as_const(line.root)})
            if (auto error = find_unknown(*app))
                return std::unexpected(std::move(*error));
    }
    if (auto error = find_repeated(command))
        return std::unexpected(std::move(*error));
    if (&command == &line.send)
        return read_send(line.send_words);
    if (&command == &line.ping)
        return read_ping(line.ping_words);
    return &command == &line.load ? read_load(line.load_words) : read_status(line.status_words);
}

} // namespace

Result<Options> parse_options(int argc, const char* const* argv) {
    CommandLine line;
    const auto answer = [](std::string_view text) {
        return Options{.common = {}, .command = Answer{std::string(text)}};
    };
    try {
        line.root.parse(argc, argv);
    } catch (const CLI::CallForHelp&) {
        return answer(line.help());
    } catch (const CLI::CallForVersion&) {
        return answer(std::string(version_text) + "\n");
    } catch (const CLI::ArgumentMismatch& error) {
        // The last word is an option without its value: "--size: 1 required TEXT missing".
        const std::string text = error.what();
        return fail(Exit::usage, fmt::format("{} needs a value", text.substr(0, text.find(':'))));
    } catch (const CLI::ParseError& error) {
        return fail(Exit::usage, fmt::format("{}; see 'riposte --help'", first_line(error.what())));
    }
    const std::span words(argv + (argc > 0 ? 1 : 0), argv + argc);
    const CLI::App* command = line.command();
    if (command == nullptr)
        return std::unexpected(missing_command(line.root));
    return read_command(line, *command, words);
}

} // namespace riposte::client
