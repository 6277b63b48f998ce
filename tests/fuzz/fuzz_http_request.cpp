// The head of a request to the metrics listener: an input is the places of cuts, and the bytes. The
// pieces do not change the result, and a decision is final.
#include "daemon/telemetry/http_request.h"
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
    require(a.representation() == b.representation(), "nor as what");
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
    negotiate(text);
    return 0;
}
