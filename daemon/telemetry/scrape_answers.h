// What the daemon's HTTP server answers: /metrics in the representation that the request accepts,
// and /healthz.
#pragma once

#include "common/http/answer.h"
#include "common/http/documents.h"
#include "common/http/representation.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace riposte {

class ScrapeAnswers {
public:
    static constexpr size_t renders_per_second = 20;

    /// The document for /metrics.
    using Render = std::function<std::string(Representation)>;

    explicit ScrapeAnswers(const Render& render);

    /// To a complete request.
    HttpAnswer answer(const HttpRequest& request, uint64_t now_us);

    /// From now on /healthz reports that the daemon drains.
    void set_draining() { draining_ = true; }

private:
    HttpDocuments documents_;
    bool draining_ = false;
};

} // namespace riposte
