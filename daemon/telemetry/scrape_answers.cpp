#include "daemon/telemetry/scrape_answers.h"

#include <array>
#include <utility>

namespace riposte {
namespace {

constexpr std::array representations{
    Representation::text, Representation::openmetrics, Representation::json};

} // namespace

ScrapeAnswers::ScrapeAnswers(const Render& render)
    : documents_(
          {.kinds = representation_kinds, .renders_per_second = renders_per_second},
          [render](size_t kind) { return HttpBody(render(static_cast<Representation>(kind))); }) {}

HttpAnswer ScrapeAnswers::answer(const HttpRequest& request, uint64_t now_us) {
    const bool metrics = request.path() == "/metrics";
    if (!metrics && request.path() != "/healthz")
        return line_answer(404, "not found; there are /metrics and /healthz");
    if (auto refusal = refuse_method(request))
        return *std::move(refusal);
    if (!metrics)
        return draining_ ? line_answer(503, "draining") : line_answer(200, "ok");
    const Representation representation = negotiate(request.accept(), representations);
    auto body = documents_.get(static_cast<size_t>(representation), now_us);
    if (!body)
        return line_answer(503, "slow clients hold too many documents; try again");
    return {
        .type = std::string(content_type(representation)),
        .body = std::move(body),
        .by_accept = true};
}

} // namespace riposte
