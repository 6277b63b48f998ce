#include "common/http/documents.h"

#include <cassert>
#include <utility>

namespace riposte {
namespace {

constexpr uint64_t window_us = 1'000'000;

} // namespace

HttpDocuments::HttpDocuments(size_t kinds, size_t renders_per_second, Render render)
    : render_(std::move(render)), last_(kinds), rendered_us_(renders_per_second) {
    assert(kinds > 0 && renders_per_second > 0);
}

std::shared_ptr<const HttpBody> HttpDocuments::get(size_t kind, uint64_t now_us) {
    auto& last = last_[kind];
    uint64_t& oldest_us = rendered_us_[renders_ % rendered_us_.size()];
    if (last && renders_ >= rendered_us_.size() && now_us - oldest_us < window_us)
        return last;
    last = std::make_shared<const HttpBody>(render_(kind));
    oldest_us = now_us;
    ++renders_;
    return last;
}

} // namespace riposte
