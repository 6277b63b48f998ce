// What the words of `riposte send` mean.
#include "client/options/options_values.h"
#include "client/options/raw_options.h"
#include "common/text.h"
#include "common/units.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace riposte::client {

namespace {

/// Is it written like a number, perhaps with what may be meant for a unit? Then it is no TEXT: for
/// "10k", meant as 10KiB, send would wait until the timeout.
bool is_like_bytes(std::string_view word) {
    size_t digits = 0;
    while (digits < word.size() && (is_digit(word[digits]) || word[digits] == '.'))
        digits++;
    if (digits == 0 || !is_digit(word.front()) || std::ranges::count(word, '.') > 1)
        return false;
    constexpr std::array<std::string_view, 12> units{"",   "b",  "k",  "m",   "g",   "t",
                                                     "kb", "mb", "gb", "kib", "mib", "gib"};
    std::string unit(word.substr(digits));
    for (char& c : unit)
        c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return std::ranges::find(units, unit) != units.end();
}

Result<void> read_pattern(
    std::string_view name, const RawValue& word, std::optional<Pattern>& target) {
    if (!word)
        return {};
    auto pattern = parse_pattern(*word);
    if (!pattern)
        return usage(fmt::format("{}: {}", name, pattern.error()));
    target = std::move(*pattern);
    return {};
}

Result<void> read_until(const RawValue& word, AnswerRules& answer) {
    if (!word || !is_like_bytes(*word))
        return read_pattern("--until", word, answer.until);
    const auto bytes = parse_size(*word);
    if (!bytes)
        return usage(
            fmt::format("--until: {}; /{}/ is the text", bytes.error(), escape(*word, 40)));
    if (*bytes == 0)
        return usage("--until: must be at least 1 byte; /0/ is the text");
    answer.until_bytes = *bytes;
    return {};
}

Result<void> read_answer(const RawSend& words, bool is_datagram, AnswerRules& answer) {
    if (words.first && words.until)
        return usage("--first and --until exclude each other; each says where the answer ends");
    if (auto read = all_of(
            {read_until(words.until, answer),
             read_pattern("--expect", words.expect, answer.expect)});
        !read)
        return read;
    answer.first = words.first || (is_datagram && !words.until && !words.expect);
    return {};
}

} // namespace

Result<Options> read_send(const RawSend& words) {
    auto common = read_common(words.common);
    if (!common)
        return std::unexpected(common.error());
    if (words.endpoint.value_or("").empty())
        return no_endpoint("send");
    auto endpoint = read_endpoint(*words.endpoint, words.common.udp);
    if (!endpoint)
        return std::unexpected(endpoint.error());
    if (auto read = read_path(words.common, words.path, common->path); !read)
        return std::unexpected(read.error());
    if (auto checked = check_df(common->path, *endpoint); !checked)
        return std::unexpected(checked.error());
    const std::string_view greeting =
        endpoint->transport == Transport::udp ? "Hello!" : "Hello, i'm client!";
    SendOptions send{
        .endpoint = std::move(*endpoint),
        .message = words.message.value_or(std::string(greeting)),
        .message_from_input = words.message == "-",
        .verbose = words.verbose,
        .quiet = words.quiet};
    const bool is_datagram = send.endpoint.transport == Transport::udp;
    if (auto read = read_answer(words, is_datagram, send.answer); !read)
        return std::unexpected(read.error());
    const std::string& word = send.message;
    if (const std::string meant = words.message_marked ? "" : with_port(*words.endpoint, word);
        !meant.empty())
        send.hint = fmt::format(
            "'{0}' is sent as the message, to port {1}; for port {0} write {2}, and for this -- "
            "{0}",
            word, default_port, meant);
    return Options{.common = std::move(*common), .command = std::move(send)};
}

} // namespace riposte::client
