// The head of a request to the metrics listener: an input is the places of cuts, and the bytes. The
// pieces do not change the result, and a decision is final. The same bytes are read as a query, and
// as an Accept field.
#include "common/http/query.h"
#include "common/http/representation.h"
#include "common/http/request.h"
#include "tests/fuzz/fuzz.h"

using namespace riposte;
using fuzz::require;

using State = HttpRequest::State;

namespace {

void require_same(const HttpRequest& a, const HttpRequest& b) {
    require(a.state() == b.state(), "the pieces do not change what is decided");
    if (a.state() != State::complete)
        return;
    require(a.method() == b.method() && a.path() == b.path(), "nor what is asked for");
    require(a.query() == b.query() && a.accept() == b.accept(), "nor how");
}

void require_sound(const HttpRequest& request, std::string_view text) {
    if (request.state() == State::reading)
        require(text.size() <= HttpRequest::head_bytes_max, "a head that is too long is refused");
    if (request.state() == State::too_long)
        require(text.size() > HttpRequest::head_bytes_max, "and no other one");
    if (request.state() != State::complete)
        return;
    const auto visible = [](char c) { return c > ' ' && c <= '~'; };
    require(!request.method().empty(), "a request has a method");
    require(std::ranges::all_of(request.method(), visible), "of visible characters");
    require(!request.path().empty(), "a request has a path");
    require(std::ranges::all_of(request.path(), visible), "of visible characters");
    require(request.path().find('?') == std::string_view::npos, "without its query");
    const std::string_view head = text.substr(0, HttpRequest::head_bytes_max);
    require(
        head.find("\n\n") != std::string_view::npos ||
            head.find("\n\r\n") != std::string_view::npos,
        "a head ends with an empty line");
}

/// As a client writes it that escapes every byte.
std::string escaped(std::string_view text) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string query;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        (query += '%') += digits[byte >> 4];
        query += digits[byte & 15];
    }
    return query;
}

void require_sound_query(std::string_view text) {
    const auto query = HttpQuery::parse(text);
    if (!query)
        return require(!query.error().empty(), "a refusal has a reason");
    require(query->parameters().size() <= HttpQuery::parameters_max, "parameters are bounded");
    std::string again;
    for (const auto& [name, value] : query->parameters()) {
        require(query->value(name) == value, "a parameter has one value");
        require(name.size() + value.size() <= text.size(), "decoding does not grow");
        const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20; };
        require(std::ranges::none_of(value, is_control), "without control bytes");
        again += escaped(name) + "=" + escaped(value) + "&";
    }
    const auto same = HttpQuery::parse(again);
    require(same && same->parameters() == query->parameters(), "written again it reads the same");
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) { // NOLINT(*-naming)
    fuzz::Input input(data, size);
    const size_t first = input.byte();
    const std::string text = input.rest();
    HttpRequest whole;
    whole.feed(text);
    require_sound(whole, text);

    HttpRequest halves;
    const State early = halves.feed(std::string_view(text).substr(0, first));
    halves.feed(std::string_view(text).substr(std::min(first, text.size())));
    require_same(whole, halves);
    require(early == State::reading || early == whole.state(), "what was decided stays", text);

    HttpRequest bytes;
    for (const char& c : text)
        bytes.feed({&c, 1});
    require_same(whole, bytes);
    require_sound_query(text);
    if (whole.state() == State::complete)
        require_sound_query(whole.query());
    constexpr std::array offered{
        Representation::text, Representation::openmetrics, Representation::json};
    negotiate(text, offered);
    return 0;
}
