// The notifications to the service manager, and that the daemon does not wait for one that does not
// read.
#include "build_features.h"
#include "daemon/supervisor/notifier.h"
#include "tests/support/child.h"
#include "tests/support/patience.h"

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <sys/eventfd.h>

using namespace riposte;
using systemd::Notifier;
using systemd::Unsent;

namespace {

std::string texts(Unsent unsent) {
    std::string all;
    for (; !unsent.empty(); unsent.pop())
        all += unsent.front().text + " ";
    return all;
}

} // namespace

TEST_CASE("unsent notifications are merged into the current state") {
    Unsent unsent;
    unsent.add(Unsent::Kind::ready, "ready1");
    unsent.add(Unsent::Kind::status, "status1");
    unsent.add(Unsent::Kind::watchdog, "watchdog");
    unsent.add(Unsent::Kind::other, "remove1");
    unsent.add(Unsent::Kind::status, "status2");
    unsent.add(Unsent::Kind::other, "remove2");
    unsent.add(Unsent::Kind::other, "remove1");
    CHECK(texts(unsent) == "ready1 remove1 status2 remove2 ");
    SUBCASE("a reload comes after earlier messages") {
        for (int i = 0; i < 100; ++i) {
            unsent.add(Unsent::Kind::reloading, "reloading");
            unsent.add(Unsent::Kind::ready, "ready2");
        }
        CHECK(texts(unsent) == "remove1 remove2 reloading ready2 ");
        unsent.add(Unsent::Kind::status, "status3");
        unsent.add(Unsent::Kind::stopping, "stopping");
        CHECK(texts(unsent) == "remove1 remove2 ready2 stopping ");
    }
    SUBCASE("the stop carries the last status") {
        unsent.add(Unsent::Kind::stopping, "stopping1");
        unsent.add(Unsent::Kind::stopping, "stopping2");
        CHECK(texts(unsent) == "ready1 remove1 remove2 stopping2 ");
    }
}

#if RIPOSTE_HAVE_SYSTEMD

namespace {

/// The service manager's socket, and the environment of the processes that it starts.
class Manager {
public:
    Manager() : socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
        test::forget_service_manager();
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        socklen_t size = sizeof(sa_family_t); // autobind: a fresh abstract name
        auto* generic = reinterpret_cast<sockaddr*>(&address);
        if (::bind(socket_.get(), generic, size) != 0)
            return;
        size = sizeof address;
        ::getsockname(socket_.get(), generic, &size);
        test::set_environment(
            "NOTIFY_SOCKET",
            "@" + std::string(address.sun_path + 1, size - sizeof(sa_family_t) - 1));
    }

    /// The received datagrams, each in brackets; descriptors in them are closed.
    std::string read() const {
        std::string text;
        char bytes[4096];
        ssize_t received = 0;
        while ((received = ::recv(socket_.get(), bytes, sizeof bytes, 0)) >= 0)
            text += fmt::format("[{}]", std::string_view(bytes, static_cast<size_t>(received)));
        return text;
    }

    /// Fills its queue with watchdog messages. What one socket may send is limited, too: when even
    /// the first message of a new socket is refused, the queue is full.
    void fill() const {
        constexpr std::string_view message = "WATCHDOG=1";
        sockaddr_un address{};
        socklen_t size = sizeof address;
        auto* generic = reinterpret_cast<sockaddr*>(&address);
        ::getsockname(socket_.get(), generic, &size);
        for (bool took = true; took;) {
            const Fd sender(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
            took = false;
            while (::sendto(sender.get(), message.data(), message.size(), 0, generic, size) > 0)
                took = true;
        }
    }

private:
    Fd socket_;
};

/// The messages that the manager reads while `body` runs.
std::string notified(const std::function<void(Notifier&)>& body) {
    return test::in_child([&] {
        const Manager manager;
        Notifier notifier;
        body(notifier);
        return manager.read();
    });
}

std::string without_signs_of_life(std::string text) {
    const std::string sign = "[WATCHDOG=1]";
    for (size_t at = 0; (at = text.find(sign, at)) != text.npos;)
        text.erase(at, sign.size());
    return text;
}

} // namespace

TEST_CASE("each notification is one datagram of the form that sd_notify(3) gives") {
    CHECK(notified([](Notifier& to) {
              to.tell_ready("listening");
          }) == "[READY=1\nSTATUS=listening]");
    CHECK(notified([](Notifier& to) { to.tell_status("3 open"); }) == "[STATUS=3 open]");
    CHECK(notified([](Notifier& to) {
              to.tell_stopping("draining", 7'000'000);
          }) == "[STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC=7000000]");
    CHECK(notified([](Notifier& to) { to.tell_watchdog(); }) == "[WATCHDOG=1]");
    CHECK(notified([](Notifier& to) {
              to.tell_stopping("a", 1);
              to.tell_watchdog();
          }) == "[STOPPING=1\nSTATUS=a\nEXTEND_TIMEOUT_USEC=1][WATCHDOG=1]");
    CHECK(notified([](Notifier& to) { to.remove_stored("a"); }) == "[FDSTOREREMOVE=1\nFDNAME=a]");
}

TEST_CASE("a reload is announced with the monotonic time in microseconds") {
    const std::string text = notified([](Notifier& to) { to.tell_reloading(); });
    const std::string_view prefix = "[RELOADING=1\nMONOTONIC_USEC=";
    REQUIRE(text.starts_with(prefix));
    REQUIRE(text.ends_with("]"));
    const std::string number = text.substr(prefix.size(), text.size() - prefix.size() - 1);
    REQUIRE_FALSE(number.empty());
    REQUIRE(number.find_first_not_of("0123456789") == std::string::npos);
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    CHECK(std::stoull(number) / 1'000'000 <= static_cast<unsigned long long>(now.tv_sec));
    CHECK(std::stoull(number) > 0);
}

TEST_CASE("a status cannot inject another variable") {
    CHECK(notified([](Notifier& to) {
              to.tell_status("bad\nMAINPID=1");
          }) == "[STATUS=bad MAINPID=1]");
}

TEST_CASE(
    "the daemon does not wait for a manager that does not read, and reports the state later") {
    CHECK(test::in_child([] {
              const Manager manager;
              Notifier notifier;
              manager.fill();
              notifier.tell_watchdog();
              if (notifier.retry_us())
                  return std::string("a sign of life was kept");
              for (int i = 0; i < 1'000; ++i) {
                  notifier.tell_status("busy");
                  notifier.tell_reloading();
                  notifier.tell_ready("done");
              }
              notifier.tell_status("idle");
              if (!notifier.retry_us())
                  return std::string("nothing was kept");
              manager.read();
              notifier.retry();
              if (notifier.retry_us())
                  return std::string("something was kept");
              std::string text = manager.read();
              const size_t time = text.find("USEC=");
              text.erase(time + 5, text.find(']') - time - 5);
              return text;
          }) == "[RELOADING=1\nMONOTONIC_USEC=][READY=1\nSTATUS=done][STATUS=idle]");
}

TEST_CASE("storing waits for the manager, until its time is over or an interrupt comes") {
    CHECK(
        test::in_child([] {
            const Manager manager;
            Notifier notifier;
            const Fd held(::eventfd(0, EFD_CLOEXEC));
            const Fd interrupt(::eventfd(1, EFD_CLOEXEC));
            const int number = held.get();
            std::string text =
                std::to_string(notifier.store("a", std::span(&number, 1), 1'000, -1));
            text += manager.read();
            manager.fill();
            text += fmt::format(
                " {} {} {} {}", notifier.store("a", std::span(&number, 1), 1'000, -1) == ETIMEDOUT,
                notifier.store("a", std::span(&number, 1), 1'000'000'000, interrupt.get()) == EINTR,
                notifier.await_processed(1'000, -1) == ETIMEDOUT,
                notifier.await_processed(1'000'000'000, interrupt.get()) == EINTR);
            return text + without_signs_of_life(manager.read());
        }) == "0[FDSTORE=1\nFDNAME=a] true true true true");
}

TEST_CASE("notifications are confirmed when the manager has read all of them") {
    CHECK(test::in_child([] {
              const Manager manager;
              Notifier notifier;
              manager.fill();
              notifier.remove_stored("a");
              std::string text;
              std::thread reader([&] {
                  while (text.find("[BARRIER=1]") == text.npos)
                      text += manager.read();
              });
              const auto patience_us = static_cast<uint64_t>(test::patience().count()) * 1000;
              const int error = notifier.await_processed(patience_us, -1);
              reader.join();
              return fmt::format("{} {}", error, without_signs_of_life(text));
          }) == "0 [FDSTOREREMOVE=1\nFDNAME=a][BARRIER=1]");
}

#endif

TEST_CASE("without a service manager notifications do nothing") {
    CHECK(test::in_child([] {
              std::string text;
              for (const char* name : {"", "/nonexistent/notify", "@", "relative", "vsock:2:1"}) {
                  test::forget_service_manager();
                  if (*name != '\0')
                      test::set_environment("NOTIFY_SOCKET", name);
                  Notifier notifier;
                  notifier.tell_ready("a");
                  notifier.tell_reloading();
                  notifier.tell_watchdog();
                  notifier.tell_stopping("a", 1);
                  notifier.remove_stored("a");
                  text += notifier.retry_us() ? "kept " : "";
                  text += notifier.await_processed(1'000'000'000, -1) != 0 ? "" : "confirmed ";
              }
              return text;
          }).empty());
}
