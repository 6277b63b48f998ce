#include "daemon/listen/stamp_image.h"
#include "daemon/listen/stamp_tables.h"
#include "daemon/supervisor/stamp_store.h"
#include "tests/unit/daemon/listen_support.h"

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

using namespace riposte;
using namespace riposte::test;

namespace {

using Bytes = std::vector<std::byte>;

constexpr HashSecret image_secret{3, 4};
constexpr size_t head_bytes = 8 + 4 + 4 + 16 + 4;

Fd file_of(const Bytes& bytes) {
    Fd file(::memfd_create("image", MFD_CLOEXEC));
    REQUIRE(::write(file.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
    return file;
}

Bytes content_of(const Fd& file) {
    Bytes bytes(static_cast<size_t>(::lseek(file.get(), 0, SEEK_END)));
    REQUIRE(
        ::pread(file.get(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
    return bytes;
}

struct Saved {
    std::string key;
    std::vector<StampSession> sessions;
};

Bytes image_of(const std::vector<Saved>& listeners) {
    const Fd file = file_of({});
    StampImageWriter writer(file.get(), image_secret, static_cast<uint32_t>(listeners.size()));
    for (const Saved& each : listeners) {
        writer.begin_listener(each.key, static_cast<uint32_t>(each.sessions.size()));
        for (const StampSession& session : each.sessions)
            writer.add(session);
    }
    REQUIRE(writer.finish() == 0);
    return content_of(file);
}

Bytes two_listeners() {
    Saved first{.key = "udp://127.0.0.1:862", .sessions = {}};
    for (uint64_t tag = 1; tag <= 3; tag++)
        first.sessions.push_back(
            {.tag = tag, .received = static_cast<uint32_t>(10 * tag), .last_sent = tag});
    return image_of({first, {.key = "", .sessions = {}}});
}

std::string summary(StampImageReader& image) {
    std::string text = std::to_string(image.secret()[0]) + " " + std::to_string(image.secret()[1]);
    while (const auto listener = image.next_listener()) {
        text += " " + listener->key + ":";
        while (const auto session = image.next_session())
            text += " " + std::to_string(session->tag) + "/" + std::to_string(session->received);
    }
    return text;
}

/// What the image says, or why it is none.
std::string read(const Bytes& bytes) {
    const Fd file = file_of(bytes);
    auto image = StampImageReader::open(file.get());
    if (image)
        return summary(*image);
    return image.error() == StampImageProblem::damaged ? "damaged" : "other version";
}

Bytes with_number(Bytes bytes, size_t offset, uint32_t number) {
    std::memcpy(bytes.data() + offset, &number, sizeof number);
    return bytes;
}

systemd::InheritedSocket inherited(const Fd& fd, const char* name) {
    return {Fd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0)), name};
}

} // namespace

TEST_CASE("an image of sessions reads back") {
    CHECK(read(two_listeners()) == "3 4 udp://127.0.0.1:862: 1/10 2/20 3/30 :");
    CHECK(read(image_of({})) == "3 4");
}

TEST_CASE("an image that is larger than the buffer reads back") {
    Saved listener{.key = "k", .sessions = {}};
    std::string expected = "3 4 k:";
    for (uint32_t i = 1; i <= 3 * stamp_image_buffer_bytes / sizeof(StampSession); ++i) {
        listener.sessions.push_back({.tag = i, .received = i});
        expected += " " + std::to_string(i) + "/" + std::to_string(i);
    }
    CHECK(read(image_of({listener})) == expected);
}

TEST_CASE("an image that is cut off anywhere is none") {
    const Bytes bytes = two_listeners();
    for (size_t size = 0; size < bytes.size(); size++)
        CHECK(
            read(Bytes(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size))) ==
            (size < head_bytes ? "other version" : "damaged"));
}

TEST_CASE("an image of another version, or with other sessions, is none") {
    const Bytes bytes = two_listeners();
    for (size_t at = 0; at < 16; at++) { // magic, version and size
        Bytes other = bytes;
        other[at] ^= std::byte{1};
        CHECK(read(other) == "other version");
    }
}

TEST_CASE("an image with wrong counts is damaged") {
    const Bytes bytes = two_listeners();
    constexpr size_t listeners_at = head_bytes - 4;
    constexpr size_t key_at = head_bytes;
    const size_t sessions_at = key_at + 4 + std::string("udp://127.0.0.1:862").size();
    for (const uint32_t count : {0U, 1U, 3U, UINT32_MAX})
        CHECK(read(with_number(bytes, listeners_at, count)) == "damaged");
    for (const uint32_t size : {0U, 18U, 20U, 4096U, 4097U, UINT32_MAX})
        CHECK(read(with_number(bytes, key_at, size)) == "damaged");
    for (const uint32_t count : {0U, 2U, 4U, UINT32_MAX})
        CHECK(read(with_number(bytes, sessions_at, count)) == "damaged");
    Bytes longer = bytes;
    longer.push_back({});
    CHECK(read(longer) == "damaged");
}

TEST_CASE("an image with a session that no reflector leaves is damaged") {
    const Bytes bytes = image_of({{.key = "", .sessions = {{.tag = 5}}}});
    const size_t session_at = head_bytes + 8;
    CHECK(read(bytes) == "3 4 : 5/0");
    CHECK(read(with_number(bytes, session_at, 0)) == "damaged"); // the tag of a free place
    Bytes other = bytes;
    other[session_at + offsetof(StampSession, confirmed)] = std::byte{2};
    CHECK(read(other) == "damaged");
    other = bytes;
    other[session_at + offsetof(StampSession, has_questions)] = std::byte{0xff};
    CHECK(read(other) == "damaged");
}

TEST_CASE("random bytes behind a head are an image or none, and nothing else happens") {
    std::mt19937 random(1);
    size_t whole = 0;
    for (int i = 0; i < 5'000; i++) {
        Bytes bytes = with_number(image_of({}), head_bytes - 4, random() % 4);
        const size_t head = bytes.size();
        bytes.resize(head + random() % 200);
        for (size_t at = head; at < bytes.size(); at++)
            bytes[at] = static_cast<std::byte>(random() % 3 == 0 ? random() % 4 : 0);
        whole += read(bytes) == "damaged" ? 0U : 1U;
    }
    CHECK(whole > 0);
}

TEST_CASE("a file that cannot be written is an error") {
    const Fd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
    REQUIRE(full);
    StampImageWriter writer(full.get(), image_secret, 0);
    CHECK(writer.finish() == ENOSPC);
}

TEST_CASE("every worker is given a session, and the newest state of it is kept") {
    const StampTables tables = make_stamp_tables(64, {.workers = 3, .secret = {1, 2}});
    CHECK(tables.adopt({.tag = 5, .received = 7}));
    CHECK(tables.adopt({.tag = 6}));
    CHECK_FALSE(tables.adopt({.tag = 0}));
    CHECK(tables.count() == 2);
    for (StampSession& session : tables.of_worker[1]->places())
        session.received += session.tag == 5 ? 1 : 0;
    CHECK(tables.count() == 2);
    // Counted once, wherever they go on.
    CHECK(tables.in_use->in_use(1000) == 2);
    for (const auto& table : tables.of_worker)
        table->find({}, 1000);
    CHECK(tables.in_use->in_use(1000) == 5);
    CHECK(tables.places() >= 64);
    for (const auto& table : tables.of_worker)
        for (StampSession& session : table->places())
            if (session.tag > 6)
                session = {};
    tables.for_each_session(
        [](const StampSession& session) { CHECK(session.received == (session.tag == 5 ? 8 : 0)); });
}

TEST_CASE("the sessions of listeners are stored sealed, and only a sealed image is taken") {
    const Sections sections({listen_on(ServiceKind::stamp, {"udp://127.0.0.1:0"})});
    auto before = Listeners::open(sections, {}, 2, image_secret);
    REQUIRE(before.has_value());
    const auto sessions = before->plan(1)[0].sessions;
    CHECK(sessions->adopt({.tag = 7, .received = 70}));
    CHECK(before->session_count() == 1);
    const Fd store = make_stamp_store();
    REQUIRE(store);
    REQUIRE(write_stamp_store(store, *before) == 0);
    CHECK(::write(store.get(), "x", 1) < 0);

    std::vector<systemd::InheritedSocket> sockets;
    sockets.push_back(inherited(store, "stamp-sessions"));
    sockets.push_back(inherited(store, "other"));
    InheritedSessions taken = take_stamp_sessions(sockets);
    CHECK(taken.found);
    CHECK(sockets.size() == 1);
    REQUIRE(taken.image.has_value());
    CHECK(taken.image->secret() == image_secret);
    auto after = Listeners::open(sections, {}, 1, taken.image->secret());
    REQUIRE(after.has_value());
    CHECK(after->adopt_sessions(*taken.image) == 1);
    CHECK(after->plan(0)[0].sessions->find_tag(7)->received == 70);

    const Fd open = make_stamp_store();
    sockets.push_back(inherited(open, "stamp-sessions"));
    taken = take_stamp_sessions(sockets);
    CHECK(taken.found);
    CHECK_FALSE(taken.image);
    CHECK(taken.problem.token == "not_sealed");
    CHECK_FALSE(take_stamp_sessions(sockets).found);
}

TEST_CASE("a damaged image in the store is said to be damaged") {
    const Fd store = make_stamp_store();
    Bytes bytes = two_listeners();
    bytes.pop_back();
    REQUIRE(::write(store.get(), bytes.data(), bytes.size()) > 0);
    REQUIRE(::fcntl(store.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) == 0);
    std::vector<systemd::InheritedSocket> sockets;
    sockets.push_back(inherited(store, "stamp-sessions"));
    CHECK(take_stamp_sessions(sockets).problem.token == "damaged");
}
