// The command line: the only translation unit that knows CLI11. CLI11 splits the arguments and
// nothing more: every value comes out of it as the text that was written and is judged here, so
// that each fault is one line that names the option, and its exceptions and exit codes end here.

#include "daemon/options.h"

#include "build_features.h"
#include "common/text.h"
#include "daemon/config_values.h"

#include <algorithm>
#include <array>
#include <charconv>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace riposte {
namespace {

constexpr std::string_view help_text =
    R"(Usage: riposted [OPTION]...

Answers on TCP and UDP: hello, echo, discard, daytime, chargen, time. Without a
file, a flag or an inherited socket: hello on tcp://127.0.0.1:7001 and
udp://127.0.0.1:7001.

  -c, --config FILE      read the configuration from FILE (default: none);
                         see riposted.toml(5)
      --listen SERVICE=ENDPOINT
                         answer with SERVICE on [tcp://|udp://]HOST:PORT; HOST
                         is a name, IPv4, [IPv6] or * (all), no scheme means
                         both, port 0 a free one. Repeatable; replaces the
                         listeners of the file
      --backend NAME     auto, io_uring or epoll (default: auto)
      --workers N        threads, 0 to 256; 0 is one per CPU (default: 1)
      --log-level LEVEL  error, warning, info or debug (default: info)
      --check            validate everything, open nothing, exit 0 or 78; says
                         how much memory it takes at most
      --print-config     print the effective configuration as TOML and exit
      --version          print the version and exit
  -h, --help             print this and exit

Signals: TERM, INT drain, a second one aborts; HUP reloads the configuration;
USR1 writes statistics to the log.
Exit codes: 0 stopped; 2 usage; 69 backend unavailable; 71 operating system
error; 77 permission denied; 78 configuration.
)";

constexpr std::array<std::string_view, 5> valued_names{
    "--config", "--backend", "--workers", "--listen", "--log-level"};
constexpr std::array<std::string_view, 4> flag_names{
    "--check", "--print-config", "--version", "--help"};

std::string version_text() {
    const std::string io_uring =
        RIPOSTE_HAVE_IO_URING ? fmt::format("io_uring: liburing {}", RIPOSTE_LIBURING_VERSION)
                              : "no io_uring";
    const std::string systemd =
        RIPOSTE_HAVE_SYSTEMD ? fmt::format("systemd: libsystemd {}", RIPOSTE_LIBSYSTEMD_VERSION)
                             : "no systemd";
    const std::string seccomp =
        RIPOSTE_HAVE_SECCOMP ? fmt::format("seccomp {}", RIPOSTE_LIBSECCOMP_VERSION) : "no seccomp";
    return fmt::format("riposted {} ({}, {}, {})\n", RIPOSTE_VERSION, io_uring, seccomp, systemd);
}

std::unexpected<Error> refuse(std::string_view what) {
    const std::string_view joint = what.ends_with('?') ? "" : ";";
    return fail(Exit::usage, fmt::format("{}{} try 'riposted --help'", what, joint));
}

/// What was written after each option, in order.
struct Arguments {
    bool help = false;
    bool version = false;
    bool check = false;
    bool print_config = false;
    std::vector<std::string> config;
    std::vector<std::string> backend;
    std::vector<std::string> workers;
    std::vector<std::string> log_level;
    std::vector<std::string> listen;
    std::vector<std::string> rest; ///< what is no option, and options that are unknown
};

bool contains(std::span<const std::string_view> names, std::string_view name) {
    return std::ranges::find(names, name) != names.end();
}

/// The faults that CLI11 would word in its own way or, worse, not see: it takes the next argument
/// for the value of "--config=".
Result<void> check_values(int argc, const char* const* argv) {
    for (int i = 1; i < argc; i++) {
        const std::string_view argument = argv[i];
        const size_t equals = argument.find('=');
        const std::string_view name = argument.substr(0, equals);
        if (equals != std::string_view::npos && contains(flag_names, name))
            return refuse(fmt::format("{} takes no value", name));
        if (equals + 1 == argument.size() && contains(valued_names, name))
            return refuse(fmt::format("{} needs a value", name));
    }
    // An option takes the next argument whatever it is, so only the last one can lack a value.
    const std::string_view last = argc > 1 ? argv[argc - 1] : "";
    const std::string_view before = argc > 2 ? argv[argc - 2] : "";
    const bool is_value = contains(valued_names, before) || before == "-c";
    if (!is_value && (contains(valued_names, last) || last == "-c"))
        return refuse(fmt::format("{} needs a value", last));
    return {};
}

Result<Arguments> split(int argc, const char* const* argv) {
    if (auto checked = check_values(argc, argv); !checked)
        return std::unexpected(checked.error());
    Arguments arguments;
    CLI::App app;
    app.set_help_flag(); // CLI11's own would exit by exception
    app.allow_extras();
    const auto flag = [&app](const char* names, bool& target) {
        app.add_flag(names, target)->disable_flag_override();
    };
    const auto option = [&app](const char* names, std::vector<std::string>& target) {
        app.add_option(names, target)->type_size(1)->allow_extra_args(false);
    };
    flag("-h,--help", arguments.help);
    flag("--version", arguments.version);
    flag("--check", arguments.check);
    flag("--print-config", arguments.print_config);
    option("-c,--config", arguments.config);
    option("--backend", arguments.backend);
    option("--workers", arguments.workers);
    option("--log-level", arguments.log_level);
    option("--listen", arguments.listen);
    try {
        app.parse(argc, argv);
        arguments.rest = app.remaining();
    } catch (const CLI::ParseError& error) {
        return refuse(escape(error.what(), 200));
    }
    return arguments;
}

/// There are no operands; a lone "--" says so too.
Result<void> refuse_rest(std::span<const std::string> rest) {
    const bool operands_only = !rest.empty() && rest.front() == "--";
    if (operands_only)
        rest = rest.subspan(1);
    if (rest.empty())
        return {};
    const std::string& first = rest.front();
    if (operands_only || !first.starts_with('-') || first == "-")
        return refuse(fmt::format("unexpected argument '{}'", escape(first, 80)));
    const std::string_view name = std::string_view(first).substr(0, first.find('='));
    std::vector<std::string_view> names(valued_names.begin(), valued_names.end());
    names.insert(names.end(), flag_names.begin(), flag_names.end());
    const std::string_view near = nearest(name, names);
    const std::string hint = near.empty() ? "" : fmt::format("; did you mean '{}'?", near);
    return refuse(fmt::format("unknown option '{}'{}", escape(name, 80), hint));
}

/// The value of an option that may stand once; empty if it does not stand at all, since an empty
/// value is refused.
Result<std::string> single(std::string_view name, const std::vector<std::string>& values) {
    if (values.empty())
        return "";
    if (values.size() > 1)
        return refuse(fmt::format("{} is given {} times; give it once", name, values.size()));
    if (values.front().empty())
        return refuse(fmt::format("{} needs a value", name));
    return values.front();
}

template<class T>
Result<void> read_word(
    std::string_view name, std::string_view noun, const std::vector<std::string>& values,
    std::optional<T> (*parse)(std::string_view), std::span<const std::string_view> names,
    std::optional<T>& target) {
    const auto value = single(name, values);
    if (!value)
        return std::unexpected(value.error());
    if (value->empty())
        return {};
    target = parse(*value);
    if (!target)
        return refuse(fmt::format("{}: {}", name, unknown_word(noun, *value, names)));
    return {};
}

Result<void> read_workers(const std::vector<std::string>& values, Options& options) {
    const auto value = single("--workers", values);
    if (!value)
        return std::unexpected(value.error());
    if (value->empty())
        return {};
    const std::string& text = *value;
    uint32_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end != text.data() + text.size() || number > workers_max)
        return refuse(fmt::format(
            "--workers: '{}' is not a number from 0 to {}", escape(text, 40), workers_max));
    options.workers = number;
    return {};
}

/// SERVICE=ENDPOINT. Columns count from 1, in the value as it was written.
Result<ListenConfig> read_listen(const std::string& text) {
    const auto refuse_at = [&](size_t offset, std::string_view what) {
        return refuse(
            fmt::format("--listen '{}', column {}: {}", escape(text, 200), offset + 1, what));
    };
    const size_t equals = text.find('=');
    if (equals == std::string::npos)
        return refuse_at(text.size(), "no '='; write SERVICE=ENDPOINT, like echo=127.0.0.1:7007");
    const std::string_view name = std::string_view(text).substr(0, equals);
    const auto service = parse_service(name);
    if (!service)
        return refuse_at(0, unknown_word("service", name, service_names()));
    auto endpoint = parse_endpoint(
        std::string_view(text).substr(equals + 1),
        {.wildcard = true, .default_port = std::nullopt});
    if (!endpoint)
        return refuse_at(equals + 1 + endpoint.error().offset, endpoint.error().message);
    ListenConfig listen;
    listen.service = *service;
    listen.origin = "--listen";
    add_address(listen, *std::move(endpoint));
    return listen;
}

Result<void> read_listens(const std::vector<std::string>& values, Options& options) {
    for (const std::string& value : values) {
        auto listen = read_listen(value);
        if (!listen)
            return std::unexpected(listen.error());
        options.listen.push_back(*std::move(listen));
    }
    if (options.listen.empty())
        return {};
    // A duplicate among the flags is the command line's fault, not the file's.
    Config flags_only;
    flags_only.listen = options.listen;
    if (const auto valid = validate(flags_only); !valid)
        return refuse(valid.error().message);
    return {};
}

Result<Options> read_options(const Arguments& arguments) {
    Options options;
    options.check = arguments.check;
    options.print_config = arguments.print_config;
    const auto config = single("--config", arguments.config);
    if (!config)
        return std::unexpected(config.error());
    options.config_path = *config;
    if (auto read = refuse_rest(arguments.rest); !read)
        return std::unexpected(read.error());
    if (auto read = read_word(
            "--backend", "backend", arguments.backend, parse_backend_choice, backend_choice_names(),
            options.backend);
        !read)
        return std::unexpected(read.error());
    if (auto read = read_word(
            "--log-level", "log level", arguments.log_level, parse_log_level, log_level_names(),
            options.log_level);
        !read)
        return std::unexpected(read.error());
    if (auto read = read_workers(arguments.workers, options); !read)
        return std::unexpected(read.error());
    if (auto read = read_listens(arguments.listen, options); !read)
        return std::unexpected(read.error());
    return options;
}

} // namespace

Result<Options> parse_options(int argc, const char* const* argv) {
    const auto arguments = split(argc, argv);
    if (!arguments)
        return std::unexpected(arguments.error());
    Options options;
    if (arguments->help) {
        options.answer = help_text;
        return options;
    }
    if (arguments->version) {
        options.answer = version_text();
        return options;
    }
    return read_options(*arguments);
}

Result<Config> effective_config(const Options& options) {
    auto config = options.config_path.empty() ? Result<Config>(default_config())
                                              : load_config(options.config_path);
    if (!config)
        return config;
    if (options.backend)
        config->backend = *options.backend;
    if (options.workers)
        config->workers = *options.workers;
    if (options.log_level)
        config->log_level = *options.log_level;
    if (!options.listen.empty())
        config->listen = options.listen;
    if (const auto valid = validate(*config); !valid)
        return std::unexpected(valid.error());
    return config;
}

} // namespace riposte
