// The documents of a server that are costly to render: each kind of them is rendered when asked
// for, all together at most N times a second; otherwise the last one is sent again.
//
// A connection keeps its document until it ends, so slow clients keep old ones. While these and the
// last of each kind have more than so many bytes, nothing is rendered for which there is a last
// one.
#pragma once

#include "common/http/body.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

namespace riposte {

struct HttpDocumentLimits {
    size_t kinds; ///< a kind is less than this
    size_t renders_per_second;
    size_t bytes_max = size_t{64} << 20; ///< of all documents that are still held
};

class HttpDocuments {
public:
    /// Nothing: there is no document now.
    using Render = std::function<std::optional<HttpBody>(size_t kind)>;

    HttpDocuments(HttpDocumentLimits limits, Render render);

    /// Null if there is no document now, even if there was one.
    std::shared_ptr<const HttpBody> get(size_t kind, uint64_t now_us);

private:
    bool may_render(uint64_t now_us);
    size_t held_bytes();

    HttpDocumentLimits limits_;
    Render render_;
    std::vector<std::shared_ptr<const HttpBody>> last_; ///< of each kind; null: none yet
    std::vector<std::weak_ptr<const HttpBody>> held_;   ///< by us or a connection
    std::vector<uint64_t> rendered_us_;                 ///< the last ones, in a ring
    size_t renders_ = 0;
};

} // namespace riposte
