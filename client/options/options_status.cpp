// What the words of `riposte status` mean.
#include "client/options/options_values.h"
#include "client/options/raw_options.h"
#include "common/text.h"

#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <sys/un.h>

namespace riposte::client {

namespace {

/// "unix:/PATH", or an endpoint of TCP.
Result<StatusPlace> read_place(const std::string& text) {
    constexpr std::string_view scheme = "unix:";
    if (text.starts_with(scheme)) {
        std::string path = text.substr(scheme.size());
        if (!path.starts_with('/'))
            return usage(fmt::format("endpoint '{}': write unix:/PATH", escape(text)));
        if (path.size() >= sizeof(sockaddr_un::sun_path))
            return usage(fmt::format(
                "endpoint '{}': the path of a unix socket has at most {} bytes", escape(text),
                sizeof(sockaddr_un::sun_path) - 1));
        return StatusPlace{std::move(path), {}};
    }
    auto endpoint = read_endpoint(text, false, status_port);
    if (!endpoint)
        return std::unexpected(endpoint.error());
    if (endpoint->transport == Transport::udp)
        return usage(fmt::format(
            "endpoint '{}': metrics are asked for over TCP, or unix:/PATH", escape(text)));
    return StatusPlace{{}, std::move(*endpoint)};
}

} // namespace

Result<Options> read_status(const RawStatus& words) {
    auto common = read_common(words.common);
    if (!common)
        return std::unexpected(common.error());
    if (auto read = read_source(words.common.source, false, common->path); !read)
        return std::unexpected(read.error());
    StatusOptions status;
    status.json = words.json;
    status.watch = words.watch;
    status.quiet = words.quiet;
    if (status.json && status.quiet)
        return usage("-j and -q exclude each other; -j prints the daemon's own document");
    if (auto read = read_duration_ms("--interval", words.interval, false, status.interval_ms);
        !read)
        return std::unexpected(read.error());
    if (words.interval && !words.watch)
        return usage("--interval is for --watch");
    if (!words.endpoint) {
        status.usual_places = true;
        status.places = {{status_socket, {}}, {"", {Transport::tcp, "127.0.0.1", status_port}}};
    } else {
        auto place = read_place(*words.endpoint);
        if (!place)
            return std::unexpected(place.error());
        status.places.push_back(std::move(*place));
    }
    return Options{.common = std::move(*common), .command = std::move(status)};
}

} // namespace riposte::client
