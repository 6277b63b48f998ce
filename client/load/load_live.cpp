#include "client/load/load_live.h"

#include "client/show/causes.h"
#include "client/show/figures.h"
#include "common/text.h"

#include <array>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace riposte::client {

namespace {

std::vector<std::string> live_errors(const LoadResult& result) {
    const LoadCounts& counts = result.counts;
    const std::array<std::pair<uint64_t, std::string_view>, 8> kinds{
        {{counts.lost, "lost"},
         {counts.refused, "refused"},
         {counts.unreachable, "unreachable"},
         {counts.closed, "closed"},
         {counts.too_big, "too big"},
         {counts.corrupted, "corrupted"},
         {counts.wrong_size, "wrong size"},
         {counts.local, "not sent by this machine"}}};
    std::vector<std::string> texts;
    for (const auto& [count, name] : kinds)
        if (count > 0)
            texts.push_back(fmt::format("{} {}", count, name));
    if (const auto& last = result.last_failure)
        texts.push_back(
            "last " + failure_text(
                          result.started_at + static_cast<double>(last->due_ns) / 1e9,
                          last->outcome, last->cause ? &*last->cause : nullptr));
    return texts;
}

std::string live_state(const LoadProgress& progress) {
    if (progress.warming_up)
        return "; warming up";
    if (progress.left_ns && *progress.left_ns == 0)
        return "; waits for the last replies";
    std::string text;
    if (progress.done)
        text = fmt::format("; {:.0f}% done", 100 * *progress.done);
    if (progress.left_ns)
        text += fmt::format(", {:.0f} s left", static_cast<double>(*progress.left_ns) / 1e9);
    return text;
}

} // namespace

LoadPage load_page(const LoadResult& result, const LoadProgress& progress) {
    LoadPage page{
        .title = fmt::format("riposte load: {}{}", result.name, live_state(progress)),
        .figures = {},
        .errors = live_errors(result),
        .samples = {}};
    page.figures.push_back(fmt::format("{} answers/s now", short_number(progress.rate)));
    page.figures.push_back(
        result.rate ? fmt::format("{} connections at {}/s", result.connections, *result.rate)
                    : plural(result.connections, "connection"));
    page.figures.push_back(fmt::format("{} answered", result.counts.answered));
    if (!result.latency.empty()) {
        const Figures of = figures(result.latency);
        page.figures.push_back(fmt::format(
            "median/p99/max {}/{}/{} ms", percentile_milliseconds(of.median_ns),
            percentile_milliseconds(of.p99_ns), milliseconds(of.max_ns)));
    }
    return page;
}

Result<std::unique_ptr<LoadLive>> LoadLive::open(EventLoop& loop, bool color) {
    auto session = LiveSession::open("load", loop);
    if (!session)
        return std::unexpected(session.error());
    return std::unique_ptr<LoadLive>(new LoadLive(std::move(*session), color));
}

void LoadLive::sample(double rate, const Histogram& latencies) {
    LoadSample sample{.rate = rate, .latency_ns = {}};
    if (latencies.has_percentile(99))
        sample.latency_ns = static_cast<double>(latencies.percentile_ns(99));
    else if (!latencies.empty())
        sample.latency_ns = static_cast<double>(latencies.max_ns());
    samples_.push_back(sample);
    if (samples_.size() > LoadPage::samples_max)
        samples_.pop_front();
}

Result<void> LoadLive::turn(
    uint64_t now_ns, uint64_t next_due_ns, const LoadResult& result, const LoadProgress& progress) {
    return session_->turn(now_ns, next_due_ns, [&](ScreenSize size, const LiveView&) {
        LoadPage page = load_page(result, progress);
        page.samples = samples_;
        return render_live_load(page, size, session_->shows_unicode(), color_);
    });
}

} // namespace riposte::client
