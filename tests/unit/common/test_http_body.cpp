#include "common/http/body.h"
#include "common/http/documents.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte;

namespace {

/// Reads it as a server does that sends `step` bytes at a time.
std::string read_in_steps(const HttpBody& body, size_t step) {
    std::string text;
    while (text.size() < body.size()) {
        const std::string_view rest = body.from(text.size());
        REQUIRE(!rest.empty());
        text += rest.substr(0, step);
    }
    return text;
}

} // namespace

TEST_CASE("a body is the sequence of its texts, wherever its chunks end") {
    HttpBody body;
    std::string expected;
    for (size_t i = 0; i < 4000; ++i) {
        std::string line(i % 97, static_cast<char>('a' + i % 26));
        if (i == 1000)
            line.assign(HttpBody::chunk_bytes + 1, 'L'); // longer than a chunk
        body.append(line);
        expected += line;
    }
    CHECK(body.size() == expected.size());
    CHECK(body.text() == expected);
    for (const size_t step : {size_t{1}, size_t{1000}, HttpBody::chunk_bytes, expected.size()})
        CHECK(read_in_steps(body, step) == expected);
}

TEST_CASE("a text is never split between two chunks") {
    HttpBody body;
    const std::string line(HttpBody::chunk_bytes / 2 + 1, 'x');
    body.append(line);
    body.append(line);
    CHECK(body.from(0).size() == line.size());
    CHECK(body.from(line.size()).size() == line.size());
    CHECK(body.from(line.size() - 1).size() == 1);
}

TEST_CASE("an empty body has no chunk") {
    HttpBody body;
    body.append("");
    CHECK(body.size() == 0);
    CHECK(HttpBody("").size() == 0);
    CHECK(HttpBody("ab").text() == "ab");
    body.append("ab");
    CHECK(body.from(1) == "b");
}

TEST_CASE("documents of several kinds share one limit, and each is kept") {
    size_t renders = 0;
    HttpDocuments documents({.kinds = 2, .renders_per_second = 3}, [&](size_t kind) {
        return HttpBody(std::to_string(kind) + "." + std::to_string(++renders));
    });
    const auto text = [&](size_t kind, uint64_t now_us) {
        return documents.get(kind, now_us)->text();
    };
    CHECK(text(0, 100) == "0.1");
    CHECK(text(0, 100) == "0.2");
    const auto held = documents.get(0, 200);
    CHECK(held->text() == "0.3");
    CHECK(documents.get(0, 300) == held); // not a copy
    CHECK(text(1, 300) == "1.4");         // there is none yet, so it has to be rendered
    CHECK(text(1, 300) == "1.4");
    CHECK(text(0, 1'000'100) == "0.5"); // a second after the oldest of the last three
    CHECK(held->text() == "0.3");
}

TEST_CASE("old documents that slow connections hold are bounded in bytes") {
    size_t renders = 0;
    HttpDocuments documents(
        {.kinds = 2, .renders_per_second = 1000, .bytes_max = 250}, [&](size_t) {
            ++renders;
            return HttpBody(std::string(100, 'x'));
        });
    std::vector<std::shared_ptr<const HttpBody>> held;
    for (size_t i = 0; i < 20; ++i)
        held.push_back(documents.get(0, i));
    CHECK(renders == 4); // 300 bytes are held, and those of the last one
    CHECK(held[3] == held.back());
    CHECK(documents.get(1, 20) == nullptr);
    CHECK(documents.get(0, 1'000'002) == held[3]);
    CHECK(documents.get(0, 1'000'003) == nullptr); // rather than one that is a second old
    CHECK(renders == 4);
    held.clear();
    CHECK(documents.get(0, 1'000'004)->size() == 100);
    CHECK(documents.get(1, 1'000'004)->size() == 100);
    CHECK(renders == 6);
}

TEST_CASE(
    "a document above the bound is rendered anew each time, as long as no connection holds it") {
    size_t renders = 0;
    HttpDocuments documents(
        {.kinds = 2, .renders_per_second = 1000, .bytes_max = 250},
        [&](size_t) { return HttpBody(std::string(1000, static_cast<char>('a' + renders++))); });
    CHECK(documents.get(0, 1)->from(0).front() == 'a');
    CHECK(documents.get(0, 2)->from(0).front() == 'b');
    CHECK(documents.get(1, 3)->from(0).front() == 'c');
    auto held = documents.get(0, 4);
    CHECK(held->from(0).front() == 'd');
    CHECK(documents.get(0, 5)->from(0).front() == 'e'); // `held` was the last one when it was asked
    CHECK(documents.get(0, 6)->from(0).front() == 'e'); // now it is held by a connection alone
    held.reset();
    CHECK(documents.get(0, 7)->from(0).front() == 'f');
}

TEST_CASE(
    "a document is not sent again when it is a second old, though others have used the rate") {
    size_t renders = 0;
    HttpDocuments documents({.kinds = 2, .renders_per_second = 2}, [&](size_t) {
        return HttpBody(std::to_string(++renders));
    });
    CHECK(documents.get(0, 1)->text() == "1");
    CHECK(documents.get(1, 900'000)->text() == "2");
    CHECK(documents.get(1, 1'100'000)->text() == "3");
    CHECK(documents.get(0, 1'100'000)->text() == "4");
    CHECK(documents.get(0, 1'100'001)->text() == "4");
}

TEST_CASE("a document that cannot be rendered now is not replaced by an old one") {
    bool works = true;
    HttpDocuments documents(
        {.kinds = 1, .renders_per_second = 10}, [&](size_t) -> std::optional<HttpBody> {
            return works ? std::optional<HttpBody>("a") : std::nullopt;
        });
    CHECK(documents.get(0, 1)->text() == "a");
    works = false;
    CHECK(documents.get(0, 2) == nullptr);
    works = true;
    CHECK(documents.get(0, 3)->text() == "a");
}
