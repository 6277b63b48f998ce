// What a prober's HTTP server answers:
//
//     /           who is probed, the worst first, for people (fleet_page.h)
//     /metrics    for Prometheus, as text or OpenMetrics (probe_metrics.h)
//     /targets    who is probed, with what result, as JSON
//     /healthz    ok
//
// Everything but /healthz shows one picture of the figures, which is asked for when it is rendered;
// a prober that does not hand one over in time makes it 503.
#pragma once

#include "client/probe/figures.h"
#include "client/probe/recent_results.h"
#include "common/http/answer.h"
#include "common/http/documents.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace riposte::client {

class ProbeAnswers {
public:
    /// A picture takes the prober's time, which is worth more than a scraper's haste.
    static constexpr size_t renders_per_second = 5;

    /// Null: the prober does not answer.
    using Picture = std::function<std::shared_ptr<const FleetFigures>()>;

    /// The document at /targets.
    using TargetsJson = std::function<std::string(const FleetFigures&)>;

    /// `created`: ProbeMetricsOptions.
    ProbeAnswers(Picture picture, TargetsJson targets_json, std::string version, bool created);
    ProbeAnswers(const ProbeAnswers&) = delete;
    ProbeAnswers& operator=(const ProbeAnswers&) = delete;

    /// To a complete request. By one thread only.
    HttpAnswer answer(const HttpRequest& request, uint64_t now_us);

private:
    std::optional<HttpBody> render(size_t kind);

    Picture picture_;
    TargetsJson targets_json_;
    std::string version_;
    bool created_;
    EarlierPicture earlier_{};
    HttpDocuments documents_;
};

} // namespace riposte::client
