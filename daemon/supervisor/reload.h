// A reload (SIGHUP): all of the new configuration, or nothing and the old one stays.
//
//   1. Read the file; again a little later if it was just written and would close a port.
//   2. Let every worker reserve memory for it: a worker that has confirmed can apply it.
//   3. Adopt it (Deployment): from here on it holds.
//   4. Send the plans, and wait until every worker has confirmed that nothing is in flight on the
//      removed sockets; only then are they closed.
//
// Where a reload stands is ReloadProgress; this class does what each phase needs, in the main
// thread, and never waits.
#pragma once

#include "common/error.h"
#include "daemon/config/config.h"
#include "daemon/config/options.h"
#include "daemon/supervisor/deployment.h"
#include "daemon/supervisor/notifier.h"
#include "daemon/supervisor/reload_progress.h"
#include "daemon/telemetry/snapshot.h"
#include "daemon/worker/worker_thread.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

namespace riposte {

class Reload {
public:
    using Workers = std::vector<std::unique_ptr<WorkerThread>>;

    /// All of these outlive it. `on_end` is called when a reload was applied or refused, and
    /// reports readiness.
    Reload(
        const Options& options, Deployment& deployment, const Workers& workers,
        systemd::Notifier& manager, std::function<void()> on_end);

    /// The start ended at this time; it is reported as the first success.
    void set_start(double seconds) noexcept {
        report_.time_seconds = report_.success_seconds = seconds;
    }
    void request();
    /// A worker has prepared or settled.
    void on_news();
    /// When to call on_time(), by CLOCK_MONOTONIC.
    std::optional<uint64_t> deadline_us() const noexcept { return progress_.deadline_us(); }
    void on_time(uint64_t now_us);
    /// The daemon stops: no reload begins any more.
    void stop() noexcept;

    const ReloadReport& report() const noexcept { return report_; }

private:
    Result<Config> read_config() const;
    bool is_to_be_read_again(const Config& config);
    void prepare(Config wanted);
    void on_prepared();
    void send_plans();
    void finish();
    void refuse(const Error& error);
    void end();

    const Options& options_;
    Deployment& deployment_;
    const Workers& workers_;
    systemd::Notifier& manager_;
    std::function<void()> on_end_;

    ReloadProgress progress_;
    std::optional<Config> wanted_; ///< while the workers prepare for it
    ReloadReport report_;
};

} // namespace riposte
