// RFC 867, Daytime Protocol. A human-readable time, then the connection is finished; what the
// client sends is thrown away. The RFC leaves the format open; ours is UTC in its first suggested
// form: "Sunday, November 22, 2026 16:03:48-UTC\r\n". Over UDP the answer goes only to a question
// that is at least as long, or to who may be sent more.
#include "daemon/services/answer.h"
#include "daemon/services/services.h"

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
        return answer_and_finish(buffer, std::as_bytes(std::span(line.text).first(line.size)));
    }

    DatagramReply datagram(
        const ServiceContext& context, std::span<std::byte> datagram) const noexcept override {
        Line line = daytime_line(context.wall_seconds);
        return answer_if_shorter(datagram, std::as_bytes(std::span(line.text).first(line.size)));
    }

    uint32_t longer_answer(
        const ServiceContext& context, const LongerRoom& room) const noexcept override {
        Line line = daytime_line(context.wall_seconds);
        return answer_in_full(room, std::as_bytes(std::span(line.text).first(line.size)));
    }
};

} // namespace

std::shared_ptr<const Service> make_daytime() {
    return std::make_shared<Daytime>();
}

} // namespace riposte
