#include "client/probe/probe_answers.h"

#include "client/probe/fleet_page.h"
#include "client/probe/probe_metrics.h"
#include "common/clock_error.h"
#include "common/http/representation.h"

#include <array>
#include <string_view>
#include <utility>

namespace riposte::client {
namespace {

enum class ServedKind : uint8_t { text, openmetrics, targets, page };

constexpr size_t document_kinds = 4;

constexpr std::array metrics_representations{Representation::text, Representation::openmetrics};

struct Served {
    ServedKind document;
    std::string_view type;
    bool by_accept;
};

std::optional<Served> served_at(const HttpRequest& request) {
    if (request.path() == "/")
        return Served{ServedKind::page, "text/html; charset=utf-8", false};
    if (request.path() == "/targets")
        return Served{ServedKind::targets, content_type(Representation::json), false};
    if (request.path() != "/metrics")
        return std::nullopt;
    const Representation wanted = negotiate(request.accept(), metrics_representations);
    return Served{
        wanted == Representation::openmetrics ? ServedKind::openmetrics : ServedKind::text,
        content_type(wanted), true};
}

std::optional<ClockError> clock_now() {
    const auto clock = read_clock_error();
    return clock ? std::optional(*clock) : std::nullopt;
}

} // namespace

ProbeAnswers::ProbeAnswers(
    Picture picture, TargetsJson targets_json, std::string version, bool created)
    : picture_(std::move(picture)), targets_json_(std::move(targets_json)),
      version_(std::move(version)), created_(created),
      documents_(
          {.kinds = document_kinds, .renders_per_second = renders_per_second},
          [this](size_t kind) { return render(kind); }) {}

HttpAnswer ProbeAnswers::answer(const HttpRequest& request, uint64_t now_us) {
    const bool health = request.path() == "/healthz";
    const auto served = served_at(request);
    if (!health && !served)
        return line_answer(404, "not found; there are /, /metrics, /targets and /healthz");
    if (auto refusal = refuse_method(request))
        return *std::move(refusal);
    if (health)
        return line_answer(200, "ok");
    auto body = documents_.get(static_cast<size_t>(served->document), now_us);
    if (!body)
        return line_answer(
            503,
            "no figures now: the prober is too busy, or slow clients hold too many; try again");
    return {
        .type = std::string(served->type), .body = std::move(body), .by_accept = served->by_accept};
}

std::optional<HttpBody> ProbeAnswers::render(size_t kind) {
    const auto figures = picture_();
    if (!figures)
        return std::nullopt;
    const auto before = earlier_.before(figures);
    const auto document = static_cast<ServedKind>(kind);
    if (document == ServedKind::page)
        return fleet_page(*figures, before.get(), version_);
    if (document == ServedKind::targets)
        return HttpBody(targets_json_(*figures));
    const auto format = document == ServedKind::openmetrics ? ExpositionFormat::openmetrics
                                                            : ExpositionFormat::prometheus;
    return probe_metrics(
        *figures, {.version = version_, .clock = clock_now()},
        {.format = format, .created = created_});
}

} // namespace riposte::client
