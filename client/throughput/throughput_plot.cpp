#include "client/throughput/throughput_plot.h"

#include "client/show/figures.h"
#include "client/show/plot.h"
#include "client/show/plot_area.h"
#include "client/show/plot_panels.h"
#include "client/show/plot_scale.h"
#include "client/show/svg.h"
#include "client/show/table.h"
#include "client/throughput/throughput_report.h"
#include "client/working/latency_under_load.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include <fmt/format.h>

namespace riposte::client {

namespace {

constexpr double key_row = 20;
constexpr double key_swatch = 34;
constexpr double above_panel = 40;
constexpr double below_panel = 12;
constexpr size_t name_columns = 48;

/// Bits a second from 0 on, linear.
class RateScale {
public:
    explicit RateScale(double greatest) {
        constexpr double ticks_about = 5;
        const double rough = std::max(greatest, 1.0) / ticks_about;
        const double decade = std::pow(10, std::floor(std::log10(rough)));
        step_ = 10 * decade;
        for (const double factor : {1.0, 2.0, 5.0})
            if (factor * decade >= rough) {
                step_ = factor * decade;
                break;
            }
        end_ = std::ceil(std::max(greatest, 1.0) * 1.02 / step_) * step_;
    }

    double place(double rate) const { return std::clamp(rate / end_, 0.0, 1.0); }
    std::vector<Tick> ticks() const {
        std::vector<Tick> all;
        for (double at = 0; at <= end_ * (1 + 1e-9); at += step_)
            all.push_back({place(at), fmt::format("{:g}", at / 1e6)});
        return all;
    }

private:
    double step_;
    double end_;
};

std::string rate_axis(const Area& area, const RateScale& scale) {
    std::string text;
    for (const Tick& tick : scale.ticks()) {
        const double y = area.y(tick.at);
        text += svg_line({area.x(0), y}, {area.x(1), y}, "grid");
        text += svg_text({area.x(0) - 8, y + 4}, tick.label, "end");
    }
    return text + fmt::format(
                      "<text class=\"middle\" transform=\"translate(18 {:.1f}) rotate(-90)\">"
                      "Mbit/s</text>\n",
                      area.y(0.5));
}

/// Steps: an interval's rate from its begin to its end.
std::string rate_steps(
    const Area& area, const RateScale& rates, const TimeScale& time, const StreamResult& stream,
    std::string_view classes) {
    SvgPath path;
    for (const RateInterval& interval : stream.intervals) {
        const double y = area.y(rates.place(bits_per_second(interval)));
        const Point begin{area.x(time.place(static_cast<double>(interval.begin_ns))), y};
        const Point end{area.x(time.place(static_cast<double>(interval.end_ns))), y};
        if (path.empty())
            path.move_to(begin);
        else
            path.line_to(begin);
        path.line_to(end);
    }
    return path.element(classes);
}

std::string stream_class(size_t number) {
    constexpr std::array<std::string_view, 2> classes{"line s0", "line s1"};
    return std::string(classes.at(number));
}

/// "upload tcp://...: 941 Mbit/s, 3 retransmissions".
std::string key_text(const StreamResult& stream) {
    std::string text = fmt::format(
        "{} {}: {} Mbit/s", to_string(stream.flow), shorten(stream.name, name_columns),
        megabits(stream.rate()));
    if (stream.transport == Transport::tcp && stream.flow == Flow::upload)
        text += fmt::format(
            ", {} retransmission{}", stream.retransmits, stream.retransmits == 1 ? "" : "s");
    return text;
}

std::string subtitle_of(const ThroughputResult& result) {
    std::string text = fmt::format("{} measured", elapsed_time(result.elapsed_ns));
    if (!result.latency)
        return text;
    const LatencyUnderLoad& latency = *result.latency;
    if (!latency.idle.rtt.empty() && !latency.working.rtt.empty())
        text += fmt::format(
            "; median latency idle {}, working {}",
            short_duration(static_cast<double>(latency.idle.rtt.percentile_ns(50))),
            short_duration(static_cast<double>(latency.working.rtt.percentile_ns(50))));
    if (const auto rpm = responsiveness(latency).rpm())
        text += fmt::format("; {:.0f} RPM", *rpm);
    return text;
}

} // namespace

std::string throughput_plot(const ThroughputResult& result) {
    const PlotHead head{
        .title = "riposte load: how much goes through",
        .subtitle = subtitle_of(result),
        .started_at = result.started_at};
    double greatest = 0;
    uint64_t end_ns = 1;
    for (const StreamResult& stream : result.streams)
        for (const RateInterval& interval : stream.intervals) {
            greatest = std::max(greatest, bits_per_second(interval));
            end_ns = std::max(end_ns, interval.end_ns);
        }
    SvgPage page = begin_page(head);
    page.bottom += key_row;
    for (size_t i = 0; i < result.streams.size(); i++) {
        page.bottom += key_row;
        page.body += svg_line(
            {panel_left, page.bottom}, {panel_left + key_swatch, page.bottom}, stream_class(i));
        page.body += svg_text(
            {panel_left + key_swatch + 8, page.bottom + 4}, key_text(result.streams[i]), "");
    }
    const RateScale rates(greatest);
    const TimeScale time(end_ns);
    const Area area{.top = page.bottom + above_panel};
    page.body += svg_text({panel_left, area.top - heading_above}, "Rate over time", "heading");
    page.body += rate_axis(area, rates);
    page.body += lower_axis(area, time.ticks(), time.title(), below_panel);
    for (size_t i = 0; i < result.streams.size(); i++)
        page.body += rate_steps(area, rates, time, result.streams[i], stream_class(i));
    page.bottom = area.bottom() + axis_below + below_panel;
    return end_page(head, page);
}

} // namespace riposte::client
