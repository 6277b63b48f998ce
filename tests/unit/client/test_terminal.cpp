// The terminal's width and output.
#include "client/show/terminal.h"
#include "common/fd.h"
#include "tests/support/child.h"

#include <string>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <pty.h>
#include <unistd.h>

using namespace riposte;
using namespace riposte::client;
using test::in_child;
using test::set_environment;
using test::unset_environment;

namespace {

struct Pty {
    Fd master;
    Fd slave;
};

Pty open_pty(unsigned short columns) {
    int master = -1;
    int slave = -1;
    winsize size{};
    size.ws_col = columns;
    size.ws_row = 24;
    REQUIRE(::openpty(&master, &slave, nullptr, nullptr, &size) == 0);
    return {Fd(master), Fd(slave)};
}

std::string width_with_columns(const char* columns) {
    return in_child([&] {
        set_environment("COLUMNS", columns);
        const Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
        return std::to_string(terminal_width(null.get()));
    });
}

/// The bytes that a LiveLine writes to a terminal. A terminal delivers them gradually: a mark after
/// them shows that all have arrived.
template<class Use>
std::string drawn(const char* term, Use use) {
    const Pty pty = open_pty(72);
    return in_child([&] {
        set_environment("TERM", term);
        ::dup2(pty.slave.get(), STDERR_FILENO);
        use();
        constexpr char mark = '\x1e';
        std::string text;
        if (::write(pty.slave.get(), &mark, 1) != 1)
            return text;
        while (!text.ends_with(mark)) {
            char bytes[512];
            const ssize_t size = ::read(pty.master.get(), bytes, sizeof(bytes));
            if (size <= 0)
                return text;
            text.append(bytes, static_cast<size_t>(size));
        }
        text.pop_back();
        return text;
    });
}

} // namespace

TEST_CASE("the width is that of the terminal") {
    CHECK(terminal_width(open_pty(132).slave.get()) == 132);
}

TEST_CASE("without a terminal the width is COLUMNS, else 80") {
    CHECK(width_with_columns("100") == "100");
    for (const char* columns : {"", "0", "-1", "wide", "100x", "1001", "99999999999999999999999"})
        CHECK_MESSAGE(width_with_columns(columns) == "80", columns);
}

TEST_CASE("the character set is the first of LC_ALL, LC_CTYPE and LANG that is set") {
    const auto shown = [](const char* all, const char* ctype, const char* lang) {
        return in_child([&] {
            for (const auto& [name, value] :
                 {std::pair{"LC_ALL", all}, std::pair{"LC_CTYPE", ctype}, std::pair{"LANG", lang}})
                if (value != nullptr)
                    set_environment(name, value);
                else
                    unset_environment(name);
            return std::string(shows_unicode() ? "unicode" : "ascii");
        });
    };
    CHECK(shown("C.UTF-8", nullptr, nullptr) == "unicode");
    CHECK(shown(nullptr, "de_DE.utf8", "C") == "unicode");
    CHECK(shown("", nullptr, "en_GB.UTF-8") == "unicode");
    CHECK(shown("C", "C.UTF-8", "C.UTF-8") == "ascii");
    CHECK(shown(nullptr, nullptr, nullptr) == "ascii");
}

TEST_CASE("a live line is redrawn in place, and erased at the end") {
    CHECK(drawn("xterm", [] {
              LiveLine line;
              line.draw("one");
              line.draw("two");
          }) == "\r\033[Kone\r\033[Ktwo\r\033[K");
}

TEST_CASE("a live line that drew nothing erases nothing") {
    CHECK(drawn("xterm", [] { const LiveLine line; }).empty());
}

TEST_CASE("without a terminal that can erase, nothing is drawn") {
    CHECK(drawn("dumb", [] { LiveLine().draw("one"); }).empty());
    CHECK(in_child([] {
              const Fd file(::open("/dev/null", O_RDWR | O_CLOEXEC));
              ::dup2(file.get(), STDERR_FILENO);
              return std::string(LiveLine().is_shown() ? "shown" : "not shown");
          }) == "not shown");
}
