#include "build_features.h"
#include "daemon/config/options.h"

#include <cstdlib>
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

using namespace riposte;

namespace {

using Words = std::vector<const char*>;

Result<Options> parse(Words words) {
    words.insert(words.begin(), "riposted");
    return parse_options(static_cast<int>(words.size()), words.data());
}

Options accepted(const Words& words) {
    auto options = parse(words);
    REQUIRE_MESSAGE(options.has_value(), (options ? "" : options.error().message));
    return *options;
}

/// The message without the common end of usage errors.
std::string usage_error(const Words& words) {
    constexpr std::string_view end = " try 'riposted --help'";
    const auto options = parse(words);
    if (!options)
        CHECK(options.error().exit == Exit::usage);
    std::string message = options ? "accepted" : options.error().message;
    CHECK(message.find('\n') == std::string::npos);
    CHECK((message == "accepted" || message.ends_with(end)));
    return message.substr(0, message.size() - (message.ends_with(end) ? end.size() : 0));
}

/// The output of --help or --version; empty without them.
std::string answer(const Words& words) {
    return accepted(words).answer.value_or("");
}

/// A file that is removed at the end of the test.
struct TemporaryFile {
    std::string path = "/tmp/riposte-options-XXXXXX";

    explicit TemporaryFile(std::string_view content) {
        const int fd = mkostemp(path.data(), O_CLOEXEC);
        REQUIRE(fd >= 0);
        CHECK(write(fd, content.data(), content.size()) == static_cast<ssize_t>(content.size()));
        close(fd);
    }
    ~TemporaryFile() { unlink(path.c_str()); }
    TemporaryFile(const TemporaryFile&) = delete;
    TemporaryFile& operator=(const TemporaryFile&) = delete;
};

} // namespace

TEST_CASE("without arguments nothing is set") {
    const Options options = accepted({});
    CHECK(options.config_path.empty());
    CHECK(!options.check);
    CHECK(!options.print_config);
    CHECK(!options.answer);
    CHECK(!options.backend);
    CHECK(!options.workers);
    CHECK(!options.log_level);
    CHECK(options.listen.empty());
}

TEST_CASE("every option is read, with its value after it or after '='") {
    const Options options = accepted(
        {"-c", "a.toml", "--check", "--print-config", "--backend=epoll", "--workers", "0",
         "--log-level", "debug", "--listen", "echo=127.0.0.1:7", "--listen=time=*:0"});
    CHECK(options.config_path == "a.toml");
    CHECK(options.check);
    CHECK(options.print_config);
    CHECK(options.backend == BackendChoice::epoll);
    CHECK(options.workers == 0U);
    CHECK(options.log_level == LogLevel::debug);
    REQUIRE(options.listen.size() == 2);
    CHECK(options.listen[0].service == ServiceKind::echo);
    CHECK(
        options.listen[0].addresses ==
        std::vector<Endpoint>{{Transport::tcp, "127.0.0.1", 7}, {Transport::udp, "127.0.0.1", 7}});
    CHECK(options.listen[0].origin == "--listen");
    CHECK(options.listen[1].service == ServiceKind::time);
    CHECK(
        options.listen[1].addresses ==
        std::vector<Endpoint>{{Transport::tcp, "*", 0}, {Transport::udp, "*", 0}});
}

TEST_CASE("the configuration file has a short and a long name") {
    CHECK(accepted({"--config", "a.toml"}).config_path == "a.toml");
    CHECK(accepted({"--config=a.toml"}).config_path == "a.toml");
    CHECK(accepted({"-ca.toml"}).config_path == "a.toml");
    CHECK(accepted({"-c", "name with spaces"}).config_path == "name with spaces");
}

TEST_CASE("every word is taken literally, whatever it means to a parser of options") {
    for (const char* word :
         {"++",  "{}",    "[]",  "[a]",      "[a,b]", "[a b]", "{a,b}",   "%%",
          "a,b", "\"q\"", "'q'", "`q`",      "true",  "a=b",   "=",       "/x",
          "@f",  "#c",    " ",   "B\"(x)\"", "--",    "-",     "--check", "-h"}) {
        CAPTURE(word);
        CHECK(accepted({"-c", word}).config_path == word);
        CHECK(accepted({"--config", word}).config_path == word);
        CHECK(accepted({(std::string("--config=") + word).c_str()}).config_path == word);
    }
    for (const char* word : {"++", "{}", "[]", "[a,b]", "%%", "true", "-"})
        CHECK(usage_error({word}) == fmt::format("unexpected argument '{}';", word));
    for (const char* word : {"--", "-h", "--check", "++"})
        CHECK(usage_error({"--", word}) == fmt::format("unexpected argument '{}';", word));
    // Brackets in a listener belong to its address.
    CHECK(accepted({"--listen", "echo=tcp://[::1]:7"}).listen.size() == 1);
    CHECK(usage_error({"--listen", "[echo=*:1,time=*:2]"})
              .starts_with("--listen '[echo=*:1,time=*:2]'"));
    CHECK(usage_error({"--chec"}) == "unknown option '--chec'; did you mean '--check'?");
}

TEST_CASE("a scheme limits a listener to its transport") {
    CHECK(
        accepted({"--listen", "echo=udp://[::1]:7"}).listen[0].addresses ==
        std::vector<Endpoint>{{Transport::udp, "::1", 7}});
}

TEST_CASE("unknown options and stray arguments are refused") {
    CHECK(usage_error({"--wokers", "3"}) == "unknown option '--wokers'; did you mean '--workers'?");
    CHECK(usage_error({"--wokers=3"}) == "unknown option '--wokers'; did you mean '--workers'?");
    CHECK(usage_error({"--check", "--chek"}) == "unknown option '--chek'; did you mean '--check'?");
    CHECK(usage_error({"--daemonize"}) == "unknown option '--daemonize';");
    CHECK(usage_error({"-x"}) == "unknown option '-x';");
    CHECK(usage_error({"start"}) == "unexpected argument 'start';");
    CHECK(
        usage_error({"--listen", "echo=127.0.0.1:7", "time=127.0.0.1:37"}) ==
        "unexpected argument 'time=127.0.0.1:37';");
    CHECK(usage_error({"bad\nline"}) == "unexpected argument 'bad\\nline';");
    CHECK(usage_error({"--", "start"}) == "unexpected argument 'start';");
}

TEST_CASE("an option without its value is refused by name") {
    for (const char* name : {"-c", "--config", "--backend", "--workers", "--listen", "--log-level"})
        CHECK(usage_error({"--check", name}) == fmt::format("{} needs a value;", name));
    for (const char* name : {"--config", "--backend", "--workers", "--listen", "--log-level"})
        CHECK(
            usage_error({fmt::format("{}=", name).c_str(), "--check"}) ==
            fmt::format("{} needs a value;", name));
    CHECK(usage_error({"-c", ""}) == "--config needs a value;");
    CHECK(usage_error({"--backend", ""}) == "--backend needs a value;");
}

TEST_CASE("a flag takes no value") {
    CHECK(usage_error({"--check=false"}) == "--check takes no value;");
    CHECK(usage_error({"--help=all"}) == "--help takes no value;");
}

TEST_CASE("an option that may be given once is refused the second time") {
    CHECK(
        usage_error({"--workers", "1", "--workers", "2"}) ==
        "--workers is given 2 times; give it once;");
    CHECK(usage_error({"-c", "a", "--config", "b"}) == "--config is given 2 times; give it once;");
}

TEST_CASE("a bad value is refused with the permitted values") {
    CHECK(usage_error({"--workers", "-1"}) == "--workers: '-1' is not a number from 0 to 256;");
    CHECK(usage_error({"--workers", "257"}) == "--workers: '257' is not a number from 0 to 256;");
    CHECK(
        usage_error({"--workers", "4294967296"}) ==
        "--workers: '4294967296' is not a number from 0 to 256;");
    CHECK(usage_error({"--workers", "2x"}) == "--workers: '2x' is not a number from 0 to 256;");
    CHECK(usage_error({"--workers", "all"}) == "--workers: 'all' is not a number from 0 to 256;");
    CHECK(
        usage_error({"--backend", "epol"}) ==
        "--backend: unknown backend 'epol'; did you mean 'epoll'?");
    CHECK(
        usage_error({"--backend", "kqueue"}) ==
        "--backend: unknown backend 'kqueue'; it must be auto, io_uring or epoll;");
    CHECK(
        usage_error({"--log-level", "verbose"}) ==
        "--log-level: unknown log level 'verbose'; it must be error, warning, info or debug;");
    CHECK(
        usage_error({"--log-level", "--check"}) ==
        "--log-level: unknown log level '--check'; it must be error, warning, info or debug;");
}

TEST_CASE("a bad listener is refused with the column in its value") {
    CHECK(
        usage_error({"--listen", "echo"}) ==
        "--listen 'echo', column 5: no '='; write SERVICE=ENDPOINT, like echo=127.0.0.1:7007;");
    CHECK(
        usage_error({"--listen", "ecko=*:7"}) ==
        "--listen 'ecko=*:7', column 1: unknown service 'ecko'; did you mean 'echo'?");
    CHECK(
        usage_error({"--listen", "=*:7"}) ==
        "--listen '=*:7', column 1: unknown service ''; it must be hello, echo, discard, "
        "daytime, chargen, time or stamp;");
    CHECK(
        usage_error({"--listen", "stamp=tcp://*:862"}) ==
        "--listen 'stamp=tcp://*:862', column 7: tcp://*:862: stamp is for UDP; write udp://;");
    CHECK(
        usage_error({"--listen", "echo=http://a:7"}) ==
        "--listen 'echo=http://a:7', column 6: unknown scheme 'http'; use tcp:// or udp://;");
    CHECK(
        usage_error({"--listen", "echo=tcp://a"}) ==
        "--listen 'echo=tcp://a', column 13: the port is missing; write ':' and a number from 0 "
        "to 65535;");
    CHECK(
        usage_error({"--listen", "echo=a:1", "--listen", "time=udp://A:1"}) ==
        "--listen: udp://A:1 is listed twice; remove one;");
}

TEST_CASE("--help and --version are answered, whatever else is given") {
    for (const Words& words :
         {Words{"--help"}, Words{"-h"}, Words{"--help", "--wokers"},
          Words{"--workers", "x", "--help"}, Words{"--help", "--version"}})
        CHECK(answer(words).starts_with("Usage: riposted [OPTION]..."));
    const std::string version = answer({"--version"});
    CHECK(version.starts_with("riposted " RIPOSTE_VERSION " ("));
    CHECK(version.ends_with(")\n"));
    CHECK(version.size() <= 81); // a line of a terminal
    const bool io_uring =
        version.find("io_uring: liburing " RIPOSTE_LIBURING_VERSION ", ") != std::string::npos;
    CHECK(io_uring == bool{RIPOSTE_HAVE_IO_URING});
    CHECK((version.find("(no io_uring, ") != std::string::npos) == !io_uring);
    const bool seccomp =
        version.find(", seccomp " RIPOSTE_LIBSECCOMP_VERSION ", ") != std::string::npos;
    CHECK(seccomp == bool{RIPOSTE_HAVE_SECCOMP});
    CHECK((version.find(", no seccomp, ") != std::string::npos) == !seccomp);
    const bool systemd =
        version.find(", systemd: libsystemd " RIPOSTE_LIBSYSTEMD_VERSION ")") != std::string::npos;
    CHECK(systemd == bool{RIPOSTE_HAVE_SYSTEMD});
    CHECK((version.find(", no systemd)") != std::string::npos) == !systemd);
}

TEST_CASE("the help fits a terminal and names every option") {
    const std::string help = answer({"--help"});
    std::istringstream lines(help);
    for (std::string line; std::getline(lines, line);) {
        CAPTURE(line);
        CHECK(line.size() <= 80);
    }
    for (const char* name :
         {"-c, --config FILE", "--check", "--print-config", "--backend", "--workers",
          "--listen SERVICE=ENDPOINT", "--log-level", "--version", "-h, --help"})
        CHECK(help.find(name) != std::string::npos);
}

TEST_CASE("without a file and flags the embedded default applies") {
    const auto config = effective_config(Options{});
    REQUIRE(config.has_value());
    CHECK(print_config(*config) == print_config(default_config()));
}

TEST_CASE("flags win over the file, and listeners replace its listeners") {
    const TemporaryFile file("backend = \"io_uring\"\nworkers = 3\nlog_level = \"error\"\n"
                             "[[listen]]\nservice = \"time\"\naddress = \"127.0.0.1:37\"\n"
                             "[limits]\nconnections = 5\n");
    auto config = effective_config(accepted({"-c", file.path.c_str()}));
    REQUIRE(config.has_value());
    CHECK(config->backend == BackendChoice::io_uring);
    CHECK(config->workers == 3);
    CHECK(config->log_level == LogLevel::error);
    REQUIRE(config->listen.size() == 1);
    CHECK(config->listen[0].service == ServiceKind::time);

    config = effective_config(accepted(
        {"-c", file.path.c_str(), "--backend", "auto", "--workers", "0", "--log-level", "info",
         "--listen", "echo=127.0.0.1:37"}));
    REQUIRE(config.has_value());
    CHECK(config->backend == BackendChoice::automatic);
    CHECK(config->workers == 0);
    CHECK(config->log_level == LogLevel::info);
    REQUIRE(config->listen.size() == 1);
    CHECK(config->listen[0].service == ServiceKind::echo);
    CHECK(config->limits.connections_max == 5);
}

TEST_CASE("a bad file stays bad whatever the flags say") {
    const TemporaryFile file("workers = 300\n");
    const auto config = effective_config(accepted({"-c", file.path.c_str(), "--workers", "1"}));
    REQUIRE(!config.has_value());
    CHECK(config.error().exit == Exit::config);
    CHECK(
        config.error().message == file.path + ":1:11: 'workers' is 300; it must be from 0 to 256");
}
