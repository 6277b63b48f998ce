// The command line of riposte(1): what each word means, and what is refused with which line.
#include "client/options.h"
#include "client/report.h"

#include <algorithm>
#include <cerrno>
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte;
using namespace riposte::client;

namespace {

Result<Options> parse(const std::vector<const char*>& words) {
    std::vector<const char*> argv(words.size() + 1, "riposte");
    std::ranges::copy(words, argv.begin() + 1);
    return parse_options(static_cast<int>(argv.size()), argv.data());
}

/// The options of a command line that must be right.
SendOptions send_options(const std::vector<const char*>& words) {
    const auto options = parse(words);
    REQUIRE_MESSAGE(options.has_value(), options.error().message);
    REQUIRE(std::holds_alternative<SendOptions>(options->command));
    return std::get<SendOptions>(options->command);
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

TEST_CASE("-u makes it UDP, also where the scheme says so already") {
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

TEST_CASE("a message that begins with a dash stands after --") {
    CHECK(send_options({"send", "host", "--", "-v"}).message == "-v");
    CHECK(send_options({"send", "--", "host", "-v"}).message == "-v");
    CHECK(send_options({"send", "host", "--", "--"}).message == "--");
    CHECK(
        refusal({"send", "host", "hi", "--", "-v"}) == "unknown option '-v'; see 'riposte --help'");
    CHECK(refusal({"send", "host", "-x"}) == "unknown option '-x'; see 'riposte send --help'");
}

TEST_CASE("a dash alone is standard input") {
    CHECK(send_options({"send", "host", "-"}).message_from_input);
    CHECK_FALSE(send_options({"send", "host", "--", "x-"}).message_from_input);
    CHECK_FALSE(send_options({"send", "host"}).message_from_input);
}

TEST_CASE("options stand before and after the operands") {
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

TEST_CASE("a timeout that is none is refused") {
    CHECK(refusal({"send", "-W", "0", "host"}) == "--timeout: must be more than zero");
    CHECK(
        refusal({"send", "-W", "soon", "host"}) ==
        "--timeout: 'soon' is not a duration; write a number with a unit, like 250ms, 10s or 2m");
    CHECK(refusal({"send", "host", "-W"}).starts_with("--timeout: "));
}

TEST_CASE("-4 and -6 choose the family and exclude each other") {
    CHECK(common_options({"send", "host"}).family == Family::any);
    CHECK(common_options({"send", "-4", "host"}).family == Family::ipv4);
    CHECK(common_options({"send", "host", "-6"}).family == Family::ipv6);
    CHECK(refusal({"send", "-46", "host"}) == "-4 and -6 exclude each other");
}

TEST_CASE("the source is an address, in brackets or not") {
    CHECK(common_options({"send", "host"}).source.empty());
    CHECK(common_options({"send", "--source", "127.0.0.2", "host"}).source == "127.0.0.2");
    CHECK(common_options({"send", "--source=::1", "host"}).source == "::1");
    CHECK(common_options({"send", "--source=[::1]", "host"}).source == "::1");
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

TEST_CASE("a bad endpoint is told with its column") {
    CHECK(refusal({"send", "tcp://h:99999"}).starts_with("endpoint 'tcp://h:99999', column 9: "));
    CHECK(refusal({"send", "sctp://h"}).starts_with("endpoint 'sctp://h', column 1: "));
    CHECK(refusal({"send", "*"}).starts_with("endpoint '*', column 1: "));
    CHECK(refusal({"send", "host:0"}) == "endpoint 'host:0': nobody listens on port 0");
}

TEST_CASE("a missing endpoint is told with an example") {
    CHECK(
        refusal({"send"}) ==
        "no ENDPOINT; try 'riposte send localhost', or see 'riposte send --help'");
}

TEST_CASE("one word too many is told") {
    CHECK(
        refusal({"send", "host", "hello", "world"}) ==
        "unexpected operand 'world'; quote what has spaces, or see 'riposte send --help'");
}

TEST_CASE("a mistyped option is told with the one that was meant") {
    CHECK(
        refusal({"send", "--timout", "3", "host"}) ==
        "unknown option '--timout'; did you mean --timeout?");
    CHECK(refusal({"send", "--zzz"}) == "unknown option '--zzz'; see 'riposte send --help'");
    CHECK(refusal({"--verison"}) == "unknown option '--verison'; did you mean --version?");
}

TEST_CASE("no command, or a mistyped one, is told with what there is") {
    CHECK(refusal({}) == "no command; try 'riposte send localhost', or see 'riposte --help'");
    CHECK(refusal({"snd", "host"}) == "unknown command 'snd'; did you mean send?");
    CHECK(refusal({"frobnicate"}) == "unknown command 'frobnicate'; see 'riposte --help'");
}

TEST_CASE("--version names the program and its version") {
    CHECK(answer({"--version"}) == "riposte 0.1.0\n");
    CHECK(answer({"send", "--version"}) == "riposte 0.1.0\n");
}

TEST_CASE("--help fits 80 columns and needs nothing else to be right") {
    for (const std::string& text :
         {answer({"--help"}), answer({"-h"}), answer({"send", "--help"}),
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
          "-h, --help", "--version", "ENDPOINT [MESSAGE|-]", "Examples:", "Exit status:"})
        CHECK_MESSAGE(text.find(word) != std::string::npos, word);
    CHECK(answer({"--help"}).find("send") != std::string::npos);
}

TEST_CASE("colour: the option decides, else NO_COLOR, the terminal and its kind") {
    CHECK(wants_color(Color::always, false, "1", nullptr));
    CHECK_FALSE(wants_color(Color::never, true, nullptr, "xterm"));
    CHECK(wants_color(Color::automatic, true, nullptr, "xterm"));
    CHECK(wants_color(Color::automatic, true, "", "xterm"));
    CHECK_FALSE(wants_color(Color::automatic, true, "1", "xterm"));
    CHECK_FALSE(wants_color(Color::automatic, false, nullptr, "xterm"));
    CHECK_FALSE(wants_color(Color::automatic, true, nullptr, "dumb"));
    CHECK_FALSE(wants_color(Color::automatic, true, nullptr, nullptr));
}

TEST_CASE("bytes are counted in the singular too") {
    CHECK(byte_count(0) == "0 bytes");
    CHECK(byte_count(1) == "1 byte");
    CHECK(byte_count(18) == "18 bytes");
}

TEST_CASE("the reason reads as the middle of a line") {
    CHECK(reason(ECONNREFUSED) == "connection refused");
    CHECK(reason(ENOSPC) == "no space left on device");
    CHECK(reason(EDOTDOT) == "RFS specific error");
}
