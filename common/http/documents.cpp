#include "common/http/documents.h"

#include <cassert>
#include <utility>

namespace riposte {
namespace {

constexpr uint64_t window_us = 1'000'000;

} // namespace

HttpDocuments::HttpDocuments(HttpDocumentLimits limits, Render render)
    : limits_(limits), render_(std::move(render)), last_(limits.kinds),
      rendered_us_(limits.renders_per_second) {
    assert(limits.kinds > 0 && limits.renders_per_second > 0);
}

std::shared_ptr<const HttpBody> HttpDocuments::get(size_t kind, uint64_t now_us) {
    auto& last = last_[kind];
    if (last && !may_render(now_us))
        return last;
    last.reset(); // its memory serves the next one, unless a connection still sends it
    auto rendered = render_(kind);
    if (!rendered)
        return nullptr;
    last = std::make_shared<const HttpBody>(*std::move(rendered));
    held_.emplace_back(last);
    rendered_us_[renders_++ % rendered_us_.size()] = now_us;
    return last;
}

bool HttpDocuments::may_render(uint64_t now_us) {
    const uint64_t oldest_us = rendered_us_[renders_ % rendered_us_.size()];
    const bool rate_is_used = renders_ >= rendered_us_.size() && now_us - oldest_us < window_us;
    return !rate_is_used && held_bytes() <= limits_.bytes_max;
}

size_t HttpDocuments::held_bytes() {
    std::erase_if(held_, [](const auto& document) { return document.expired(); });
    size_t bytes = 0;
    for (const auto& document : held_)
        if (const auto body = document.lock())
            bytes += body->size();
    return bytes;
}

} // namespace riposte
