// What the words of `riposte send` mean.
#include "client/options/options_values.h"
#include "client/options/raw_options.h"

#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace riposte::client {

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
        .verbose = words.verbose};
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
