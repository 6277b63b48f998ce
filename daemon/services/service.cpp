#include "daemon/services/service.h"

#include "daemon/services/services.h"

#include <array>

namespace riposte {
namespace {

constexpr std::array<std::string_view, service_kinds> kind_names = {
    "hello", "echo", "discard", "daytime", "chargen", "time", "stamp"};

} // namespace

std::string_view to_string(ServiceKind kind) {
    return kind_names[static_cast<size_t>(kind)];
}

std::optional<ServiceKind> parse_service(std::string_view name) {
    for (size_t i = 0; i < kind_names.size(); ++i)
        if (kind_names[i] == name)
            return static_cast<ServiceKind>(i);
    return std::nullopt;
}

bool speaks_tcp(ServiceKind kind) {
    return kind != ServiceKind::stamp;
}

std::span<const std::string_view> service_names() {
    return kind_names;
}

StreamReply Service::arrived(
    const ServiceContext&, StreamState&, std::span<std::byte>, size_t) const noexcept {
    return {.size = 0, .finish = false};
}

StreamReply Service::writable(
    const ServiceContext&, StreamState&, std::span<std::byte>) const noexcept {
    return {.size = 0, .finish = false};
}

uint32_t Service::longer_reply(
    const ServiceContext& /*context*/, const LongerReplyBuffer& /*buffer*/) const noexcept {
    return 0;
}

StreamReply Service::peer_finished(
    const ServiceContext&, StreamState&, std::span<std::byte>) const noexcept {
    return {.size = 0, .finish = true};
}

std::shared_ptr<const Service> make_service(ServiceKind kind, const ServiceOptions& options) {
    switch (kind) {
    case ServiceKind::hello:
        return make_hello(options.message);
    case ServiceKind::echo:
        return make_echo();
    case ServiceKind::discard:
        return make_discard();
    case ServiceKind::daytime:
        return make_daytime();
    case ServiceKind::chargen:
        return make_chargen();
    case ServiceKind::time:
        return make_time();
    case ServiceKind::stamp:
        return make_stamp(options.stamp);
    }
    return nullptr;
}

} // namespace riposte
