// The sockets for metrics: bound as configured, or inherited by name; and those that are refused.
#include "daemon/supervisor/http_sockets.h"
#include "tests/support/skip.h"
#include "tests/unit/daemon/listen_support.h"

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/un.h>

using namespace riposte;
using namespace riposte::test;

namespace fs = std::filesystem;

namespace {

struct Directory {
    std::string path;

    Directory() {
        std::string name = fs::temp_directory_path() / "riposte-XXXXXX";
        REQUIRE(::mkdtemp(name.data()) != nullptr);
        path = name;
    }
    ~Directory() { fs::remove_all(path); }
    Directory(const Directory&) = delete;
    Directory& operator=(const Directory&) = delete;

    std::string operator/(std::string_view name) const { return fmt::format("{}/{}", path, name); }
};

MetricsConfig metrics_on(std::initializer_list<std::string> addresses) {
    MetricsConfig config{.origin = "riposted.toml:9:10"};
    for (const std::string& address : addresses)
        config.listen.push_back(parse_http_address(address).value());
    return config;
}

std::string outcome(const Result<std::vector<HttpSocket>>& sockets) {
    if (!sockets)
        return fmt::format(
            "exit {}: {}", static_cast<int>(sockets.error().exit), sockets.error().message);
    std::string addresses;
    for (const HttpSocket& socket : *sockets)
        addresses += socket.address + "\n";
    return addresses;
}

int connect_unix(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    const Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    return ::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 ? 0
                                                                                           : errno;
}

Fd unix_socket(int type, const std::string& path = "") {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    Fd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
    if (!path.empty())
        REQUIRE(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    return fd;
}

std::vector<systemd::InheritedSocket> inherit(Fd fd, std::string name) {
    std::vector<systemd::InheritedSocket> sockets;
    sockets.push_back({std::move(fd), std::move(name)});
    return sockets;
}

} // namespace

TEST_CASE("metrics are served where the configuration says, and the address has the port") {
    const auto sockets = bind_http_sockets(metrics_on({"tcp://127.0.0.1:0", "tcp://*:0"}));
    REQUIRE_MESSAGE(sockets.has_value(), outcome(sockets));
    REQUIRE(sockets->size() == 2);
    const HttpSocket& first = sockets->front();
    CHECK(first.address == fmt::format("tcp://127.0.0.1:{}", port_of(first.fd.get())));
    CHECK(!first.file);
    CHECK(connect_error("127.0.0.1", port_of(first.fd.get())) == 0);
    CHECK(connect_error("127.0.0.1", port_of(sockets->back().fd.get())) == 0);
    for (const HttpSocket& socket : *sockets) {
        CHECK((::fcntl(socket.fd.get(), F_GETFL) & O_NONBLOCK) != 0);
        CHECK(::fcntl(socket.fd.get(), F_GETFD) == FD_CLOEXEC);
    }
    CHECK(outcome(bind_http_sockets({})) == "");
}

TEST_CASE("a unix socket is open to all users, and removed at the end") {
    const Directory directory;
    const std::string path = directory / "metrics.sock";
    const mode_t mask = ::umask(0077);
    {
        const auto sockets = bind_http_sockets(metrics_on({"unix:" + path}));
        REQUIRE_MESSAGE(sockets.has_value(), outcome(sockets));
        CHECK(outcome(sockets) == "unix:" + path + "\n");
        struct stat status{};
        REQUIRE(::lstat(path.c_str(), &status) == 0);
        CHECK(status.st_mode == (S_IFSOCK | 0666));
        CHECK(connect_unix(path) == 0);
    }
    CHECK(!fs::exists(path));
    CHECK(::umask(mask) == 0077); // unchanged
}

TEST_CASE("an old socket on which no process answers is replaced") {
    const Directory directory;
    const std::string path = directory / "metrics.sock";
    {
        const Fd old = unix_socket(SOCK_STREAM, path);
    }
    REQUIRE(connect_unix(path) == ECONNREFUSED);
    const auto sockets = bind_http_sockets(metrics_on({"unix:" + path}));
    REQUIRE_MESSAGE(sockets.has_value(), outcome(sockets));
    CHECK(connect_unix(path) == 0);
}

TEST_CASE("a live socket, and any other file, stay and are an error") {
    const Directory directory;
    const std::string path = directory / "metrics.sock";
    const std::string where = fmt::format("riposted.toml:9:10: metrics on unix:{}: ", path);
    {
        const auto live = bind_http_sockets(metrics_on({"unix:" + path}));
        CHECK(
            outcome(bind_http_sockets(metrics_on({"unix:" + path}))) ==
            "exit 71: " + where +
                "another process answers there (ss -lxp shows it); stop it, or name another path");
        CHECK(connect_unix(path) == 0);
    }
    {
        const Fd other = unix_socket(SOCK_DGRAM, path);
        CHECK(outcome(bind_http_sockets(metrics_on({"unix:" + path}))).starts_with("exit 71: "));
        CHECK(fs::exists(path));
        fs::remove(path);
    }
    std::ofstream(path) << "precious";
    CHECK(
        outcome(bind_http_sockets(metrics_on({"unix:" + path}))) ==
        "exit 78: " + where + "a file is in the way; remove it, or name another path");
    CHECK(fs::file_size(path) == 8);
    CHECK(outcome(bind_http_sockets(metrics_on({"unix:" + path + "/no"})))
              .ends_with(
                  "Not a directory; create its directory (a unit does so by RuntimeDirectory=)"));
}

TEST_CASE("a socket file that was replaced meanwhile is not removed") {
    const Directory directory;
    const std::string path = directory / "metrics.sock";
    Fd other;
    {
        const auto sockets = bind_http_sockets(metrics_on({"unix:" + path}));
        REQUIRE(sockets.has_value());
        fs::rename(path, path + ".old"); // so that the inode is not reused
        other = unix_socket(SOCK_STREAM, path);
    }
    CHECK(fs::exists(path));
}

TEST_CASE("if one address cannot be bound, none is") {
    const Directory directory;
    const std::string path = directory / "metrics.sock";
    const Fd taken = foreign_socket("127.0.0.1", Transport::tcp);
    const auto sockets = bind_http_sockets(
        metrics_on({"unix:" + path, fmt::format("tcp://127.0.0.1:{}", port_of(taken.get()))}));
    CHECK(outcome(sockets).starts_with(fmt::format(
        "exit 71: riposted.toml:9:10: metrics on tcp://127.0.0.1:{0}: address already in use",
        port_of(taken.get()))));
    CHECK(!fs::exists(path));
}

TEST_CASE("inherited sockets named metrics are taken, and the others stay") {
    for (const char* name : {"metrics", "riposted-metrics.socket"}) {
        Fd fd = foreign_socket("127.0.0.1", Transport::tcp);
        const uint16_t port = port_of(fd.get());
        auto inherited = inherit(std::move(fd), name);
        inherited.push_back({foreign_socket("127.0.0.1", Transport::udp), "echo"});
        const auto sockets = open_http_sockets(metrics_on({"tcp://127.0.0.1:0"}), inherited);
        CHECK(outcome(sockets) == fmt::format("tcp://127.0.0.1:{}\n", port));
        CHECK((::fcntl(sockets->front().fd.get(), F_GETFL) & O_NONBLOCK) != 0);
        REQUIRE(inherited.size() == 1);
        CHECK(inherited.front().name == "echo");
    }
    const Directory directory;
    const std::string path = directory / "metrics.sock";
    Fd fd = unix_socket(SOCK_STREAM, path);
    REQUIRE(::listen(fd.get(), 1) == 0);
    auto inherited = inherit(std::move(fd), "metrics");
    {
        const auto sockets = open_http_sockets({}, inherited);
        CHECK(outcome(sockets) == "unix:" + path + "\n");
    }
    CHECK(fs::exists(path)); // the service manager's
}

TEST_CASE("an inherited socket that cannot serve metrics is refused by name") {
    const auto refusal = [](Fd fd) {
        const int number = fd.get();
        auto inherited = inherit(std::move(fd), "metrics");
        const std::string text = outcome(open_http_sockets({}, inherited));
        const std::string prefix = fmt::format("exit 78: inherited socket {} 'metrics': ", number);
        CHECK(text.starts_with(prefix));
        return text.substr(std::min(prefix.size(), text.size()));
    };
    CHECK(refusal(Fd(::open("/dev/null", O_RDWR | O_CLOEXEC))) == "not a socket");
    CHECK(
        refusal(foreign_socket("127.0.0.1", Transport::udp)) ==
        "not a stream; metrics need ListenStream= in the socket unit");
    CHECK(
        refusal(unix_socket(SOCK_SEQPACKET)) ==
        "not a stream; metrics need ListenStream= in the socket unit");
    CHECK(
        refusal(unix_socket(SOCK_STREAM)) ==
        "a stream that does not listen (a socket unit needs Accept=no)");
}

TEST_CASE("too many sockets are refused") {
    std::vector<systemd::InheritedSocket> inherited;
    for (size_t i = 0; i <= http_sockets_max; ++i)
        inherited.push_back({foreign_socket("127.0.0.1", Transport::tcp), "metrics"});
    CHECK(
        outcome(open_http_sockets({}, inherited)) ==
        "exit 78: 65 sockets for metrics; pass or configure at most 64");
}
