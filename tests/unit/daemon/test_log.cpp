#include "build_features.h"
#include "common/fd.h"
#include "daemon/log/log.h"
#include "tests/support/child.h"
#include "tests/support/patience.h"
#include "tests/support/skip.h"

#include <functional>
#include <thread>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

using namespace riposte;

namespace {

/// Redirects standard error to a file and returns its contents.
std::string stderr_of(const std::function<void()>& body) {
    return test::in_child([&] {
        test::forget_service_manager();
        const int file = ::memfd_create("stderr", 0);
        ::fcntl(file, F_SETFL, O_APPEND);
        ::dup2(file, STDERR_FILENO);
        body();
        std::string text(1 << 20, '\0');
        const ssize_t size = ::pread(file, text.data(), text.size(), 0);
        text.resize(size > 0 ? static_cast<size_t>(size) : 0);
        return text;
    });
}

const char* name_of(log::Sink sink) {
    switch (sink) {
    case log::Sink::none:
        return "none";
    case log::Sink::plain:
        return "plain";
    case log::Sink::prefixed:
        return "prefixed";
    case log::Sink::journal:
        return "journal";
    }
    return "?";
}

std::string stderr_identity() {
    struct stat status{};
    ::fstat(STDERR_FILENO, &status);
    return fmt::format("{}:{}", status.st_dev, status.st_ino);
}

/// The sink that open() selects after `prepare`.
std::string chosen_sink(const std::function<void()>& prepare) {
    return stderr_of([&] {
        prepare();
        log::open();
        ::dprintf(STDERR_FILENO, "%s", name_of(log::sink()));
    });
}

} // namespace

TEST_CASE("log levels have the names of the configuration and the numbers of syslog") {
    CHECK(to_string(LogLevel::error) == "error");
    CHECK(to_string(LogLevel::warning) == "warning");
    CHECK(to_string(LogLevel::info) == "info");
    CHECK(to_string(LogLevel::debug) == "debug");
    for (const LogLevel level :
         {LogLevel::error, LogLevel::warning, LogLevel::info, LogLevel::debug})
        CHECK((parse_log_level(to_string(level)) == level));
    for (const char* text : {"", "Error", "warn", "notice", "7", "info "}) {
        CAPTURE(text);
        CHECK_FALSE(parse_log_level(text).has_value());
    }
    CHECK(static_cast<int>(LogLevel::error) == 3);
    CHECK(static_cast<int>(LogLevel::debug) == 7);
}

TEST_CASE("plain lines name the program, and mark warnings and errors") {
    const std::string text = stderr_of([] {
        log::open(log::Sink::plain);
        log::set_level(LogLevel::debug);
        log::error(log::Event::stopped, {}, "port {} is taken", 7001);
        log::warning(log::Event::stopped, {}, "falling back");
        log::info(log::Event::stopped, {}, "ready");
        log::debug("{} bytes", 3);
    });
    CHECK(
        text == "riposted: error: port 7001 is taken\n"
                "riposted: warning: falling back\n"
                "riposted: ready\n"
                "riposted: 3 bytes\n");
}

TEST_CASE("prefixed lines carry the priority as sd-daemon(3) has it, and fields are left out") {
    const std::string text = stderr_of([] {
        log::open(log::Sink::prefixed);
        log::set_level(LogLevel::debug);
        log::error(log::Event::stopped, {}, "one");
        log::warning(log::Event::stopped, {}, "two");
        log::info(log::Event::stopped, {}, "three");
        log::debug("four");
        log::write(LogLevel::info, "five", {{"PEER", "127.0.0.1"}});
    });
    CHECK(text == "<3>one\n<4>two\n<6>three\n<7>four\n<6>five\n");
}

TEST_CASE("the level suppresses less urgent messages") {
    CHECK(stderr_of([] {
              log::open(log::Sink::prefixed);
              log::set_level(LogLevel::warning);
              log::error(log::Event::stopped, {}, "shown");
              log::warning(log::Event::stopped, {}, "shown");
              log::info(log::Event::stopped, {}, "kept back");
              log::debug("kept back");
              log::write(LogLevel::info, "kept back");
              log::set_level(LogLevel::info);
              log::info(log::Event::stopped, {}, "shown");
          }) == "<3>shown\n<4>shown\n<6>shown\n");
}

TEST_CASE("nothing is enabled and nothing is written without a sink") {
    CHECK(stderr_of([] {
              log::open(log::Sink::none);
              log::error(log::Event::stopped, {}, "lost");
              log::write(LogLevel::error, "lost");
              if (log::enabled(LogLevel::error))
                  ::dprintf(STDERR_FILENO, "enabled");
          }).empty());
}

TEST_CASE("a message is one line, whatever it contains") {
    CHECK(stderr_of([] {
              log::open(log::Sink::plain);
              log::info(
                  log::Event::stopped, {}, "a\nriposted: forged\r\t\x1b[31m\x7f\\n \u00fc{}",
                  std::string(1, '\0'));
          }) == "riposted: a\\nriposted: forged\\r\\t\\x1b[31m\\x7f\\n \u00fc\\x00\n");
}

/// Runs `body` with a pipe that is not read as standard error; `body` also gets the reading end.
std::string pipe_of(const std::function<void(int)>& body) {
    return test::in_child([&] {
        test::forget_service_manager();
        // A log that waits for a reader would wait forever.
        ::alarm(static_cast<unsigned>(test::patience_ms() / 1000));
        int ends[2];
        if (::pipe2(ends, O_CLOEXEC) != 0)
            return std::string("no pipe");
        ::dup2(ends[1], STDERR_FILENO);
        body(ends[0]);
        std::string text(1 << 20, '\0');
        const ssize_t size = ::read(ends[0], text.data(), text.size());
        text.resize(size > 0 ? static_cast<size_t>(size) : 0);
        return text;
    });
}

void read_all(int pipe) {
    std::string text(1 << 20, '\0');
    REQUIRE(::read(pipe, text.data(), text.size()) > 0);
}

TEST_CASE("the log does not wait for a full pipe: lines are dropped and counted, reported once") {
    constexpr int lines = 5000;
    size_t taken = 0;
    const std::string text = pipe_of([&](int end) {
        log::open(log::Sink::plain);
        for (int i = 0; i < lines; ++i)
            log::info(log::Event::stopped, {}, "{}", std::string(100, 'x')); // 111 bytes a line
        read_all(end);
        log::info(log::Event::stopped, {}, "after");
        log::info(log::Event::stopped, {}, "and again");
    });
    // A pipe holds 64 KiB in pages; only whole lines go in.
    const std::string tail = " lines of the log were lost: not read in time\n"
                             "riposted: after\nriposted: and again\n";
    CAPTURE(text);
    REQUIRE(text.ends_with(tail));
    const std::string head = "riposted: warning: ";
    REQUIRE(text.starts_with(head));
    taken = std::stoul(text.substr(head.size()));
    CHECK(taken > 4000);
    CHECK(taken < lines);
    CHECK(text == head + std::to_string(taken) + tail);
}

TEST_CASE("a line longer than an atomic write to a pipe does not run into the next one") {
    const std::string text = pipe_of([&](int end) {
        log::open(log::Sink::plain);
        log::info(log::Event::stopped, {}, "{}", std::string(100'000, 'x'));
        read_all(end);
        log::info(log::Event::stopped, {}, "after");
    });
    CHECK(
        text == "\nriposted: warning: 1 line of the log was lost: not read in time\n"
                "riposted: after\n");
}

TEST_CASE("threads do not mix their lines") {
    constexpr int threads = 4;
    constexpr int lines = 200;
    const std::string text = stderr_of([] {
        log::open(log::Sink::plain);
        std::vector<std::thread> writers;
        writers.reserve(threads);
        for (int i = 0; i < threads; ++i) {
            writers.emplace_back([i] {
                for (int line = 0; line < lines; ++line)
                    log::info(
                        log::Event::stopped, {}, "{}",
                        std::string(100, static_cast<char>('a' + i)));
            });
        }
        for (std::thread& writer : writers)
            writer.join();
    });
    std::vector<int> seen(threads, 0);
    std::string_view rest = text;
    while (!rest.empty()) {
        const size_t end = rest.find('\n');
        REQUIRE(end != std::string_view::npos);
        const std::string line(rest.substr(0, end));
        rest.remove_prefix(end + 1);
        REQUIRE(line.size() == 110);
        const int writer = line[10] - 'a';
        REQUIRE(writer >= 0);
        REQUIRE(writer < threads);
        REQUIRE(line == "riposted: " + std::string(100, line[10]));
        ++seen[static_cast<size_t>(writer)];
    }
    for (const int count : seen)
        CHECK(count == lines);
}

TEST_CASE("without a service manager the sink is plain") {
    CHECK(chosen_sink([] {}) == "plain");
}

TEST_CASE("each sign of a service manager makes the sink prefixed") {
    for (const char* name : {"INVOCATION_ID", "NOTIFY_SOCKET"}) {
        CAPTURE(name);
        CHECK(chosen_sink([name] { test::set_environment(name, "x"); }) == "prefixed");
    }
    SUBCASE("a journal that is not connected to standard error") {
        for (const char* stream : {"1:1", "", "x", "99999999999999999999:1"}) {
            CAPTURE(stream);
            CHECK(chosen_sink([stream] {
                      test::set_environment("JOURNAL_STREAM", stream);
                  }) == "prefixed");
        }
    }
}

TEST_CASE("a journal that is connected to standard error gets native entries") {
    const char* const expected = RIPOSTE_HAVE_SYSTEMD ? "journal" : "prefixed";
    CHECK(chosen_sink([] {
              test::set_environment("JOURNAL_STREAM", stderr_identity());
          }) == expected);
    CHECK(chosen_sink([] {
              test::set_environment("INVOCATION_ID", "0123456789abcdef0123456789abcdef");
              test::set_environment("JOURNAL_STREAM", stderr_identity());
          }) == expected);
}

TEST_CASE("a terminal gets plain lines, whatever the environment") {
    const std::string text = test::in_child([]() -> std::string {
        test::forget_service_manager();
        test::set_environment("INVOCATION_ID", "x");
        const Fd master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
        char name[64];
        if (::grantpt(master.get()) != 0 || ::unlockpt(master.get()) != 0 ||
            ::ptsname_r(master.get(), name, sizeof name) != 0)
            return "no pseudo-terminal";
        const Fd terminal(::open(name, O_RDWR | O_NOCTTY | O_CLOEXEC));
        if (!terminal)
            return "no pseudo-terminal";
        ::dup2(terminal.get(), STDERR_FILENO);
        log::open();
        return std::string(name_of(log::sink()));
    });
    if (text == "no pseudo-terminal")
        SKIP("no pseudo-terminal can be opened");
    CHECK(text == "plain");
}

TEST_CASE("without its journal the log writes prefixed lines, and none is lost") {
    if (::access("/run/systemd/journal/socket", F_OK) == 0)
        SKIP("a journal exists and would take them");
    CHECK(stderr_of([] {
              log::open(log::Sink::journal);
              log::write(LogLevel::warning, "no journal", {{"PEER", "127.0.0.1"}});
          }) == "<4>no journal\n");
}

#if RIPOSTE_HAVE_SYSTEMD

/// In a private mount namespace: what the test's journal gets from `body`.
std::string journal_of(const std::function<std::string(int journal)>& body) {
    return test::in_child([&]() -> std::string {
        test::forget_service_manager();
        ::alarm(static_cast<unsigned>(test::patience_ms() / 1000));
        if (::unshare(CLONE_NEWNS) != 0 ||
            ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
            ::mount("tmpfs", "/run", "tmpfs", 0, nullptr) != 0 ||
            ::mkdir("/run/systemd", 0755) != 0 || ::mkdir("/run/systemd/journal", 0755) != 0)
            return "not permitted";
        const Fd journal(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        const std::string_view path = "/run/systemd/journal/socket";
        path.copy(address.sun_path, sizeof address.sun_path - 1);
        if (!journal ||
            ::bind(journal.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
            return "bind failed";
        log::open(log::Sink::journal);
        return body(journal.get());
    });
}

std::string next_of(int journal) {
    char bytes[4096];
    const ssize_t size = ::recv(journal, bytes, sizeof bytes, MSG_DONTWAIT);
    return size < 0 ? "" : std::string(bytes, static_cast<size_t>(size));
}

TEST_CASE("the journal gets message, priority, identifier and fields, and no code location") {
    const std::string text = journal_of([](int journal) {
        log::write(LogLevel::warning, "two\nlines", {{"PEER", "127.0.0.1"}, {"SERVICE", "a\nb"}});
        const std::string first = next_of(journal);
        log::info(log::Event::stopped, {{"PEER", "x"}}, "stopped");
        return first + next_of(journal);
    });
    if (text == "not permitted")
        SKIP("a mount namespace needs privileges");
    CHECK(
        text == "MESSAGE=two\\nlines\nPRIORITY=4\nSYSLOG_IDENTIFIER=riposted\nPEER=127.0.0.1\n"
                "SERVICE=a\\nb\n"
                "MESSAGE=stopped\nPRIORITY=6\nSYSLOG_IDENTIFIER=riposted\nMESSAGE_ID=" +
                    std::string(name_of(log::Event::stopped).id) +
                    "\nRIPOSTE_EVENT=stopped\nPEER=x\n");
}

TEST_CASE("the log does not wait for a journal that does not read, and reports the loss later") {
    const std::string text = journal_of([](int journal) {
        constexpr int lines = 5000;
        for (int i = 0; i < lines; ++i)
            log::info(log::Event::stopped, {}, "{}", std::string(100, 'x'));
        int got = 0;
        while (!next_of(journal).empty())
            ++got;
        log::info(log::Event::stopped, {}, "after");
        const std::string lost = next_of(journal);
        const std::string said = fmt::format("MESSAGE={} lines of the log were lost", lines - got);
        return fmt::format(
            "{} {} {}", got > 0 && got < lines, lost.starts_with(said),
            next_of(journal).starts_with("MESSAGE=after\n"));
    });
    if (text == "not permitted")
        SKIP("a mount namespace needs privileges");
    CHECK(text == "true true true");
}

#endif

TEST_CASE("the log works with a closed standard error") {
    CHECK(test::in_child([] {
              test::forget_service_manager();
              ::close(STDERR_FILENO);
              log::open();
              log::error(log::Event::stopped, {}, "lost");
              log::open(log::Sink::journal);
              log::error(log::Event::stopped, {}, "lost");
              return std::string("survived");
          }) == "survived");
}

TEST_CASE("a limit permits a burst in each interval and counts the rest") {
    log::Limit limit(2, 1000);
    uint64_t suppressed = 99;
    CHECK(limit.allow(5000, suppressed));
    CHECK(suppressed == 0);
    CHECK(limit.allow(5000, suppressed));
    CHECK_FALSE(limit.allow(5001, suppressed));
    CHECK(suppressed == 0);
    CHECK_FALSE(limit.allow(5999, suppressed));

    CHECK(limit.allow(6000, suppressed));
    CHECK(suppressed == 2);
    CHECK(limit.allow(6001, suppressed));
    CHECK(suppressed == 0);
    CHECK_FALSE(limit.allow(6999, suppressed));
    CHECK(limit.allow(60000, suppressed));
    CHECK(suppressed == 1);
}

TEST_CASE("a limit works from time zero on") {
    log::Limit limit(1, 1000);
    uint64_t suppressed = 0;
    CHECK(limit.allow(0, suppressed));
    CHECK_FALSE(limit.allow(999, suppressed));
    CHECK(limit.allow(1000, suppressed));
    CHECK(suppressed == 1);
}
