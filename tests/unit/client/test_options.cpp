// The command line of riposte(1): what each word means, and the error of each fault.
#include "client/options/options.h"
#include "client/show/report.h"
#include "common/text.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>

using namespace riposte;
using namespace riposte::client;

namespace {

Result<Options> parse(const std::vector<const char*>& words) {
    std::vector<const char*> argv(words.size() + 1, "riposte");
    std::ranges::copy(words, argv.begin() + 1);
    return parse_options(static_cast<int>(argv.size()), argv.data());
}

/// The options of a command line that must be valid.
SendOptions send_options(const std::vector<const char*>& words) {
    const auto options = parse(words);
    REQUIRE_MESSAGE(options.has_value(), options.error().message);
    REQUIRE(std::holds_alternative<SendOptions>(options->command));
    return std::get<SendOptions>(options->command);
}

PingOptions ping_options(const std::vector<const char*>& words) {
    const auto options = parse(words);
    REQUIRE_MESSAGE(options.has_value(), options.error().message);
    REQUIRE(std::holds_alternative<PingOptions>(options->command));
    return std::get<PingOptions>(options->command);
}

LoadOptions load_options(const std::vector<const char*>& words) {
    const auto options = parse(words);
    REQUIRE_MESSAGE(options.has_value(), options.error().message);
    REQUIRE(std::holds_alternative<LoadOptions>(options->command));
    return std::get<LoadOptions>(options->command);
}

StatusOptions status_options(const std::vector<const char*>& words) {
    const auto options = parse(words);
    REQUIRE_MESSAGE(options.has_value(), options.error().message);
    REQUIRE(std::holds_alternative<StatusOptions>(options->command));
    return std::get<StatusOptions>(options->command);
}

CommonOptions common_options(const std::vector<const char*>& words) {
    const auto options = parse(words);
    REQUIRE_MESSAGE(options.has_value(), options.error().message);
    return options->common;
}

std::string answer(const std::vector<const char*>& words) {
    const auto options = parse(words);
    REQUIRE_MESSAGE(options.has_value(), options.error().message);
    REQUIRE(std::holds_alternative<Answer>(options->command));
    return std::get<Answer>(options->command).text;
}

/// The message of a command line that must be refused as a usage error.
std::string refusal(const std::vector<const char*>& words) {
    const auto options = parse(words);
    REQUIRE_FALSE(options.has_value());
    CHECK(options.error().exit == Exit::usage);
    return options.error().message;
}

} // namespace

TEST_CASE("without a scheme it is TCP, without a port 7001") {
    const Endpoint endpoint = send_options({"send", "localhost"}).endpoint;
    CHECK(endpoint == Endpoint{Transport::tcp, "localhost", 7001});
}

TEST_CASE("-u selects UDP, also if the scheme already does") {
    CHECK(send_options({"send", "-u", "host:9"}).endpoint == Endpoint{Transport::udp, "host", 9});
    CHECK(send_options({"send", "udp://host:9", "-u"}).endpoint.transport == Transport::udp);
}

TEST_CASE("-u and tcp:// contradict each other") {
    CHECK(
        refusal({"send", "-u", "tcp://host"}) ==
        "-u and tcp:// contradict each other; leave one of them out");
}

TEST_CASE("the greeting depends on the transport") {
    CHECK(send_options({"send", "host"}).message == "Hello, i'm client!");
    CHECK(send_options({"send", "udp://host"}).message == "Hello!");
}

TEST_CASE("the message is taken as it is written") {
    for (const char* message :
         {"hi", "", " ", "[1,2]", "[]", "{}", "a,b", "\"x\"", "'x'", "%%", "a\nb", "send", "true",
          "\xff\xfe", "x=1", "/w", "-1"})
        CHECK(send_options({"send", "host", "--", message}).message == message);
    for (const char* message : {"hi", "", " ", "[1,2]", "{}", "a,b", "send"})
        CHECK(send_options({"send", "host", message}).message == message);
}

TEST_CASE("every operand is taken literally, whatever it means to a parser of options") {
    const std::vector<const char*> words{
        "send", "ping",  "load",  "status", "help",      "version", "++",  "+",       "{}",  "[]",
        "[a]",  "[a,b]", "[a b]", "{a,b}",  "%%",        "%",       "a,b", "\"q\"",   "'q'", "`q`",
        "true", "false", "a=b",   "=",      "/x",        "/help",   "@f",  "#c",      ";",   ":",
        "'",    "\"",    "\\n",   "send.x", "ping.send", "",        " ",   "B\"(x)\""};
    for (const char* word : words) {
        CAPTURE(word);
        CHECK(send_options({"send", "host", word}).message == word);
        CHECK(send_options({"send", "host", "--", word}).message == word);
        CHECK(send_options({"send", "--", "host", word}).message == word);
        CHECK(send_options({"send", "host", "-v", word}).message == word);
        if (*word != '\0') { // also as the value of an option
            CHECK(ping_options({"ping", "--plot", word, "host"}).report.plot_file == word);
            CHECK(
                ping_options({"ping", ("--plot=" + std::string(word)).c_str(), "host"})
                    .report.plot_file == word);
            CHECK(load_options({"load", "host", "--hist", word}).report.histogram_file == word);
        }
    }
    // Words that can be hosts, as endpoints, for each command.
    for (const char* word :
         {"send", "ping", "load", "status", "help", "true", "send.x", "ping.send"}) {
        CAPTURE(word);
        CHECK(send_options({"send", word}).endpoint.host == word);
        CHECK(load_options({"load", word}).endpoint.host == word);
        CHECK(ping_options({"ping", word, word, "--", word}).endpoints.size() == 3);
        CHECK(status_options({"status", word}).places[0].endpoint.host == word);
    }
    // Words that cannot are refused as hosts, by the name as written.
    for (const char* word : {"++", "{}", "[]", "[a,b]", "%%", "=", "@f", "#c"})
        for (const char* command : {"send", "ping", "load", "status"}) {
            const std::string start = std::string("endpoint '") + word + "', column ";
            CHECK(refusal({command, word}).starts_with(start));
            CHECK(refusal({command, "--", word}).starts_with(start));
        }
    for (const char* word : {"++", "send", "{}", "[]", "--"})
        for (const char* command : {"load", "status"})
            CHECK(
                refusal({command, "host", "--", word}) ==
                std::string("unexpected operand '") + word +
                    "'; quote what has spaces, or see 'riposte " + command + " --help'");
}

TEST_CASE("a message that begins with a dash goes after --") {
    CHECK(send_options({"send", "host", "--", "-v"}).message == "-v");
    CHECK(send_options({"send", "--", "host", "-v"}).message == "-v");
    CHECK(send_options({"send", "host", "--", "--"}).message == "--");
    CHECK(
        refusal({"send", "host", "hi", "--", "-v"}) ==
        "unexpected operand '-v'; quote what has spaces, or see 'riposte send --help'");
    CHECK(refusal({"send", "host", "-x"}) == "unknown option '-x'; see 'riposte send --help'");
}

TEST_CASE("a separate port, as nc takes it, is answered with a hint") {
    CHECK(
        send_options({"send", "127.0.0.1", "7007"}).hint ==
        "'7007' is sent as the message, to port 7001; for port 7007 write 127.0.0.1:7007, and for "
        "this -- 7007");
    CHECK(send_options({"send", "127.0.0.1", "7007"}).message == "7007");
    CHECK(
        send_options({"send", "-u", "[::1]", "9"}).hint ==
        "'9' is sent as the message, to port 7001; for port 9 write [::1]:9, and for this -- 9");
    for (const std::vector<const char*>& words : std::vector<std::vector<const char*>>{
             {"send", "host", "--", "7007"},
             {"send", "--", "host", "7007"},
             {"send", "host:7", "7007"},
             {"send", "host", "0"},
             {"send", "host", "65536"},
             {"send", "host", "123456"},
             {"send", "host", "7007 "},
             {"send", "host", "-"},
             {"send", "host"}})
        CHECK(send_options(words).hint.empty());
    CHECK(
        refusal({"load", "localhost", "7007"}) ==
        "unexpected operand '7007'; for port 7007 write localhost:7007");
    CHECK(
        refusal({"status", "udp://a", "80"}) ==
        "unexpected operand '80'; for port 80 write udp://a:80");
    CHECK(
        refusal({"ping", "a", "localhost", "7007"}) ==
        "'7007' is not an endpoint; for port 7007 write localhost:7007");
    CHECK(refusal({"ping", "7007"}).find("is not an IPv4 address") != std::string::npos);
    CHECK(
        refusal({"send", "127.0.0.1", "7007", "hello"}) ==
        "unexpected operand 'hello'; for port 7007 write 127.0.0.1:7007");
}

TEST_CASE("a missing command is guessed from what follows") {
    CHECK(
        refusal({"127.0.0.1", "7007"}) ==
        "unknown command '127.0.0.1'; did you mean 'riposte send 127.0.0.1:7007'?");
    CHECK(
        refusal({"localhost", "7"}) ==
        "unknown command 'localhost'; did you mean 'riposte send localhost:7'?");
    CHECK(
        refusal({"udp://a:7"}) ==
        "unknown command 'udp://a:7'; did you mean 'riposte send udp://a:7'?");
    CHECK(refusal({":echo"}) == "unknown command ':echo'; did you mean 'riposte send :echo'?");
    CHECK(refusal({"a:b:c"}) == "unknown command 'a:b:c'; see 'riposte --help'");
}

TEST_CASE("a port may be the name of a service, and a missing host is this one") {
    const auto endpoint = [](const std::vector<const char*>& words) {
        return to_string(send_options(words).endpoint);
    };
    CHECK(endpoint({"send", "host:echo"}) == "tcp://host:7");
    CHECK(endpoint({"send", "-u", "host:discard"}) == "udp://host:9");
    CHECK(endpoint({"send", "udp://[::1]:time"}) == "udp://[::1]:37");
    CHECK(endpoint({"send", ":hello"}) == "tcp://localhost:7001");
    CHECK(endpoint({"send", "udp://:stamp"}) == "udp://localhost:862");
    CHECK(endpoint({"send", ":7"}) == "tcp://localhost:7");
    CHECK(to_string(ping_options({"ping", ":echo", "a:chargen"}).endpoints[1]) == "tcp://a:19");
    CHECK(to_string(load_options({"load", ":daytime"}).endpoint) == "tcp://localhost:13");
    CHECK(
        refusal({"send", "host:eco"}) ==
        "endpoint 'host:eco', column 6: unknown service 'eco'; did you mean echo?");
    CHECK(
        refusal({"send", "host:no-such-service"}) ==
        "endpoint 'host:no-such-service', column 6: 'no-such-service' is neither a port nor a "
        "known "
        "service; write a number from 0 to 65535, or a service like echo");
    CHECK(
        refusal({"send", "host:80/"}) ==
        "endpoint 'host:80/', column 6: '80/' is not a port; write a number from 0 to 65535, or a "
        "service like echo");
    CHECK(refusal({"send", ":"}).starts_with("endpoint ':', column 2: the port is empty"));
    CHECK(refusal({"send", "tcp://"}).find("the host is missing") != std::string::npos);
    CHECK(refusal({"send", "host:99999"}).find("is out of range") != std::string::npos);
}

TEST_CASE("a service of one transport is not one of the other") {
    // What /etc/services says, if this machine has one.
    const auto over_tcp = parse({"send", "host:ssh"});
    const auto over_udp = parse({"send", "-u", "host:ssh"});
    if (over_tcp && !over_udp)
        CHECK(
            over_udp.error().message ==
            "endpoint 'host:ssh', column 6: 'ssh' is a service of tcp, not of udp; write its "
            "number, 22");
}

TEST_CASE("the answer of send ends where it says, and must have what it says") {
    CHECK(send_options({"send", "a"}).answer == AnswerRules{});
    CHECK(send_options({"send", "--first", "a"}).answer.first);
    CHECK(send_options({"send", "-u", "a"}).answer.first);
    CHECK_FALSE(send_options({"send", "-u", "--expect", "OK", "a"}).answer.first);
    CHECK(send_options({"send", "-u", "--first", "--expect", "OK", "a"}).answer.first);
    CHECK(send_options({"send", "--expect", "OK", "a"}).answer.expect->bytes == "OK");
    CHECK(send_options({"send", "--expect", "/O+K/", "a"}).answer.expect->is_regex);
    CHECK(send_options({"send", "--until", "100", "a"}).answer.until_bytes == 100);
    CHECK(send_options({"send", "--until", "64KiB", "a"}).answer.until_bytes == 65536);
    CHECK(send_options({"send", "--until", "1.5MiB", "a"}).answer.until_bytes == 1572864);
    for (const char* const word : {"\n", "220 ", "200OK", "1.2.3", ".", "-1", "/100/", "0x10"}) {
        CAPTURE(word);
        const AnswerRules rules = send_options({"send", "--until", word, "a"}).answer;
        CHECK_FALSE(rules.until_bytes.has_value());
        CHECK(rules.until.has_value());
    }
    CHECK(
        refusal({"send", "--until", "10k", "a"}) ==
        "--until: '10k' has the unknown unit 'k'; the units are B, KiB, MiB or GiB; /10k/ is the "
        "text");
    CHECK(
        refusal({"send", "--until", "0", "a"}) ==
        "--until: must be at least 1 byte; /0/ is the text");
    CHECK(refusal({"send", "--until", "0.5", "a"}).ends_with("/0.5/ is the text"));
    CHECK(
        refusal({"send", "--first", "--until", "x", "a"}) ==
        "--first and --until exclude each other; each says where the answer ends");
    CHECK(refusal({"send", "--expect", "", "a"}).starts_with("--expect: the TEXT is empty"));
    CHECK(refusal({"send", "--expect", "/[/", "a"}).starts_with("--expect: '/[/': "));
}

TEST_CASE("-q is an option of every command") {
    CHECK(send_options({"send", "-q", "a"}).quiet);
    CHECK(ping_options({"ping", "--quiet", "a"}).quiet);
    CHECK(load_options({"load", "-q", "a"}).quiet);
    CHECK(status_options({"status", "-q"}).quiet);
    CHECK(
        refusal({"load", "-q", "--histogram", "a"}) ==
        "-q and --histogram exclude each other; -q prints one line");
    CHECK(
        refusal({"status", "-q", "-j"}) ==
        "-j and -q exclude each other; -j prints the daemon's own document");
}

TEST_CASE("a dash alone is standard input") {
    CHECK(send_options({"send", "host", "-"}).message_from_input);
    CHECK_FALSE(send_options({"send", "host", "--", "x-"}).message_from_input);
    CHECK_FALSE(send_options({"send", "host"}).message_from_input);
}

TEST_CASE("options may come before and after the operands") {
    const SendOptions options = send_options({"send", "-u", "host", "-v", "hi", "-W", "1"});
    CHECK(options.endpoint.transport == Transport::udp);
    CHECK(options.verbose);
    CHECK(options.message == "hi");
}

TEST_CASE("the timeout is 5 s unless given, and a bare number is seconds") {
    CHECK(common_options({"send", "host"}).timeout_ms == 5000);
    CHECK(common_options({"send", "-W", "250ms", "host"}).timeout_ms == 250);
    CHECK(common_options({"send", "-W2", "host"}).timeout_ms == 2000);
    CHECK(common_options({"send", "--timeout=1m", "host"}).timeout_ms == 60000);
}

TEST_CASE("a bad timeout is refused") {
    CHECK(refusal({"send", "-W", "0", "host"}) == "--timeout: must be more than zero");
    CHECK(
        refusal({"send", "-W", "soon", "host"}) ==
        "--timeout: 'soon' is not a duration; write a number with a unit, like 250ms, 10s or 2m");
    CHECK(refusal({"send", "host", "-W"}) == "--timeout needs a value");
    CHECK(refusal({"send", "host", "--timeout="}) == "--timeout needs a value");
}

TEST_CASE("-4 and -6 choose the family and exclude each other") {
    CHECK(common_options({"send", "host"}).family == Family::any);
    CHECK(common_options({"send", "-4", "host"}).family == Family::ipv4);
    CHECK(common_options({"send", "host", "-6"}).family == Family::ipv6);
    CHECK(refusal({"send", "-46", "host"}) == "-4 and -6 exclude each other");
}

TEST_CASE("the source is an address, in brackets or not") {
    CHECK(common_options({"send", "host"}).path.source.empty());
    CHECK(common_options({"send", "--source", "127.0.0.2", "host"}).path.source == "127.0.0.2");
    CHECK(common_options({"send", "--source=::1", "host"}).path.source == "::1");
    CHECK(common_options({"send", "--source=[::1]", "host"}).path.source == "::1");
    CHECK(
        refusal({"send", "--source=0x7f000001", "host"}) ==
        "--source '0x7f000001', column 1: '0x7f000001' is not an IPv4 address; write four numbers "
        "from 0 to 255, like 127.0.0.1");
    CHECK(
        refusal({"load", "--source", "*", "host"}).find("cannot contain '*'") != std::string::npos);
}

TEST_CASE("--color is auto, always or never") {
    CHECK(common_options({"send", "host"}).color == Color::automatic);
    CHECK(common_options({"send", "--color=auto", "host"}).color == Color::automatic);
    CHECK(common_options({"send", "--color", "always", "host"}).color == Color::always);
    CHECK(common_options({"send", "--color", "never", "host"}).color == Color::never);
    CHECK(
        refusal({"send", "--color", "red\n", "host"}) ==
        "--color: 'red\\n' is none of auto, always and never");
}

TEST_CASE("a bad endpoint is refused with its column") {
    CHECK(refusal({"send", "tcp://h:99999"}).starts_with("endpoint 'tcp://h:99999', column 9: "));
    CHECK(refusal({"send", "sctp://h"}).starts_with("endpoint 'sctp://h', column 1: "));
    CHECK(refusal({"send", "*"}).starts_with("endpoint '*', column 1: "));
    CHECK(refusal({"send", "host:0"}) == "endpoint 'host:0': no service listens on port 0");
}

TEST_CASE("a missing endpoint is refused with an example") {
    CHECK(
        refusal({"send"}) ==
        "no ENDPOINT; try 'riposte send localhost', or see 'riposte send --help'");
}

TEST_CASE("an extra word is refused") {
    CHECK(
        refusal({"send", "host", "hello", "world"}) ==
        "unexpected operand 'world'; quote what has spaces, or see 'riposte send --help'");
}

TEST_CASE("a mistyped option is refused with the nearest one") {
    CHECK(
        refusal({"send", "--timout", "3", "host"}) ==
        "unknown option '--timout'; did you mean --timeout?");
    CHECK(refusal({"send", "--zzz"}) == "unknown option '--zzz'; see 'riposte send --help'");
    CHECK(refusal({"--verison"}) == "unknown option '--verison'; did you mean --version?");
}

TEST_CASE("a missing or mistyped command is refused with the list of commands") {
    CHECK(refusal({}) == "no command; try 'riposte send localhost', or see 'riposte --help'");
    CHECK(refusal({"snd", "host"}) == "unknown command 'snd'; did you mean send?");
    CHECK(refusal({"pin", "host"}) == "unknown command 'pin'; did you mean ping?");
    CHECK(refusal({"lod", "host"}) == "unknown command 'lod'; did you mean load?");
    CHECK(refusal({"host", "ping"}) == "unknown command 'host'; see 'riposte --help'");
    CHECK(refusal({"frobnicate"}) == "unknown command 'frobnicate'; see 'riposte --help'");
}

TEST_CASE("--version names the program and its version") {
    CHECK(answer({"--version"}) == "riposte 0.2.0\n");
    for (const char* command : {"send", "ping", "load", "status", "help", "version"})
        for (const char* option : {"--version", "-V"})
            CHECK(answer({command, option}) == "riposte 0.2.0\n");
    CHECK(answer({"-V"}) == "riposte 0.2.0\n");
    CHECK(answer({"version"}) == "riposte 0.2.0\n");
    CHECK(
        refusal({"version", "x"}) ==
        "unexpected operand 'x'; quote what has spaces, or see 'riposte version --help'");
}

TEST_CASE("help COMMAND is COMMAND --help") {
    CHECK(answer({"help"}) == answer({"--help"}));
    for (const char* command : {"send", "ping", "load", "status"}) {
        CHECK(answer({"help", command}) == answer({command, "--help"}));
        CHECK(answer({"help", command}).find(command) != std::string::npos);
    }
    CHECK(answer({"help", "help"}) == answer({"--help"}));
    CHECK(answer({"help", "version"}) == answer({"--help"}));
    CHECK(answer({"help", "--help"}) == answer({"--help"}));
    CHECK(refusal({"help", "pnig"}) == "help: unknown command 'pnig'; did you mean ping?");
    CHECK(refusal({"help", "zzz"}) == "help: unknown command 'zzz'; see 'riposte --help'");
    CHECK(
        refusal({"help", "ping", "load"}) ==
        "unexpected operand 'load'; quote what has spaces, or see 'riposte help --help'");
}

TEST_CASE("--help fits 80 columns and ignores faults beside it") {
    for (const std::string& text :
         {answer({"--help"}), answer({"-h"}), answer({"send", "--help"}),
          answer({"ping", "--help"}), answer({"load", "-h"}), answer({"help", "status"}),
          answer({"send", "-W", "soon", "--help"})}) {
        CHECK(text.starts_with("Usage: riposte "));
        CHECK(text.ends_with("\n"));
        std::istringstream lines(text);
        for (std::string line; std::getline(lines, line);)
            CHECK_MESSAGE(line.size() <= 80, line);
    }
}

TEST_CASE("--help of send names every option and operand, and gives examples") {
    const std::string text = answer({"send", "--help"});
    for (const char* word :
         {"-u ", "-4,", "-6 ", "-W, --timeout", "--source", "--color", "-v, --verbose",
          "-q, --quiet", "--first ", "--until BYTES|TEXT|/REGEX/", "--expect TEXT|/REGEX/",
          "-h, --help", "--version", "ENDPOINT [MESSAGE|-]", "Examples:", "Exit status:"})
        CHECK_MESSAGE(text.find(word) != std::string::npos, word);
}

TEST_CASE("what is printed while a run goes on is the same for ping and load") {
    const auto ping = ping_options({"ping", "--every", "10s", "--json-lines", "host"}).report;
    const auto load = load_options({"load", "--every=100ms", "host"}).report;
    CHECK(ping.every_ms == 10'000);
    CHECK(ping.json_lines);
    CHECK(ping.is_json());
    CHECK(load.every_ms == 100);
    CHECK_FALSE(load.is_json());
    CHECK_FALSE(ping_options({"ping", "host"}).report.every_ms.has_value());
}

TEST_CASE("--help of ping and load names every option, and gives examples") {
    const std::vector<const char*> common{
        "-u ",       "-4,",          "-6 ",       "-W, --timeout", "--source",    "--color",
        "--plot",    "--fail-if",    "--hist ",   "--histogram",   "--reconnect", "-j, --json",
        "--every",   "--json-lines", "--live",    "-h, --help",    "--version",   "Signals:",
        "Examples:", "Exit status:", "-s, --size"};
    const std::vector<const char*> ping{"ENDPOINT...",    "-c, --count", "-i, --interval",
                                        "-w, --deadline", "-q, --quiet", "-D, --timestamps"};
    const std::vector<const char*> load{"ENDPOINT\n",  "-c, --connections", "-d, --duration",
                                        "-n, --count", "-r, --rate",        "--depth",
                                        "--warmup",    "--no-verify"};
    for (const auto& [command, own] : {std::pair{"ping", ping}, std::pair{"load", load}}) {
        const std::string text = answer({command, "--help"});
        for (const auto& words : {common, own})
            for (const char* word : words)
                CHECK_MESSAGE(text.find(word) != std::string::npos, command << ": " << word);
    }
}

TEST_CASE("--help names every command") {
    const std::string text = answer({"--help"});
    for (const char* word :
         {"\n  send ", "\n  ping ", "\n  load ", "\n  status ", "\n  help ", "\n  version "})
        CHECK_MESSAGE(text.find(word) != std::string::npos, word);
}

TEST_CASE("an option that takes one value is given once, one that takes none has none") {
    CHECK(refusal({"send", "-W1", "-W2", "h"}) == "--timeout is given 2 times; give it once");
    CHECK(
        refusal({"ping", "-c", "1", "h", "--count=2"}) == "--count is given 2 times; give it once");
    CHECK(refusal({"load", "--no-verify=yes", "h"}) == "--no-verify takes no value");
    CHECK(refusal({"ping", "h", "-c"}) == "--count needs a value");
    CHECK(ping_options({"ping", "-q", "-q", "h"}).quiet);
}

TEST_CASE("names cannot be abbreviated, and letters can be combined") {
    CHECK(
        refusal({"ping", "--interva", "1", "h"}) ==
        "unknown option '--interva'; did you mean --interval?");
    CHECK(refusal({"ping", "--rec", "h"}) == "unknown option '--rec'; see 'riposte ping --help'");
    CHECK(ping_options({"ping", "-qDc3", "h"}).count == 3);
    CHECK(refusal({"ping", "-qx", "h"}) == "unknown option '-x'; see 'riposte ping --help'");
    CHECK(refusal({"ping", "h", "-qc"}) == "--count needs a value");
    CHECK(refusal({"send", "h", "-5"}) == "unknown option '-5'; see 'riposte send --help'");
    CHECK(answer({"ping", "--bogus", "--help"}).starts_with("Usage: riposte ping"));
    CHECK(answer({"--help", "load"}).starts_with("Usage: riposte load"));
    CHECK(answer({"host", "-h"}).starts_with("Usage: riposte COMMAND"));
    CHECK(refusal({"-u", "send", "h"}) == "unknown option '-u'; see 'riposte --help'");
}

TEST_CASE("options may follow operands even if POSIXLY_CORRECT is set") {
    ::setenv("POSIXLY_CORRECT", "1", 1);
    CHECK(send_options({"send", "host", "hi", "-v"}).verbose);
    ::unsetenv("POSIXLY_CORRECT");
}

TEST_CASE("a mistyped option is refused with the nearest one of its own command") {
    CHECK(
        refusal({"ping", "--intervall=1", "h"}) ==
        "unknown option '--intervall=1'; did you mean --interval?");
    CHECK(
        refusal({"load", "--conections", "5", "h"}) ==
        "unknown option '--conections'; did you mean --connections?");
    CHECK(
        refusal({"load", "--deadline", "5", "h"}) ==
        "unknown option '--deadline'; see 'riposte load --help'");
    CHECK(refusal({"ping", "-n", "5", "h"}) == "unknown option '-n'; see 'riposte ping --help'");
    CHECK(refusal({"send", "-x", "h"}) == "unknown option '-x'; see 'riposte send --help'");
}

TEST_CASE("ping probes once a second with 56 bytes until interrupted, by default") {
    const PingOptions ping = ping_options({"ping", "localhost"});
    REQUIRE(ping.endpoints.size() == 1);
    CHECK(ping.endpoints.front() == Endpoint{Transport::tcp, "localhost", 7001});
    CHECK_FALSE(ping.count.has_value());
    CHECK(ping.interval_us == 1'000'000);
    CHECK_FALSE(ping.deadline_ms.has_value());
    CHECK(ping.payload_bytes == 56);
    CHECK_FALSE(ping.quiet);
    CHECK_FALSE(ping.timestamps);
    CHECK_FALSE(ping.reconnect);
    CHECK_FALSE(ping.report.json);
    CHECK_FALSE(ping.report.histogram);
    CHECK(ping.report.histogram_file.empty());
    CHECK(ping.report.plot_file.empty());
    CHECK(ping.report.fail_if.empty());
    CHECK(common_options({"ping", "localhost"}).timeout_ms == 5000);
}

TEST_CASE("ping takes the value of each option") {
    const PingOptions ping = ping_options(
        {"ping", "-c", "10", "-i", "200us", "-w", "1m", "-s", "1KiB", "-q", "-D", "--reconnect",
         "--histogram", "--hist", "a.hgrm", "--plot=a.svg", "--fail-if", "p99>2ms,loss>1%", "h:9"});
    CHECK(ping.endpoints.front() == Endpoint{Transport::tcp, "h", 9});
    CHECK(ping.count == 10);
    CHECK(ping.interval_us == 200);
    CHECK(ping.deadline_ms == 60'000);
    CHECK(ping.payload_bytes == 1024);
    CHECK(ping.quiet);
    CHECK(ping.timestamps);
    CHECK(ping.reconnect);
    CHECK(ping.report.histogram);
    CHECK(ping.report.histogram_file == "a.hgrm");
    CHECK(ping.report.plot_file == "a.svg");
    CHECK(ping.report.fail_if.size() == 2);
    CHECK(ping_options({"ping", "-jq", "h"}).report.json);
    const PingOptions spelled = ping_options(
        {"ping", "--count=1", "--interval=1.5", "--deadline=2", "--size=24", "--timestamps",
         "--quiet", "--json", "h"});
    CHECK(spelled.count == 1);
    CHECK(spelled.interval_us == 1'500'000);
    CHECK(spelled.deadline_ms == 2000);
    CHECK(spelled.payload_bytes == 24);
    CHECK(spelled.timestamps);
    CHECK(spelled.quiet);
    CHECK(spelled.report.json);
}

TEST_CASE("ping takes several endpoints, before and after its options and after --") {
    const PingOptions ping =
        ping_options({"ping", "a", "udp://b:2", "-c", "3", "[::1]", "[::1]:4", "--", "load", "f"});
    const std::vector<Endpoint> expected{
        {Transport::tcp, "a", 7001}, {Transport::udp, "b", 2},       {Transport::tcp, "::1", 7001},
        {Transport::tcp, "::1", 4},  {Transport::tcp, "load", 7001}, {Transport::tcp, "f", 7001}};
    CHECK(ping.endpoints == expected);
    for (const Endpoint& each : ping_options({"ping", "-u", "a", "udp://b"}).endpoints)
        CHECK(each.transport == Transport::udp);
    CHECK(
        refusal({"ping", "-u", "a", "tcp://b"}) ==
        "-u and tcp:// contradict each other; leave one of them out");
    CHECK(refusal({"ping", "a", "b:0"}) == "endpoint 'b:0': no service listens on port 0");
    CHECK(
        refusal({"ping", "a", "--", "-c"}) == "endpoint '-c', column 1: a host name cannot begin "
                                              "with '-'; write a name, an IPv4 address "
                                              "or [IPv6]");
    CHECK(
        refusal({"ping"}) ==
        "no ENDPOINT; try 'riposte ping localhost', or see 'riposte ping --help'");
    std::vector<const char*> many(65'538, "h");
    many.front() = "ping";
    CHECK(refusal(many) == "65,537 endpoints, and at most 65,536 are possible at once");
    many.pop_back();
    CHECK(ping_options(many).endpoints.size() == 65'536);
}

TEST_CASE("an option of ping that would have no effect is refused") {
    const std::vector<std::pair<std::vector<const char*>, std::string>> cases{
        {{"--connect", "-u", "h"}, "--connect is for TCP; leave -u out"},
        {{"--connect", "tcp://h", "udp://h:7"},
         "--connect is for TCP; udp://h:7 makes no connection"},
        {{"--connect", "-s", "64", "h"},
         "--connect and -s exclude each other; nothing is sent on the connections"},
        {{"--connect", "--reconnect", "h"},
         "--connect and --reconnect exclude each other; with --connect each probe is a connection"},
        {{"--connect", "--source", "127.0.0.1:9", "h"},
         "--source with a port and --connect exclude each other; connections that overlap need a "
         "port each: write the address alone"},
        {{"--connect", "--flows", "2", "-i", "10ms", "h"},
         "--connect --flows 2: a port comes round every 20ms, so that -W is 18ms at most, not "
         "500ms; raise -i or --flows, or lower -W"},
        {{"--flows", "2", "-s", "1201", "h"},
         "--flows over TCP: probes of at most 1200 bytes, not 1201, so that each is a segment, "
         "which "
         "is lost or not; for larger ones choose UDP (-u)"},
        {{"--reconnect", "--flows", "2", "h"},
         "--flows and --reconnect exclude each other; a flow over TCP is one connection, or with "
         "--connect one for each probe"},
        {{"--mtu", "--live", "-u", "h"},
         "--mtu and --live exclude each other; the search chooses sizes and pace itself"},
        {{"--mtu", "--alive", "-u", "h"},
         "--mtu and --alive exclude each other; the search chooses sizes and pace itself"},
        {{"-D", "--live", "h"},
         "-D and --live exclude each other; there are no lines for the time to stand in front of"},
        {{"-D", "--json-lines", "h"},
         "-D and --json-lines exclude each other; there are no lines for the time to stand in "
         "front of"},
        {{"--alive", "--unreachable", "h"},
         "--alive and --unreachable exclude each other; run both, or take -j"},
        {{"--alive", "-j", "h"},
         "--alive and -j exclude each other; a list of endpoints is all that is printed"},
        {{"--unreachable", "--live", "h"},
         "--unreachable and --live exclude each other; a list of endpoints is all that is printed"},
        {{"--unreachable", "--every", "2s", "h"},
         "--unreachable and --every exclude each other; a list of endpoints is all that is "
         "printed"},
        {{"--alive", "--fail-if", "loss>1%", "h"},
         "--alive and --fail-if exclude each other; a list of endpoints is all that is printed"},
        {{"--all-addresses", "--resolve-every", "1m", "h"},
         "--all-addresses and --resolve-every exclude each other; the addresses are those that a "
         "name has at the start"},
        {{"--resolve-every", "1m", "--flows", "2", "-u", "h"},
         "--resolve-every and --flows exclude each other; a name may get another address, and a "
         "port is bound to one"},
        {{"--resolve-every", "0", "h"}, "--resolve-every: must be more than zero"},
        {{"--plot", "f", "10.0.0.0/23"}, "--plot: 510 endpoints, and a picture shows at most 256"},
    };
    for (const auto& [words, message] : cases) {
        std::vector<const char*> all{"ping"};
        all.insert(all.end(), words.begin(), words.end());
        CHECK(refusal(all) == message);
    }
}

TEST_CASE("a list of endpoints is done after four probes, unless the command line says otherwise") {
    CHECK(ping_options({"ping", "--alive", "h"}).count == 4);
    CHECK(ping_options({"ping", "--unreachable", "h"}).listing == Listing::unreachable);
    CHECK(ping_options({"ping", "--alive", "-c", "2", "h"}).count == 2);
    CHECK(!ping_options({"ping", "--alive", "-w", "2s", "h"}).count);
}

TEST_CASE("ping's numbers have limits") {
    const std::vector<std::pair<std::vector<const char*>, std::string>> cases{
        {{"-c", "0"}, "--count: must be from 1 to 1,000,000,000,000,000"},
        {{"-c", "-1"}, "--count: '-1' is not a whole number"},
        {{"-c", "5x"}, "--count: '5x' is not a whole number"},
        {{"-c", "1.5"}, "--count: '1.5' is not a whole number"},
        {{"-c", ""}, "--count: '' is not a whole number"},
        {{"-c", " 5"}, "--count: ' 5' is not a whole number"},
        {{"-c", "99999999999999999999999"}, "--count: must be from 1 to 1,000,000,000,000,000"},
        {{"-c", "99999999999999999999999x"},
         "--count: '99999999999999999999999x' is not a whole number"},
        {{"-i", "99us"}, "--interval: must be at least 100us; for more, use riposte load"},
        {{"-i", "0"}, "--interval: must be at least 100us; for more, use riposte load"},
        {{"-i", "200500ns"},
         "--interval: '200500ns' is finer than a microsecond; write whole microseconds"},
        {{"-i", "100.5us"},
         "--interval: '100.5us' is finer than a microsecond; write whole microseconds"},
        {{"-i", "1x"},
         "--interval: '1x' has the unknown unit 'x'; the units are ns, us, ms, s, m or h"},
        {{"-w", "0"}, "--deadline: must be more than zero"},
        {{"-w", "x"},
         "--deadline: 'x' is not a duration; write a number with a unit, like 250ms, 10s or 2m"},
        {{"-W", "0"}, "--timeout: must be more than zero"},
        {{"-s", "23"}, "--size: must be at least 24, which the probe's header takes"},
        {{"-s", "65508"}, "--size: must be at most 65,507 bytes"},
        {{"-s", "64KB"},
         "--size: '64KB' has the unknown unit 'KB'; the units are B, KiB, MiB or GiB"},
        {{"--hist", ""}, "--hist: the file's name is empty"},
        {{"--plot", ""}, "--plot: the file's name is empty"},
        {{"--plot", "x", "--hist=x"}, "--hist and --plot name the same file"},
        {{"--plot", "-"},
         "--plot: standard output has the results already; name a file ('--plot ./-' for one that "
         "is called -)"},
        {{"--hist=-"},
         "--hist: standard output has the results already; name a file ('--hist ./-' for one that "
         "is called -)"},
        {{"-j", "--histogram"},
         "-j and --histogram exclude each other; -j prints nothing but JSON"},
        {{"-j", "--json-lines"},
         "-j and --json-lines exclude each other; the last line of --json-lines is what -j prints"},
        {{"-j", "--every=1"},
         "-j and --every exclude each other; --json-lines prints intervals as JSON, too"},
        {{"--json-lines", "--histogram"},
         "--json-lines and --histogram exclude each other; --json-lines prints nothing but JSON"},
        {{"--live", "-j"}, "--live and -j exclude each other; both need standard output"},
        {{"--live", "--json-lines"},
         "--live and --json-lines exclude each other; both need standard output"},
        {{"--live", "--every=1"},
         "--live and --every exclude each other; both need standard output"},
        {{"--every=99ms"}, "--every: must be at least 100ms"},
        {{"--every", "0"}, "--every: must be more than zero"},
        {{"--every=500ms"},
         "--every 500ms is shorter than the time between probes, 1s; shorten -i, or raise "
         "--every"}};
    for (const auto& [words, message] : cases) {
        std::vector<const char*> line{"ping", "host"};
        line.insert(line.end(), words.begin(), words.end());
        CHECK(refusal(line) == message);
    }
    CHECK(ping_options({"ping", "-i", "100us", "h"}).interval_us == 100);
    CHECK(ping_options({"ping", "-s", "65507", "h"}).payload_bytes == 65507);
    CHECK(ping_options({"ping", "-c", "1000000000000000", "h"}).count == 1'000'000'000'000'000);
}

TEST_CASE("the number of probes that can wait at once is bounded, over all endpoints") {
    // 2^19 is the limit.
    CHECK(ping_options({"ping", "-i", "1ms", "-W", "524288ms", "h"}).interval_us == 1000);
    CHECK(
        refusal({"ping", "-i", "1ms", "-W", "524289ms", "h"}) ==
        "--interval 1ms and --timeout 524289ms: 524,289 probes could wait at once, and 524,288 "
        "may; raise -i or lower -W");
    CHECK(
        refusal({"ping", "-i", "100us", "-W", "1m", "h"}) ==
        "--interval 100us and --timeout 1m: 600,000 probes could wait at once, and 524,288 may; "
        "raise -i or lower -W");
    CHECK(ping_options({"ping", "-i", "1ms", "-W", "262144ms", "a", "b"}).endpoints.size() == 2);
    CHECK(
        refusal({"ping", "-i", "1ms", "-W", "262144ms", "a", "b", "c"}) ==
        "--interval 1ms and --timeout 262144ms: 786,432 probes could wait at once, and 524,288 "
        "may; raise -i or lower -W");
}

TEST_CASE("a fault in --fail-if is refused with its column") {
    CHECK(
        refusal({"ping", "--fail-if", "p99>2ms, loss>0.1", "h"}) ==
        "--fail-if 'p99>2ms, loss>0.1', column 15: '0.1' has no %; write loss>0.1%");
    CHECK(
        refusal({"load", "--fail-if=p9x>2ms", "h"}) ==
        "--fail-if 'p9x>2ms', column 1: unknown metric 'p9x'; did you mean p99?");
    CHECK(
        refusal({"load", "--fail-if", "", "h"}) ==
        "--fail-if '', column 1: no condition; write one like p99>2ms or loss>0.1%");
}

TEST_CASE("a condition on a metric that the command never measures is refused") {
    CHECK(
        refusal({"ping", "--fail-if", "connect.p99>1ms", "tcp://a", "udp://b"}) ==
        "--fail-if connect.p99>1ms: udp://b:7001 makes no connection");
    CHECK(
        refusal({"load", "-u", "--fail-if", "connect.max>1ms", "a"}) ==
        "--fail-if connect.max>1ms: udp://a:7001 makes no connection");
    CHECK(
        refusal({"ping", "-u", "--fail-if", "retransmits>0", "a"}) ==
        "--fail-if retransmits>0: udp://a:7001 makes no connection");
    CHECK(
        refusal({"load", "--fail-if", "jitter>1ms", "a"}) ==
        "--fail-if jitter>1ms: jitter is measured by riposte ping only");
    for (const char* const metric : {"ipdv.p95", "pdv.max", "rfc3550_jitter"}) {
        const std::string condition = std::string(metric) + ">1ms";
        CHECK(
            refusal({"load", "--fail-if", condition.c_str(), "a"}) ==
            "--fail-if " + condition + ": " + metric + " is measured by riposte ping only");
    }
    CHECK(
        refusal({"ping", "--fail-if", "wait.p99>1ms", "a"}) ==
        "--fail-if wait.p99>1ms: wait.p99 is measured by riposte load only");
    CHECK(
        refusal({"load", "--fail-if", "lateness.p99>1ms", "a"}) ==
        "--fail-if lateness.p99>1ms: lateness.p99 is measured with -r only");
    CHECK(
        refusal({"load", "-u", "-r", "9", "--fail-if", "wait.max>1ms", "a"}) ==
        "--fail-if wait.max>1ms: over UDP nothing waits for a connection");
    CHECK(
        load_options({"load", "-r", "9", "--fail-if", "wait.p99>1ms,lateness.max>1ms", "a"})
            .report.fail_if.size() == 2);
    CHECK(load_options({"load", "-u", "--fail-if", "late > 0", "a"}).report.fail_if.size() == 1);
    CHECK(ping_options({"ping", "--fail-if", "connect.p99>1ms", "a"}).report.fail_if.size() == 1);
    CHECK(
        ping_options({"ping", "-u", "--fail-if", "jitter>1ms,late>0", "a"}).report.fail_if.size() ==
        2);
}

TEST_CASE("--reconnect is for TCP") {
    CHECK(
        refusal({"ping", "--reconnect", "a", "udp://b:9"}) ==
        "--reconnect is for TCP; udp://b:9 makes no connection");
    CHECK(
        refusal({"load", "--reconnect", "-u", "b"}) ==
        "--reconnect is for TCP; udp://b:7001 makes no connection");
}

TEST_CASE("--df is for UDP") {
    CHECK(common_options({"ping", "-u", "--df", "b"}).path.df);
    CHECK(common_options({"load", "-u", "--df", "b"}).path.df);
    CHECK(common_options({"send", "-u", "--df", "b"}).path.df);
    CHECK_FALSE(common_options({"ping", "-u", "b"}).path.df);
    for (const char* command : {"ping", "load", "send"})
        CHECK(
            refusal({command, "--df", "a"}) ==
            "--df is for UDP (-u); over TCP, to tcp://a:7001, data is cut to fit");
    CHECK(
        refusal({"ping", "--df", "udp://b:9", "a"}) ==
        "--df is for UDP (-u); over TCP, to tcp://a:7001, data is cut to fit");
}

TEST_CASE("ping, load and send say where packets go and how they are marked") {
    for (const char* command : {"ping", "load", "send"}) {
        CHECK(common_options({command, "host"}).path == PathOptions{});
        const PathOptions path = common_options({command, "-I", "eth0", "--mark", "0x17", "--dscp",
                                                 "ef", "--ttl", "3", "host"})
                                     .path;
        CHECK(path.interface == "eth0");
        CHECK(path.mark == 23);
        CHECK(path.dscp == 46);
        CHECK(path.ttl == 3);
    }
    CHECK(common_options({"send", "--interface=eth0", "host"}).path.interface == "eth0");
    CHECK(common_options({"send", "--mark", "4294967295", "host"}).path.mark == 0xffff'ffff);
    CHECK(common_options({"send", "--mark", "0XfFffFfFf", "host"}).path.mark == 0xffff'ffff);
    CHECK(refusal({"status", "-I", "eth0"}) == "unknown option '-I'; see 'riposte status --help'");
}

TEST_CASE("a traffic class is a name or a number") {
    const auto dscp = [](const char* word) {
        return common_options({"send", "--dscp", word, "host"}).path.dscp;
    };
    CHECK(dscp("be") == 0);
    CHECK(dscp("CS0") == 0);
    CHECK(dscp("cs7") == 56);
    CHECK(dscp("le") == 1);
    CHECK(dscp("va") == 44);
    CHECK(dscp("AF43") == 38);
    CHECK(dscp("0") == 0);
    CHECK(dscp("63") == 63);
    CHECK(dscp("0x2e") == 46);
    for (const char* bad : {"64", "-1", "cs8", "af14", "af44", "", "e", "0x", "46 "})
        CHECK(
            refusal({"send", "--dscp", bad, "host"}) ==
            fmt::format(
                "--dscp: '{}' is none of be, le, cs0 to cs7, af11 to af43, ef, va, and no number "
                "from 0 to 63",
                bad));
}

TEST_CASE("a bad interface, mark or hop limit is refused") {
    for (const char* bad : {"", "sixteen-letters1"})
        CHECK(
            refusal({"ping", "-I", bad, "host"}) ==
            fmt::format(
                "--interface '{}': a name of an interface has 1 to 15 bytes (`ip link` lists them)",
                bad));
    for (const char* bad : {"4294967296", "-1", "0x100000000", "", "0x", "1k"})
        CHECK(
            refusal({"ping", "--mark", bad, "host"}) ==
            fmt::format(
                "--mark: '{}' is not a number from 0 to 4294967295; write it like 23 or 0x17",
                bad));
    CHECK(refusal({"ping", "--ttl", "0", "host"}) == "--ttl: must be from 1 to 255");
    CHECK(refusal({"ping", "--ttl", "256", "host"}) == "--ttl: must be from 1 to 255");
}

TEST_CASE("--flows is for one endpoint, with as many ports as there are") {
    CHECK(ping_options({"ping", "-u", "b"}).flows == 0);
    CHECK(ping_options({"ping", "-u", "--flows", "256", "b"}).flows == 256);
    CHECK(refusal({"ping", "-u", "--flows", "0", "b"}) == "--flows: must be from 1 to 256");
    CHECK(ping_options({"ping", "--flows", "50000-50003", "b"}).flows == 4);
    CHECK(common_options({"ping", "--flows", "50000-50003", "b"}).path.source_port == 50'000);
    CHECK(ping_options({"ping", "-u", "--flows", "9-9", "b"}).flows == 1);
    for (const char* wrong : {"5-4", "1000-1256"})
        CHECK(
            refusal({"ping", "--flows", wrong, "b"}) ==
            std::string("--flows ") + wrong +
                ": write the lowest port first, and at most 256 ports");
    CHECK(refusal({"ping", "--flows", "0-4", "b"}).starts_with("--flows, the first port: must be"));
    CHECK(refusal({"ping", "--flows", "7-", "b"}).starts_with("--flows, the last port: "));
    CHECK(
        refusal({"ping", "--flows", "5-6", "--source", "127.0.0.1:9", "b"}) ==
        "--flows FIRST-LAST and --source with a port exclude each other; both say where the ports "
        "begin");
    CHECK(refusal({"ping", "-u", "--flows", "257", "b"}) == "--flows: must be from 1 to 256");
    CHECK(
        refusal({"ping", "-u", "--flows", "2", "a", "b"}) ==
        "--flows is for one ENDPOINT; start a riposte for each");
    CHECK(ping_options({"ping", "--flows", "2", "b"}).flows == 2);
    CHECK(common_options({"ping", "--flows", "2", "b"}).timeout_ms == 5000);
    CHECK(common_options({"ping", "--connect", "--flows", "2", "b"}).timeout_ms == 1800);
    CHECK(common_options({"ping", "--connect", "--flows", "9", "b"}).timeout_ms == 5000);
    CHECK(ping_options({"ping", "--connect", "--flows", "2", "--source", "::1", "b"}).flows == 2);
    CHECK(
        ping_options({"ping", "--connect", "--flows", "2", "--source", "[::1]:50000", "b"}).flows ==
        2);
    CHECK(ping_options({"ping", "-u", "--flows", "3", "--source", "::1", "b"}).flows == 3);
    CHECK(ping_options({"ping", "-u", "--flows", "3", "--source", "[::1]:65533", "b"}).flows == 3);
    CHECK(
        refusal({"ping", "-u", "--flows", "3", "--source", "[::1]:65534", "b"}) ==
        "--flows 3: from port 65534 on there are only 2; begin lower with --source ADDR:PORT");
}

TEST_CASE("--mtu is for UDP, and chooses sizes and pace itself") {
    CHECK(ping_options({"ping", "--mtu", "-q", "-j", "-W", "2s", "udp://a", "udp://b"}).mtu);
    CHECK(
        refusal({"ping", "--mtu", "udp://a", "b"}) ==
        "--mtu is for UDP (-u); over TCP, to tcp://b:7001, the kernel cuts data to fit");
    for (const char* other :
         {"-c5", "-i1", "-w9", "-s99", "-D", "--every=9", "--json-lines", "--flows=2",
          "--histogram", "--hist=a", "--plot=a", "--fail-if=loss>1%"}) {
        std::string name = other;
        name.resize(std::min(name.find('='), name[1] == '-' ? name.size() : 2));
        CHECK(
            refusal({"ping", "-u", "--mtu", other, "a"}) ==
            fmt::format(
                "--mtu and {} exclude each other; the search chooses sizes and pace itself", name));
    }
}

TEST_CASE("the source may have a port, where one connection at a time needs it") {
    const auto source = [](const char* word) {
        const PathOptions path = common_options({"send", "--source", word, "host"}).path;
        return fmt::format("{} {}", path.source, path.source_port);
    };
    CHECK(source("127.0.0.2:5000") == "127.0.0.2 5000");
    CHECK(source("[::1]:5000") == "::1 5000");
    CHECK(source("[fe80::1%eth0]:1") == "fe80::1%eth0 1");
    CHECK(source("fe80::1") == "fe80::1 0");
    CHECK(
        refusal({"send", "--source", "127.0.0.2:0", "host"}) ==
        "--source, the port: must be from 1 to 65,535");
    CHECK(
        refusal({"send", "--source", "127.0.0.2:", "host"}) ==
        "--source, the port: '' is not a whole number");
    CHECK(
        refusal({"status", "--source", "127.0.0.2:5000"}) ==
        "--source '127.0.0.2:5000', column 10: a port cannot be chosen; write the address alone");
    CHECK(common_options({"load", "-c", "1", "--source", "127.0.0.2:5000", "a"}).path.source_port);
    CHECK(common_options({"ping", "--source", "127.0.0.2:5000", "a", "b"}).path.source_port);
    for (const auto& line : std::vector<std::vector<const char*>>{
             {"load", "--source", "127.0.0.2:5000", "a"},
             {"load", "-u", "-c", "2", "--source", "127.0.0.2:5000", "a"},
             {"load", "-c", "1", "--reconnect", "--source", "127.0.0.2:5000", "a"},
             {"ping", "--reconnect", "--source", "127.0.0.2:5000", "a"},
             {"ping", "-u", "--source", "127.0.0.2:5000", "a", "b"}})
        CHECK(refusal(line).find("write the address alone") != std::string::npos);
}

TEST_CASE("load runs ten connections for ten seconds in a closed loop, by default") {
    const LoadOptions load = load_options({"load", "localhost"});
    CHECK(load.endpoint == Endpoint{Transport::tcp, "localhost", 7001});
    CHECK(load.connections == 10);
    CHECK(load.duration_ms == 10'000);
    CHECK_FALSE(load.count.has_value());
    CHECK_FALSE(load.rate.has_value());
    CHECK(load.payload_bytes == 64);
    CHECK(load.depth == 1);
    CHECK(load.warmup_ms == 1000);
    CHECK_FALSE(load.reconnect);
    CHECK(load.verify);
    CHECK(common_options({"load", "localhost"}).timeout_ms == 5000);
}

TEST_CASE("load takes the value of each option") {
    const LoadOptions load =
        load_options({"load",     "-c",        "50",     "-d",          "5s",   "-n",
                      "1000",     "-r",        "2500.5", "-s",          "1KiB", "--depth",
                      "8",        "--warmup",  "250ms",  "--no-verify", "-j",   "--hist=h",
                      "--plot=p", "--fail-if", "rate<1", "tcp://h"});
    CHECK(load.endpoint == Endpoint{Transport::tcp, "h", 7001});
    CHECK(load.connections == 50);
    CHECK(load.duration_ms == 5000);
    CHECK(load.count == 1000);
    CHECK(load.rate == 2500.5);
    CHECK(load.payload_bytes == 1024);
    CHECK(load.depth == 8);
    CHECK(load.warmup_ms == 250);
    CHECK_FALSE(load.verify);
    CHECK(load.report.json);
    CHECK(load.report.histogram_file == "h");
    CHECK(load.report.plot_file == "p");
    CHECK(load.report.fail_if.size() == 1);
    const LoadOptions spelled = load_options(
        {"load", "--connections=1", "--duration=1", "--count=1", "--rate=1", "--size=1", "--json",
         "h"});
    CHECK(spelled.connections == 1);
    CHECK(spelled.duration_ms == 1000);
    CHECK(spelled.count == 1);
    CHECK(spelled.rate == 1);
    CHECK(spelled.payload_bytes == 1);
    CHECK(spelled.report.json);
}

TEST_CASE("a count alone sets no duration and needs no warm-up") {
    const LoadOptions alone = load_options({"load", "-n", "1000", "h"});
    CHECK(alone.duration_ms == 0);
    CHECK(alone.warmup_ms == 0);
    const LoadOptions both = load_options({"load", "-n", "1000", "-d", "2s", "h"});
    CHECK(both.duration_ms == 2000);
    CHECK(both.warmup_ms == 200);
    CHECK(load_options({"load", "-n", "1000", "--warmup", "2s", "h"}).warmup_ms == 2000);
    const LoadOptions endless = load_options({"load", "-d", "0", "h"});
    CHECK(endless.duration_ms == 0);
    CHECK(endless.warmup_ms == 1000);
}

TEST_CASE("the warm-up is a tenth of the duration, at most a second") {
    CHECK(load_options({"load", "-d", "2s", "h"}).warmup_ms == 200);
    CHECK(load_options({"load", "-d", "5ms", "h"}).warmup_ms == 0);
    CHECK(load_options({"load", "-d", "1h", "h"}).warmup_ms == 1000);
    CHECK(load_options({"load", "-d", "1h", "--warmup=0", "h"}).warmup_ms == 0);
    CHECK(load_options({"load", "--warmup=1m", "h"}).warmup_ms == 60'000);
}

TEST_CASE("a rate makes an open loop, with room for late requests") {
    CHECK(load_options({"load", "-r", "10", "h"}).depth == 64);
    CHECK(load_options({"load", "-r", "10", "--depth=2", "h"}).depth == 2);
    CHECK(load_options({"load", "-r", "10", "--reconnect", "h"}).depth == 1);
    CHECK(
        refusal({"load", "-r", "10", "--depth=2", "udp://h"}) ==
        "-r and --depth exclude each other over UDP; an open loop waits for no answer there");
    CHECK(load_options({"load", "--depth=2", "udp://h"}).depth == 2);
    CHECK(load_options({"load", "--reconnect", "--depth", "1", "h"}).reconnect);
    CHECK(
        refusal({"load", "--reconnect", "--depth", "2", "h"}) ==
        "--reconnect and --depth exclude each other; a connection has one request then");
}

TEST_CASE("load's numbers have limits") {
    const std::vector<std::pair<std::vector<const char*>, std::string>> cases{
        {{"-c", "0"}, "--connections: must be from 1 to 100,000"},
        {{"-c", "100001"}, "--connections: must be from 1 to 100,000"},
        {{"-c", "10k"}, "--connections: '10k' is not a whole number"},
        {{"--depth", "0"}, "--depth: must be from 1 to 4,096"},
        {{"--depth", "4097"}, "--depth: must be from 1 to 4,096"},
        {{"-n", "0"}, "--count: must be from 1 to 1,000,000,000,000,000"},
        {{"-n", "1e6"}, "--count: '1e6' is not a whole number"},
        {{"-d", "-1s"}, "--duration: '-1s' is negative; write a duration like 250ms, 10s or 2m"},
        {{"--warmup", "x"},
         "--warmup: 'x' is not a duration; write a number with a unit, like 250ms, 10s or 2m"},
        {{"-r", "0"}, "--rate: must be from 0.001 to 100000000"},
        {{"-r", "0.0009"}, "--rate: must be from 0.001 to 100000000"},
        {{"-r", "100000001"}, "--rate: must be from 0.001 to 100000000"},
        {{"-r", "-5"}, "--rate: '-5' is not a number; write requests a second, like 5000 or 0.5"},
        {{"-r", "1e3"}, "--rate: '1e3' is not a number; write requests a second, like 5000 or 0.5"},
        {{"-r", "5/s"}, "--rate: '5/s' is not a number; write requests a second, like 5000 or 0.5"},
        {{"-s", "0"}, "--size: must be at least 1"},
        {{"-s", "16777217"}, "--size: must be at most 16,777,216 bytes"},
        {{"-u", "-s", "23"}, "--size: must be at least 24, which the probe's header takes"},
        {{"-u", "-s", "65508"}, "--size: must be at most 65,507 bytes"},
        {{"--json-lines"},
         "--json-lines needs --every with load: a line for each interval, not for each request"},
        {{"-j", "--histogram"},
         "-j and --histogram exclude each other; -j prints nothing but JSON"}};
    for (const auto& [words, message] : cases) {
        std::vector<const char*> line{"load", "host"};
        line.insert(line.end(), words.begin(), words.end());
        CHECK(refusal(line) == message);
    }
    CHECK(load_options({"load", "-s", "16MiB", "h"}).payload_bytes == 16'777'216);
    CHECK(load_options({"load", "-u", "-s", "65507", "h"}).payload_bytes == 65507);
    CHECK(load_options({"load", "-c", "100000", "--depth=4096", "h"}).depth == 4096);
    CHECK(load_options({"load", "-r", "0.001", "h"}).rate == 0.001);
}

TEST_CASE("load takes one endpoint") {
    CHECK(
        refusal({"load"}) ==
        "no ENDPOINT; try 'riposte load localhost', or see 'riposte load --help'");
    CHECK(
        refusal({"load", ""}) ==
        "no ENDPOINT; try 'riposte load localhost', or see 'riposte load --help'");
    CHECK(
        refusal({"load", "a", "b"}) ==
        "unexpected operand 'b'; quote what has spaces, or see 'riposte load --help'");
    CHECK(load_options({"load", "--", "[::1]"}).endpoint.host == "::1");
    CHECK(
        refusal({"load", "-u", "tcp://h"}) ==
        "-u and tcp:// contradict each other; leave one of them out");
}

TEST_CASE("status asks at the given address, or at the usual places") {
    StatusOptions status = status_options({"status"});
    CHECK(status.usual_places);
    REQUIRE(status.places.size() == 2);
    CHECK(status.places[0].path == "/run/riposte/metrics.sock");
    CHECK(to_string(status.places[1].endpoint) == "tcp://127.0.0.1:9701");
    CHECK_FALSE(status.watch);
    CHECK(status.interval_ms == 2000);

    status = status_options({"status", "-j", "-w", "-i", "500ms", "unix:/tmp/x.sock"});
    CHECK_FALSE(status.usual_places);
    REQUIRE(status.places.size() == 1);
    CHECK(status.places[0].path == "/tmp/x.sock");
    CHECK(status.json);
    CHECK(status.watch);
    CHECK(status.interval_ms == 500);

    CHECK(to_string(status_options({"status", "[::1]"}).places[0].endpoint) == "tcp://[::1]:9701");
    CHECK(to_string(status_options({"status", "a:80"}).places[0].endpoint) == "tcp://a:80");
    CHECK(refusal({"status", "unix:x"}) == "endpoint 'unix:x': write unix:/PATH");
    CHECK(
        refusal({"status", ("unix:/" + std::string(107, 'x')).c_str()}).find("at most 107 bytes") !=
        std::string::npos);
    CHECK(
        refusal({"status", "udp://a"}) ==
        "endpoint 'udp://a': metrics are asked for over TCP, or unix:/PATH");
    CHECK(refusal({"status", "-i", "1s"}) == "--interval is for --watch");
    CHECK(refusal({"status", "-w", "-i", "0"}) == "--interval: must be more than zero");
    CHECK(refusal({"status", "-u", "a"}) == "unknown option '-u'; see 'riposte status --help'");
}

TEST_CASE("colour: the option decides, else NO_COLOR, the terminal and its type") {
    CHECK(wants_color(Color::always, false, "1", nullptr));
    CHECK_FALSE(wants_color(Color::never, true, nullptr, "xterm"));
    CHECK(wants_color(Color::automatic, true, nullptr, "xterm"));
    CHECK(wants_color(Color::automatic, true, "", "xterm"));
    CHECK_FALSE(wants_color(Color::automatic, true, "1", "xterm"));
    CHECK_FALSE(wants_color(Color::automatic, false, nullptr, "xterm"));
    CHECK_FALSE(wants_color(Color::automatic, true, nullptr, "dumb"));
    CHECK_FALSE(wants_color(Color::automatic, true, nullptr, nullptr));
}

TEST_CASE("one byte is in the singular") {
    CHECK(byte_count(0) == "0 bytes");
    CHECK(byte_count(1) == "1 byte");
    CHECK(byte_count(18) == "18 bytes");
}

TEST_CASE("the reason fits into the middle of a line") {
    CHECK(reason(ECONNREFUSED) == "connection refused");
    CHECK(reason(ENOSPC) == "no space left on device");
    CHECK(reason(EDOTDOT) == "RFS specific error");
}

TEST_CASE("riposte probe serves where --listen says, and nowhere by default") {
    const auto served = parse(
        {"probe", "--listen", "tcp://127.0.0.1:9702", "--listen=unix:/run/p.sock", "--for", "1s"});
    REQUIRE(served.has_value());
    const auto& listen = std::get<ProbeOptions>(served->command).listen;
    REQUIRE(listen.size() == 2);
    CHECK(to_string(listen[0]) == "tcp://127.0.0.1:9702");
    CHECK(to_string(listen[1]) == "unix:/run/p.sock");
    const auto silent = parse({"probe"});
    REQUIRE(silent.has_value());
    CHECK(std::get<ProbeOptions>(silent->command).listen.empty());

    const auto fault = [](const char* address) {
        const auto options = parse({"probe", "--listen", address});
        return options ? "" : options.error().message;
    };
    CHECK(fault("unix:p.sock").starts_with("--listen: 'p.sock' is no absolute path"));
    CHECK(fault("udp://127.0.0.1:9702")
              .starts_with("--listen: 'udp://127.0.0.1:9702' is no address"));
    const auto check = parse({"probe", "--check", "--listen", "tcp://127.0.0.1:9702"});
    REQUIRE(!check.has_value());
    CHECK(
        check.error().message.find("leave out --for, --listen, -j and --fail-if") !=
        std::string::npos);
}
