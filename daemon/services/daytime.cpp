// RFC 867, Daytime Protocol. The service sends a human-readable time, finishes the connection, and
// discards what the client sends. The RFC leaves the format open; ours is UTC in its first
// suggested form: "Sunday, November 22, 2026 16:03:48-UTC\r\n". Over UDP the service replies only
// to a request that is at least as long as the reply, or to a peer in `longer_answers_to`.
#include "daemon/services/services.h"
#include "daemon/services/short_reply.h"

#include <array>
#include <cassert>

#include <stdio.h>
#include <time.h>

namespace riposte {
namespace {

constexpr std::array<const char*, 7> weekdays = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                 "Thursday", "Friday", "Saturday"};
constexpr std::array<const char*, 12> months = {"January",   "February", "March",    "April",
                                                "May",       "June",     "July",     "August",
                                                "September", "October",  "November", "December"};

struct Line {
    std::array<char, 80> text;
    size_t size;
};

Line daytime_line(int64_t wall_seconds) {
    time_t now = wall_seconds;
    tm utc{};
    gmtime_r(&now, &utc);
    Line line{};
    const int size = snprintf(
        line.text.data(), line.text.size(), "%s, %s %d, %d %02d:%02d:%02d-UTC\r\n",
        weekdays[static_cast<size_t>(utc.tm_wday)], months[static_cast<size_t>(utc.tm_mon)],
        utc.tm_mday, utc.tm_year + 1900, utc.tm_hour, utc.tm_min, utc.tm_sec);
    assert(size > 0 && static_cast<size_t>(size) < line.text.size());
    line.size = static_cast<size_t>(size);
    return line;
}

class Daytime final : public Service {
public:
    bool speaks_first() const noexcept override { return true; }

    StreamReply writable(const ServiceContext& context, StreamState&, std::span<std::byte> buffer)
        const noexcept override {
        Line line = daytime_line(context.wall_seconds);
        return reply_and_finish(buffer, std::as_bytes(std::span(line.text).first(line.size)));
    }

    DatagramReply datagram(
        const ServiceContext& context, std::span<std::byte> datagram) const noexcept override {
        Line line = daytime_line(context.wall_seconds);
        return reply_if_not_longer(datagram, std::as_bytes(std::span(line.text).first(line.size)));
    }

    uint32_t longer_reply(
        const ServiceContext& context, const LongerReplyBuffer& buffer) const noexcept override {
        Line line = daytime_line(context.wall_seconds);
        return reply_in_full(buffer, std::as_bytes(std::span(line.text).first(line.size)));
    }
};

} // namespace

std::shared_ptr<const Service> make_daytime() {
    return std::make_shared<Daytime>();
}

} // namespace riposte
