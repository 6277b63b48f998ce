#include "client/ping/ping_live.h"

#include "client/show/figures.h"
#include "common/text.h"

#include <utility>

#include <fmt/format.h>

namespace riposte::client {

namespace {

/// What the last error of an endpoint says, without a time.
std::string error_of(const ProbeFate& fate) {
    if (fate.cause != nullptr)
        return describe(*fate.cause);
    switch (fate.outcome) {
    case Outcome::corrupted:
        return "corrupted reply";
    case Outcome::wrong_size:
        return "reply of the wrong size";
    case Outcome::lost:
    case Outcome::refused:
    case Outcome::unreachable:
    case Outcome::closed:
    case Outcome::too_big:
    case Outcome::local:
    case Outcome::pending:
    case Outcome::answered:
        break;
    }
    return "no answer";
}

} // namespace

/// "14:05:59Z no answer": the time at which the probe was due.
void LiveEndpoint::decide(const PingResult& result, const ProbeFate& fate, uint64_t now_ns) {
    recent_.decide(fate.due_ns, now_ns, fate.outcome, fate.rtt_ns);
    const bool is_good = fate.outcome == Outcome::answered;
    if (fate.sequence >= latest_) {
        latest_ = fate.sequence;
        last_ns_ = is_good && fate.rtt_ns > 0 ? std::optional(fate.rtt_ns) : std::nullopt;
    }
    if (is_good)
        return;
    const std::string time = utc_time(result.wall_seconds(fate.due_ns)); // 2025-03-09T14:05:59.250Z
    error_ = fmt::format("{}Z {}", time.substr(11, 8), error_of(fate));
}

LiveRow LiveEndpoint::row(const PingResult& result, uint64_t now_ns) const {
    return {
        .name = result.name,
        .loss_recent = recent_.loss_percent(now_ns),
        .loss_all = loss_percent(result.counts),
        .last_ns = last_ns_,
        .median_ns = percentile_of(result.rtt, 50),
        .p99_ns = percentile_of(result.rtt, 99),
        .minute = recent_.minute(now_ns, RecentMinute::cells),
        .error = error_};
}

Result<std::unique_ptr<PingLive>> PingLive::open(EventLoop& loop) {
    auto session = LiveSession::open("ping", loop);
    if (!session)
        return std::unexpected(session.error());
    return std::unique_ptr<PingLive>(new PingLive(std::move(*session)));
}

void PingLive::begin(std::span<const PingResult* const> results, bool color) {
    results_.assign(results.begin(), results.end());
    endpoints_.resize(results.size());
    color_ = color;
    session_->set_rows(results.size());
}

void PingLive::decide(size_t endpoint, const ProbeFate& fate, uint64_t now_ns) {
    endpoints_[endpoint].decide(*results_[endpoint], fate, now_ns);
}

LivePage PingLive::page(uint64_t now_ns, bool is_sending) const {
    const PingResult& first = *results_.front();
    const uint64_t elapsed_ns = now_ns > first.started_ns ? now_ns - first.started_ns : 0;
    constexpr uint64_t second = 1'000'000'000;
    const uint64_t whole = elapsed_ns / second;
    LivePage page{
        .title = fmt::format(
            "riposte ping: {}, every {}, for {}:{:02}:{:02}",
            results_.size() == 1 ? "1 endpoint" : fmt::format("{} endpoints", results_.size()),
            interval_text(first.interval_ns), whole / 3600, whole / 60 % 60, whole % 60),
        .state = is_sending ? "" : "waits for the last replies",
        .rows = {}};
    page.rows.reserve(results_.size());
    for (size_t at = 0; at < results_.size(); at++)
        page.rows.push_back(endpoints_[at].row(*results_[at], now_ns));
    return page;
}

Result<void> PingLive::turn(uint64_t now_ns, uint64_t next_due_ns, bool is_sending) {
    return session_->turn(now_ns, next_due_ns, [&](ScreenSize size, const LiveView& view) {
        return render_live(page(now_ns, is_sending), view, size, session_->shows_unicode(), color_);
    });
}

} // namespace riposte::client
