// Prefixes and ranges of addresses. Whatever is accepted are endpoints of one transport and port,
// in ascending order, each of which reads back; they are no more than permitted. What is one
// endpoint by its own grammar is the same one here.
#include "client/options/endpoint_range.h"
#include "tests/fuzz/fuzz.h"

#include <cstdint>
#include <string>

using namespace riposte;
using fuzz::require;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) { // NOLINT(*-naming)
    fuzz::Input input(data, size);
    const size_t max = size_t{1} << (input.byte() % 12);
    const std::string text = input.rest();
    const EndpointRules rules{.wildcard = false, .default_port = 7001, .default_host = "localhost"};
    const auto one = parse_endpoint(text, rules);
    const auto all = client::parse_endpoints(text, rules, max);
    if (!all) {
        require(all.error().offset <= text.size(), "the fault is in the text", text);
        fuzz::require_one_line(all.error().message);
        // A name like 1.test-2 is none of the digits and dots that make a range.
        require(
            !one.has_value() || one->host.find_first_not_of("0123456789.-") == one->host.npos,
            "what is one endpoint is accepted", text);
        return 0;
    }
    require(!all->empty() && all->size() <= max, "as many as permitted", text);
    if (all->size() == 1 && one)
        require(all->front() == *one || text.find('-') != text.npos, "it is the same one", text);
    for (const Endpoint& each : *all) {
        require(each.port == all->front().port, "one port", text);
        require(each.transport == all->front().transport, "one transport", text);
        const std::string written = to_string(each);
        const auto again = parse_endpoint(written, {.wildcard = false, .default_port = {}});
        require(again.has_value() && *again == each, "each reads back", written);
    }
    return 0;
}
