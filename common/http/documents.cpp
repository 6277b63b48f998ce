#include "common/http/documents.h"

#include <algorithm>
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
    drop_old(now_us);
    auto& last = last_[kind];
    const bool has_room = bytes_of_connections() <= limits_.bytes_max;
    if (last.body && (rate_is_used(now_us) || !has_room))
        return last.body;
    if (!has_room)
        return nullptr;
    last.body.reset(); // its memory serves the next one, unless a connection still sends it
    auto rendered = render_(kind);
    if (!rendered)
        return nullptr;
    last = {.body = std::make_shared<const HttpBody>(*std::move(rendered)), .at_us = now_us};
    held_.emplace_back(last.body);
    rendered_us_[renders_++ % rendered_us_.size()] = now_us;
    return last.body;
}

void HttpDocuments::drop_old(uint64_t now_us) {
    for (Last& last : last_)
        if (now_us - last.at_us >= window_us)
            last.body.reset();
}

bool HttpDocuments::rate_is_used(uint64_t now_us) const {
    const uint64_t oldest_us = rendered_us_[renders_ % rendered_us_.size()];
    return renders_ >= rendered_us_.size() && now_us - oldest_us < window_us;
}

size_t HttpDocuments::bytes_of_connections() {
    std::erase_if(held_, [](const auto& document) { return document.expired(); });
    size_t bytes = 0;
    for (const auto& document : held_) {
        const auto body = document.lock();
        if (body && std::ranges::find(last_, body, &Last::body) == last_.end())
            bytes += body->size();
    }
    return bytes;
}

} // namespace riposte
