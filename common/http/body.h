// The body of an answer, in chunks, so that a large document needs no large piece of memory and is
// not copied while it grows. Complete before it is sent; then any number of connections send it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace riposte {

class HttpBody {
public:
    static constexpr size_t chunk_bytes = size_t{64} << 10;

    HttpBody() = default;
    explicit HttpBody(std::string text);

    /// Each text stays in one piece; one above `chunk_bytes` is a chunk of its own.
    void append(std::string_view text);

    size_t size() const { return ends_.empty() ? 0 : ends_.back(); }
    /// The bytes from `offset` < size() to the end of its chunk.
    std::string_view from(size_t offset) const;
    std::string text() const; ///< all of it

private:
    std::vector<std::string> chunks_; ///< none is empty
    std::vector<size_t> ends_;        ///< of each chunk, in the body
};

} // namespace riposte
