#include "client/ping/ping_live.h"

#include "client/show/causes.h"
#include "client/show/figures.h"
#include "common/text.h"

#include <utility>

#include <fmt/format.h>

namespace riposte::client {

/// An error has the time at which the probe was due.
void LiveEndpoint::decide(const PingResult& result, const ProbeFate& fate, uint64_t now_ns) {
    recent_.decide(fate.due_ns, now_ns, fate.outcome, fate.rtt_ns);
    const bool is_good = fate.outcome == Outcome::answered;
    if (fate.sequence >= latest_) {
        latest_ = fate.sequence;
        last_ns_ = is_good && fate.rtt_ns > 0 ? std::optional(fate.rtt_ns) : std::nullopt;
    }
    if (is_good)
        return;
    error_ = failure_text(result.wall_seconds(fate.due_ns), fate.outcome, fate.cause);
}

LiveRow LiveEndpoint::row(const PingResult& result, uint64_t now_ns) const {
    LiveRow row;
    row.name = result.name;
    row.loss_recent = recent_.loss_percent(now_ns);
    row.loss_all = loss_percent(result.counts);
    row.error = error_;
    return row;
}

void LiveEndpoint::complete(LiveRow& row, const PingResult& result, uint64_t now_ns) const {
    row.last_ns = last_ns_;
    row.median_ns = percentile_of(result.rtt, 50);
    row.p99_ns = percentile_of(result.rtt, 99);
    row.minute = recent_.minute(now_ns, RecentMinute::cells);
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
        .rows = {},
        .complete = [this, now_ns](LiveRow& row) {
            endpoints_[row.number].complete(row, *results_[row.number], now_ns);
        }};
    page.rows.reserve(results_.size());
    for (size_t at = 0; at < results_.size(); at++) {
        page.rows.push_back(endpoints_[at].row(*results_[at], now_ns));
        page.rows.back().number = at;
    }
    return page;
}

Result<void> PingLive::turn(uint64_t now_ns, uint64_t next_due_ns, bool is_sending) {
    return session_->turn(now_ns, next_due_ns, [&](ScreenSize size, const LiveView& view) {
        return render_live(page(now_ns, is_sending), view, size, session_->shows_unicode(), color_);
    });
}

} // namespace riposte::client
