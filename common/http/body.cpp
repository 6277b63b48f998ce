#include "common/http/body.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace riposte {

HttpBody::HttpBody(std::string text) {
    if (text.empty())
        return;
    ends_.push_back(text.size());
    chunks_.push_back(std::move(text));
}

void HttpBody::append(std::string_view text) {
    if (text.empty())
        return;
    const size_t end = size() + text.size();
    if (chunks_.empty() || chunks_.back().size() + text.size() > chunk_bytes) {
        chunks_.emplace_back().reserve(std::max(chunk_bytes, text.size()));
        ends_.push_back(0);
    }
    chunks_.back() += text;
    ends_.back() = end;
}

std::string_view HttpBody::from(size_t offset) const {
    assert(offset < size());
    const auto end = std::ranges::upper_bound(ends_, offset);
    const std::string& chunk = chunks_[static_cast<size_t>(end - ends_.begin())];
    return std::string_view(chunk).substr(chunk.size() - (*end - offset));
}

std::string HttpBody::text() const {
    std::string all;
    all.reserve(size());
    for (const std::string& chunk : chunks_)
        all += chunk;
    return all;
}

} // namespace riposte
