#include "client/load/load_run.h"

#include "client/load/load_report.h"
#include "client/measure/cpu_time.h"
#include "client/measure/linger.h"
#include "client/show/measurement_output.h"
#include "client/show/report.h"
#include "common/clock.h"

#include <algorithm>
#include <utility>

#include <unistd.h>

namespace riposte::client {

namespace {

constexpr uint64_t tick_ns = 50'000'000;
constexpr uint64_t show_ns = 200'000'000;

} // namespace

LoadRun::LoadRun(
    LoadContext& context, LoadEngine& engine, const LoadPlan& plan, bool wants_series,
    LoadResult& result, const ReportOptions& report, Look look)
    : context_(context), engine_(engine), plan_(plan), wants_series_(wants_series), result_(result),
      report_(report), look_(look) {}

Result<void> LoadRun::run() {
    if (auto opened = engine_.open(); !opened)
        return opened;
    if (report_.live) {
        auto screen = LoadLive::open(context_.loop, look_.color);
        if (!screen)
            return std::unexpected(screen.error());
        screen_ = std::move(*screen);
    }
    const uint64_t now = monotonic_ns();
    next_tick_ns_ = now + tick_ns;
    shown_ns_ = now;
    context_.schedule.start(now);
    context_.account.measure_from(context_.schedule.measured_from_ns());
    if (wants_series_)
        result_.series = std::make_unique<Series>(context_.schedule.measured_from_ns());
    if (report_.every_ms) {
        intervals_.emplace(
            result_, context_.schedule, *report_.every_ms, context_.setup.timeout_ns,
            report_.json_lines, look_);
        context_.account.count_in(intervals_->intervals());
    }
    if (context_.schedule.phase() != LoadPhase::warming_up)
        begin_measuring(now);
    context_.loop.handle_second(true);
    engine_.start();
    engine_.pump(now);
    send_and_receive();
    await_answers();
    context_.loop.handle_second(false);
    screen_.reset();
    result_.cut_short = context_.loop.interrupts() > 1;
    engine_.finish();
    context_.account.finish();
    live_.erase();
    if (intervals_)
        print_lines(intervals_->take_last());
    return printed_;
}

void LoadRun::begin_measuring(uint64_t now_ns) {
    measuring_ = true;
    cpu_before_ns_ = cpu_time_ns(RUSAGE_SELF);
    if (pinging_ != nullptr)
        pinging_->begin(now_ns);
    result_.started_at =
        static_cast<double>(realtime_ns() - (now_ns - context_.schedule.measured_from_ns())) / 1e9;
}

uint64_t LoadRun::turn(uint64_t deadline_ns) {
    const auto events = context_.loop.wait(deadline_ns);
    const uint64_t now = monotonic_ns();
    LoadSchedule& schedule = context_.schedule;
    schedule.advance(now);
    if (!measuring_ && schedule.phase() == LoadPhase::measuring)
        begin_measuring(now);
    engine_.handle(events, now);
    if (now >= next_tick_ns_)
        tick(now);
    return now;
}

void LoadRun::send_and_receive() {
    LoadSchedule& schedule = context_.schedule;
    while (schedule.phase() != LoadPhase::over) {
        const uint64_t deadline = std::min(
            {next_tick_ns_, schedule.next_phase_ns(), engine_.next_pump_ns(),
             // While all connections are full, an answer wakes us up.
             schedule.due() > 0 ? UINT64_MAX : schedule.next_due_ns()});
        const uint64_t now = turn(deadline);
        if (context_.loop.interrupted() || !printed_) {
            result_.interrupted = true;
            schedule.stop(now);
        }
        engine_.pump(now);
    }
    schedule.close();
    if (pinging_ != nullptr)
        pinging_->end(schedule.end_ns());
    result_.counts.unsent = schedule.unsent();
    result_.elapsed_ns = schedule.end_ns() - schedule.measured_from_ns();
    if (measuring_)
        result_.cpu_ns = cpu_time_ns(RUSAGE_SELF) - cpu_before_ns_;
}

/// However the run ended, requests that are under way are lingered for (linger.h), and lost if no
/// answer comes; after a second interrupt those that were sent a shorter time ago are undecided.
/// While nothing was answered, only -W says how long to wait. A run of so many
/// requests is as long as it takes to answer them.
void LoadRun::await_answers() {
    LoadAccount& account = context_.account;
    const uint64_t end_ns = context_.schedule.end_ns();
    const uint64_t timeout_ns = context_.setup.timeout_ns;
    const bool is_counted = plan_.count && account.pending() > 0;
    engine_.take_arrivals(monotonic_ns());
    while (account.pending() > 0 && printed_) {
        const bool is_cut_short = context_.loop.interrupts() > 1;
        const uint64_t round_trip_ns = account.greatest_round_trip_ns();
        engine_.set_timeout(
            round_trip_ns == 0 && !is_cut_short ? timeout_ns
                                                : linger_ns(timeout_ns, round_trip_ns));
        if (is_cut_short) {
            engine_.sweep(monotonic_ns());
            return;
        }
        turn(next_tick_ns_);
        result_.interrupted |= context_.loop.interrupted();
        if (!is_counted || account.last_answer_ns() < end_ns)
            continue;
        result_.elapsed_ns = account.last_answer_ns() - context_.schedule.measured_from_ns();
        result_.cpu_ns = cpu_time_ns(RUSAGE_SELF) - cpu_before_ns_;
    }
}

void LoadRun::tick(uint64_t now_ns) {
    next_tick_ns_ = now_ns + tick_ns;
    engine_.sweep(now_ns);
    const bool wants_interim = context_.loop.take_interim();
    if (wants_interim && screen_ != nullptr) {
        screen_->redraw();
    } else if (wants_interim) {
        context_.account.fold();
        result_.elapsed_ns = now_ns - std::min(now_ns, context_.schedule.measured_from_ns());
        const MayBlock guard(context_.loop);
        live_.erase();
        write_all(STDERR_FILENO, load_interim(result_));
    }
    if (intervals_ && measuring_)
        print_lines(intervals_->take(now_ns));
    if (now_ns - shown_ns_ >= show_ns)
        show(now_ns);
}

/// The line at the bottom of the terminal makes room for them. After an error the run ends.
void LoadRun::print_lines(const std::string& lines) {
    if (lines.empty() || !printed_)
        return;
    live_.erase();
    const MayBlock guard(context_.loop);
    printed_ = print(lines);
}

LoadProgress LoadRun::progress(uint64_t now_ns) const {
    const LoadAccount& account = context_.account;
    const LoadSchedule& schedule = context_.schedule;
    LoadProgress progress;
    progress.warming_up = schedule.phase() == LoadPhase::warming_up;
    const uint64_t from_ns = schedule.measured_from_ns();
    const uint64_t measured_ns = now_ns - std::min(now_ns, from_ns);
    const auto part = [&](uint64_t some, uint64_t all) {
        progress.done = std::max(
            progress.done.value_or(0),
            std::min(1.0, static_cast<double>(some) / static_cast<double>(all)));
    };
    if (plan_.duration_ns > 0) {
        part(measured_ns, plan_.duration_ns);
        progress.left_ns =
            from_ns + plan_.duration_ns - std::min(now_ns, from_ns + plan_.duration_ns);
    }
    if (plan_.count)
        part(result_.counts.sent, *plan_.count);
    progress.rate = static_cast<double>(account.answers() - shown_answers_) /
                    (static_cast<double>(now_ns - shown_ns_) / 1e9);
    if (account.recent().has_percentile(99))
        progress.p99_ns = account.recent().percentile_ns(99);
    else if (!account.recent().empty())
        progress.max_ns = account.recent().max_ns();
    progress.errors = result_.counts.errors();
    return progress;
}

/// If the terminal is gone, the run ends, as after any failure of standard output.
void LoadRun::draw(uint64_t now_ns) {
    const LoadProgress now = progress(now_ns);
    screen_->sample(now.rate, context_.account.recent());
    context_.account.fold();
    if (auto drawn = screen_->turn(now_ns, UINT64_MAX, result_, now); !drawn)
        printed_ = drawn;
}

void LoadRun::show(uint64_t now_ns) {
    LoadAccount& account = context_.account;
    if (screen_ != nullptr) {
        draw(now_ns);
    } else if (live_.is_shown() && !context_.quiet) {
        const MayBlock guard(context_.loop);
        live_.draw(load_progress(progress(now_ns), live_.width(), shows_unicode()));
    }
    account.fold();
    shown_ns_ = now_ns;
    shown_answers_ = account.answers();
}

} // namespace riposte::client
