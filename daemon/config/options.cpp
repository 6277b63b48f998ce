// The command line. arguments.h only splits it: every value comes out of it as text and is checked
// here, so that each fault is one line that names the option.

#include "daemon/config/options.h"

#include "build_features.h"
#include "common/arguments.h"
#include "common/text.h"
#include "daemon/config/stamp_clock.h"
#include "daemon/config/stamp_keys.h"
#include "daemon/config/words.h"

#include <algorithm>
#include <array>
#include <charconv>

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
  -V, --version          print the version and exit
  -h, --help             print this and exit

Signals: TERM, INT drain, a second one aborts; HUP reloads the configuration;
USR1 writes statistics to the log.
Exit codes: 0 stopped; 2 usage; 69 backend unavailable; 71 operating system
error; 77 permission denied; 78 configuration.
)";

constexpr std::array<OptionName, 9> option_names{{
    {.letter = 'c', .name = "config", .takes_value = true},
    {.name = "backend", .takes_value = true},
    {.name = "workers", .takes_value = true},
    {.name = "log-level", .takes_value = true},
    {.name = "listen", .takes_value = true},
    {.name = "check"},
    {.name = "print-config"},
    {.letter = 'V', .name = "version"},
    {.letter = 'h', .name = "help"},
}};

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
    SplitArguments words; ///< no operands, and possibly a fault
};

Arguments split(int argc, const char* const* argv) {
    Arguments arguments;
    arguments.words =
        split_arguments(std::span(argv + (argc > 0 ? 1 : 0), argv + argc), option_names);
    // In the order of option_names.
    const std::array<std::vector<std::string>*, 5> values{
        &arguments.config, &arguments.backend, &arguments.workers, &arguments.log_level,
        &arguments.listen};
    const std::array<bool*, 4> flags{
        &arguments.check, &arguments.print_config, &arguments.version, &arguments.help};
    for (const SplitArguments::Given& given : arguments.words.options) {
        if (given.option < values.size())
            values[given.option]->push_back(given.value);
        else
            *flags[given.option - values.size()] = true;
    }
    return arguments;
}

Result<void> refuse_fault(const ArgumentFault& fault) {
    if (fault.kind == ArgumentFault::Kind::needs_value)
        return refuse(fmt::format("{} needs a value", fault.word));
    if (fault.kind == ArgumentFault::Kind::takes_no_value)
        return refuse(fmt::format("{} takes no value", fault.word));
    std::vector<std::string> names;
    names.reserve(option_names.size());
    for (const OptionName& each : option_names)
        names.push_back(to_string(each));
    const std::string_view name = std::string_view(fault.word).substr(0, fault.word.find('='));
    const std::vector<std::string_view> known(names.begin(), names.end());
    const std::string_view near = nearest(name, known);
    const std::string hint = near.empty() ? "" : fmt::format("; did you mean '{}'?", near);
    return refuse(fmt::format("unknown option '{}'{}", escape(name, 80), hint));
}

Result<void> refuse_operands(const SplitArguments& words) {
    if (words.operands.empty())
        return {};
    return refuse(fmt::format("unexpected argument '{}'", escape(words.operands.front(), 80)));
}

/// The value of an option that may be given once. Empty if it was not given: an empty value is
/// refused.
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

/// SERVICE=ENDPOINT. Columns start at 1 and refer to the value as written.
Result<ListenerConfig> read_listen(const std::string& text) {
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
    ListenerConfig listen;
    listen.service = *service;
    listen.origin = "--listen";
    listen.addresses.push_back(*std::move(endpoint));
    if (const auto wrong = set_transports(listen))
        return refuse_at(equals + 1, not_over_tcp(*wrong, *service));
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
    // A duplicate among the flags is a fault of the command line, not of the file.
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
    if (auto read = refuse_operands(arguments.words); !read)
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
    const Arguments arguments = split(argc, argv);
    Options options;
    // A missing value is a fault even beside --help and --version; an unknown option is not.
    const auto& fault = arguments.words.fault;
    const bool asks = arguments.help || arguments.version;
    if (fault && !(asks && fault->kind == ArgumentFault::Kind::unknown))
        return std::unexpected(refuse_fault(*fault).error());
    if (asks) {
        options.answer = arguments.help ? std::string(help_text) : version_text();
        return options;
    }
    return read_options(arguments);
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
    if (const auto loaded = load_stamp_keys(*config); !loaded)
        return std::unexpected(loaded.error());
    if (const auto permitted = check_stamp_clock(*config); !permitted)
        return std::unexpected(permitted.error());
    return config;
}

} // namespace riposte
