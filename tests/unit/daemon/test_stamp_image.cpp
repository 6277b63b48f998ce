#include "daemon/listen/stamp_image.h"
#include "daemon/listen/stamp_tables.h"
#include "daemon/supervisor/stamp_store.h"

#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

using namespace riposte;

namespace {

StampImage two_listeners() {
    StampImage image{.secret = {3, 4}};
    image.listeners.push_back({.key = "udp://127.0.0.1:862", .sessions = {}});
    for (uint64_t tag = 1; tag <= 3; tag++)
        image.listeners[0].sessions.push_back(
            {.tag = tag, .received = static_cast<uint32_t>(10 * tag), .last_sent = tag});
    image.listeners.push_back({.key = "", .sessions = {}});
    return image;
}

std::string summary(const std::optional<StampImage>& image) {
    if (!image)
        return "none";
    std::string text = std::to_string(image->secret[0]) + " " + std::to_string(image->secret[1]);
    for (const StampImage::Listener& listener : image->listeners) {
        text += " " + listener.key + ":";
        for (const StampSession& session : listener.sessions)
            text += " " + std::to_string(session.tag) + "/" + std::to_string(session.received);
    }
    return text;
}

systemd::InheritedSocket inherited(const Fd& fd, const char* name) {
    return {Fd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0)), name};
}

} // namespace

TEST_CASE("an image of sessions reads back") {
    const auto bytes = write_stamp_image(two_listeners());
    CHECK(summary(read_stamp_image(bytes)) == "3 4 udp://127.0.0.1:862: 1/10 2/20 3/30 :");
    CHECK(two_listeners().count() == 3);
    CHECK(summary(read_stamp_image(write_stamp_image({}))) == "0 0");
}

TEST_CASE("an image that is cut off or of another version is none") {
    auto bytes = write_stamp_image(two_listeners());
    size_t whole = 0;
    for (size_t size = 0; size < bytes.size(); size++)
        whole += read_stamp_image(std::span(bytes).first(size)) ? size_t{1} : 0;
    CHECK(whole == 2); // those that end behind the head, or behind the first listener
    bytes[8] ^= std::byte{1};
    CHECK_FALSE(read_stamp_image(bytes));
    bytes[8] ^= std::byte{1};
    bytes[0] = std::byte{'R'};
    CHECK_FALSE(read_stamp_image(bytes));
}

TEST_CASE("random bytes behind a head are never read beyond their end") {
    std::mt19937 random(1);
    for (int i = 0; i < 20'000; i++) {
        auto bytes = write_stamp_image({});
        const size_t head = bytes.size();
        bytes.resize(head + random() % 200);
        for (size_t at = head; at < bytes.size(); at++)
            bytes[at] = static_cast<std::byte>(random() % 3 == 0 ? random() : 0);
        const auto image = read_stamp_image(bytes);
        CHECK((!image || image->count() * sizeof(StampSession) <= bytes.size()));
    }
}

TEST_CASE("every worker is given a session, and the newest state of it is kept") {
    const StampTables tables = make_stamp_tables(64, {.workers = 2, .secret = {1, 2}});
    CHECK(tables.adopt(std::vector<StampSession>{{.tag = 5, .received = 7}, {.tag = 6}}) == 2);
    CHECK(tables.sessions().size() == 2);
    for (StampSession& session : tables.of_worker[1]->places())
        session.received += session.tag == 5 ? 1 : 0;
    CHECK(tables.sessions()[0].received == 8);
}

TEST_CASE("a stored image is sealed, and only a sealed one is taken") {
    const Fd store = make_stamp_store();
    REQUIRE(store);
    REQUIRE(write_stamp_store(store, two_listeners()) == 0);
    CHECK(::write(store.get(), "x", 1) < 0);
    std::vector<systemd::InheritedSocket> sockets;
    sockets.push_back(inherited(store, "stamp-sessions"));
    sockets.push_back(inherited(store, "other"));
    InheritedSessions taken = take_stamp_sessions(sockets);
    CHECK(taken.found);
    CHECK(summary(taken.image) == "3 4 udp://127.0.0.1:862: 1/10 2/20 3/30 :");
    CHECK(sockets.size() == 1);

    const Fd open = make_stamp_store();
    sockets.push_back(inherited(open, "stamp-sessions"));
    taken = take_stamp_sessions(sockets);
    CHECK(taken.found);
    CHECK_FALSE(taken.image);
    CHECK(taken.problem.token == "not_sealed");
    CHECK_FALSE(take_stamp_sessions(sockets).found);
}
