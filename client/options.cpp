// CLI11 stays in this file, and decides only which words are options and which are operands. What
// they mean, and every message that a user is likely to meet, is written here, so that it does not
// change with the library's version.

#include "client/options.h"

#include "build_features.h"
#include "common/text.h"
#include "common/units.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace riposte::client {

namespace {

/// What the common options were given, as written.
struct CommonWords {
    bool udp = false;
    bool ipv4 = false;
    bool ipv6 = false;
    std::string timeout = "5s";
    std::string source;
    std::string color = "auto";
};

struct SendWords {
    CommonWords common;
    std::string endpoint;
    std::optional<std::string> message;
    bool verbose = false;
};

constexpr const char* version_text = "riposte " RIPOSTE_VERSION;

constexpr const char* root_help = R"(Usage: riposte COMMAND [OPTION]... OPERAND...

Sends messages to TCP and UDP responders, and shows what they answer.

Commands:
  send                 one message, its answer on standard output

Options:
  -h, --help           print this help, or a command's, and exit
      --version        print the version and exit

Examples:
  riposte send localhost                  say hello over TCP, port 7001
  riposte send --help                     more about this command
)";

constexpr const char* send_help = R"(Usage: riposte send [OPTION]... ENDPOINT [MESSAGE|-]

Sends one message, and prints its answer byte for byte on standard output.

ENDPOINT is [tcp://|udp://]HOST[:PORT]. HOST is a name, an IPv4 address or
[IPv6]; without a port it is 7001, without a scheme TCP. Without MESSAGE a
greeting is sent; - reads the message from standard input. A MESSAGE that
begins with a dash stands after --.

Options:
  -u                   UDP, where ENDPOINT does not say tcp:// or udp://
  -4, -6               IPv4 only, IPv6 only
  -W, --timeout TIME   wait that long to connect, and for the answer to go on:
                       500ms, 10s, 2m; a bare number is seconds [5s]
      --source ADDR    send from this local address
      --color WHEN     auto, always or never, on standard error [auto]
  -v, --verbose        tell on standard error what happens
  -h, --help           print this help and exit
      --version        print the version and exit

Exit status:
  0  answered
  1  refused, timed out, reset, or closed without an answer
  2  usage or local error

Examples:
  riposte send tcp://127.0.0.1:7001       the greeting, over TCP
  riposte send -u localhost hello         one datagram, to port 7001
  riposte send -v 'tcp://[::1]:7' hello   tell what happens
  riposte send server:7 - <file >copy     a file through an echo service
)";

std::unexpected<Error> usage(std::string message) {
    return fail(Exit::usage, std::move(message));
}

void add_common(CLI::App& command, CommonWords& words) {
    command.set_help_flag("-h,--help");
    command.set_version_flag("--version", version_text);
    command.add_flag("-u", words.udp);
    command.add_flag("-4", words.ipv4);
    command.add_flag("-6", words.ipv6);
    command.add_option("-W,--timeout", words.timeout)->type_name("TIME");
    command.add_option("--source", words.source)->type_name("ADDR");
    command.add_option("--color", words.color)->type_name("WHEN");
    // Left over words are told by find_unknown(), with what was probably meant.
    command.allow_extras();
}

CLI::App& add_send(CLI::App& root, SendWords& words) {
    CLI::App& command = *root.add_subcommand("send");
    add_common(command, words.common);
    command.add_flag("-v,--verbose", words.verbose);
    command.add_option("ENDPOINT", words.endpoint);
    command.add_option("MESSAGE", words.message);
    return command;
}

std::string command_name(const CLI::App& command) {
    const CLI::App* parent = command.get_parent();
    return (parent != nullptr ? parent->get_name() + " " : "") + command.get_name();
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
    const std::string shown = escape(words.front());
    const std::string help = fmt::format("see '{} --help'", command_name(command));
    if (!has_options || !words.front().starts_with('-'))
        return Error{
            Exit::usage,
            fmt::format("unexpected operand '{}'; quote what has spaces, or {}", shown, help)};
    std::vector<std::string> names;
    for (const CLI::Option* option : command.get_options())
        for (const std::string& name : option->get_lnames())
            names.push_back("--" + name);
    const std::vector<std::string_view> known(names.begin(), names.end());
    const std::string_view near = nearest(words.front(), known);
    return Error{
        Exit::usage, near.empty()
                         ? fmt::format("unknown option '{}'; {}", shown, help)
                         : fmt::format("unknown option '{}'; did you mean {}?", shown, near)};
}

Result<CommonOptions> read_common(const CommonWords& words) {
    CommonOptions common;
    if (words.ipv4 && words.ipv6)
        return usage("-4 and -6 exclude each other");
    if (words.ipv4 || words.ipv6)
        common.family = words.ipv4 ? Family::ipv4 : Family::ipv6;
    const auto timeout_ms = parse_duration_ms(words.timeout);
    if (!timeout_ms)
        return usage(fmt::format("--timeout: {}", timeout_ms.error()));
    if (*timeout_ms == 0)
        return usage("--timeout: must be more than zero");
    common.timeout_ms = *timeout_ms;
    common.source = words.source;
    if (common.source.starts_with('[') && common.source.ends_with(']'))
        common.source = common.source.substr(1, common.source.size() - 2);
    if (words.color == "always")
        common.color = Color::always;
    else if (words.color == "never")
        common.color = Color::never;
    else if (words.color != "auto")
        return usage(
            fmt::format("--color: '{}' is none of auto, always and never", escape(words.color)));
    return common;
}

Result<Endpoint> read_endpoint(const std::string& text, bool udp) {
    auto endpoint = parse_endpoint(text, {.wildcard = false, .default_port = default_port});
    if (!endpoint)
        return usage(fmt::format(
            "endpoint '{}', column {}: {}", escape(text), endpoint.error().offset + 1,
            endpoint.error().message));
    if (endpoint->port == 0)
        return usage(fmt::format("endpoint '{}': nobody listens on port 0", escape(text)));
    if (udp && endpoint->transport == Transport::tcp)
        return usage("-u and tcp:// contradict each other; leave one of them out");
    if (!endpoint->transport)
        endpoint->transport = udp ? Transport::udp : Transport::tcp;
    return std::move(*endpoint);
}

Result<Options> read_send(const SendWords& words) {
    auto common = read_common(words.common);
    if (!common)
        return std::unexpected(common.error());
    if (words.endpoint.empty())
        return usage("no ENDPOINT; try 'riposte send localhost', or see 'riposte send --help'");
    auto endpoint = read_endpoint(words.endpoint, words.common.udp);
    if (!endpoint)
        return std::unexpected(endpoint.error());
    const std::string_view greeting =
        endpoint->transport == Transport::udp ? "Hello!" : "Hello, i'm client!";
    SendOptions send{
        .endpoint = std::move(*endpoint),
        .message = words.message.value_or(std::string(greeting)),
        .message_from_input = words.message == "-",
        .verbose = words.verbose};
    return Options{.common = std::move(*common), .command = std::move(send)};
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

} // namespace

Result<Options> parse_options(int argc, const char* const* argv) {
    CLI::App root("", "riposte");
    SendWords send_words;
    root.set_help_flag("-h,--help");
    root.set_version_flag("--version", version_text);
    root.require_subcommand(0, 1);
    root.allow_extras();
    const CLI::App& send = add_send(root, send_words);
    try {
        root.parse(argc, argv);
    } catch (const CLI::CallForHelp&) {
        return Options{.common = {}, .command = Answer{send.parsed() ? send_help : root_help}};
    } catch (const CLI::CallForVersion&) {
        return Options{.common = {}, .command = Answer{std::string(version_text) + "\n"}};
    } catch (const CLI::ParseError& error) {
        return usage(fmt::format("{}; see 'riposte --help'", first_line(error.what())));
    }
    if (!send.parsed())
        return std::unexpected(missing_command(root));
    // What stands after a -- that the command has no use for comes back to the root.
    for (const CLI::App* app : {&send, &std::as_const(root)})
        if (auto error = find_unknown(*app))
            return std::unexpected(std::move(*error));
    return read_send(send_words);
}

} // namespace riposte::client
