// Prefixes of addresses, and sets of them: an input is an address and lines with a prefix each.
// An accepted prefix reads back from its spelling; the set gives the same result as a search
// through all prefixes.
#include "daemon/acl/cidr.h"
#include "tests/fuzz/fuzz.h"

#include <array>
#include <vector>

using namespace riposte;
using fuzz::require;

namespace {

constexpr size_t lines_max = 40;

bool bit_of(const SourceKey& key, size_t bit) {
    return (key[bit / 8] >> (7 - bit % 8) & 1) != 0;
}

/// By the bits, one at a time.
bool holds(const Cidr& cidr, const SourceKey& key) {
    if (is_ipv4(key) && cidr.bits < ipv4_offset_bits)
        return false;
    for (size_t bit = 0; bit < cidr.bits; bit++)
        if (bit_of(cidr.network, bit) != bit_of(key, bit))
            return false;
    return true;
}

/// The prefix of one line; nothing if it is not a prefix.
void read_line(std::string_view line, std::vector<Cidr>& prefixes) {
    const auto cidr = parse_cidr(line);
    if (!cidr) {
        require(cidr.error().offset <= line.size(), "the fault is in the text", line);
        fuzz::require_one_line(cidr.error().message);
        return;
    }
    require(cidr->bits <= 128, "a length that there is", line);
    for (size_t bit = cidr->bits; bit < 128; bit++)
        require(!bit_of(cidr->network, bit), "no bit is set beyond the length", line);
    const std::string written = to_string(*cidr);
    require(parse_cidr(written) == *cidr, "what was written means the same", written);
    require(contains(*cidr, cidr->network), "a prefix holds its own network", written);
    prefixes.push_back(*cidr);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) { // NOLINT(*-naming)
    fuzz::Input input(data, size);
    SourceKey key{};
    if (input.flag())
        key[10] = key[11] = 0xff; // IPv4
    for (size_t i = is_ipv4(key) ? 12 : 0; i < key.size(); i++)
        key[i] = input.byte();
    const std::string text = input.rest();
    std::vector<Cidr> prefixes;
    size_t begin = 0;
    for (size_t i = 0; i < lines_max && begin <= text.size(); i++) {
        const size_t end = std::min(text.find('\n', begin), text.size());
        read_line(std::string_view(text).substr(begin, end - begin), prefixes);
        begin = end + 1;
    }

    int longest = CidrSet::none;
    for (const Cidr& cidr : prefixes) {
        require(contains(cidr, key) == holds(cidr, key), "holds what its bits say");
        if (holds(cidr, key))
            longest = std::max(longest, int{cidr.bits});
    }
    const CidrSet set(prefixes);
    require(set.longest_match(key) == longest, "the set finds the longest");
    require(set.empty() == prefixes.empty(), "the set is empty if nothing is in it");
    return 0;
}
