// The documents of a server that are costly to render: each kind of them is rendered when asked
// for, all together at most N times a second; otherwise the last one of its kind is sent again. One
// that is a second old is never sent again: each kind is rendered once a second, whatever others
// use.
//
// A connection keeps its document until it ends, so slow clients keep old ones. While these have
// more than so many bytes, nothing is rendered: there is a document only as long as the last one is
// new. The last one of each kind does not count, so that a document of any size can be rendered.
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
    size_t bytes_max = size_t{64} << 20; ///< of those that connections alone hold
};

class HttpDocuments {
public:
    /// Nothing: there is no document now.
    using Render = std::function<std::optional<HttpBody>(size_t kind)>;

    HttpDocuments(HttpDocumentLimits limits, Render render);

    /// Null if there is no document now, even if there was one: it cannot be rendered, or too much
    /// is held by slow connections. `now_us` never falls.
    std::shared_ptr<const HttpBody> get(size_t kind, uint64_t now_us);

private:
    struct Last {
        std::shared_ptr<const HttpBody> body = nullptr; ///< null: none that is new
        uint64_t at_us = 0;
    };

    void drop_old(uint64_t now_us);
    bool rate_is_used(uint64_t now_us) const;
    size_t bytes_of_connections();

    HttpDocumentLimits limits_;
    Render render_;
    std::vector<Last> last_;                          ///< of each kind
    std::vector<std::weak_ptr<const HttpBody>> held_; ///< by us or a connection
    std::vector<uint64_t> rendered_us_;               ///< the last ones, in a ring
    size_t renders_ = 0;
};

} // namespace riposte
