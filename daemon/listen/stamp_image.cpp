#include "daemon/listen/stamp_image.h"

#include <array>
#include <cstring>
#include <type_traits>

namespace riposte {
namespace {

constexpr std::array<char, 8> magic = {'r', 'i', 'p', 's', 't', 'a', 'm', 'p'};
static_assert(std::is_trivially_copyable_v<StampSession>);

void append(std::vector<std::byte>& bytes, const void* from, size_t size) {
    const auto* const first = static_cast<const std::byte*>(from);
    bytes.insert(bytes.end(), first, first + size);
}

void append_number(std::vector<std::byte>& bytes, size_t number) {
    const auto value = static_cast<uint32_t>(number);
    append(bytes, &value, sizeof value);
}

/// Takes values from the front; once something is missing, all that follows is missing.
class Reader {
public:
    explicit Reader(std::span<const std::byte> bytes) : rest_(bytes) {}

    bool take(void* to, size_t size) {
        if (size > rest_.size()) {
            rest_ = {};
            failed_ = true;
            return false;
        }
        if (size > 0)
            std::memcpy(to, rest_.data(), size);
        rest_ = rest_.subspan(size);
        return true;
    }
    uint32_t take_number() {
        uint32_t number = 0;
        take(&number, sizeof number);
        return number;
    }
    size_t left() const { return rest_.size(); }
    bool failed() const { return failed_; }

private:
    std::span<const std::byte> rest_;
    bool failed_ = false;
};

std::optional<StampImage::Listener> read_listener(Reader& reader) {
    StampImage::Listener listener;
    const uint32_t key_bytes = reader.take_number();
    if (key_bytes > reader.left())
        return std::nullopt;
    listener.key.resize(key_bytes);
    reader.take(listener.key.data(), key_bytes);
    const uint32_t count = reader.take_number();
    if (count > reader.left() / sizeof(StampSession))
        return std::nullopt;
    listener.sessions.resize(count);
    reader.take(listener.sessions.data(), count * sizeof(StampSession));
    if (reader.failed())
        return std::nullopt;
    return listener;
}

} // namespace

size_t StampImage::count() const noexcept {
    size_t count = 0;
    for (const Listener& each : listeners)
        count += each.sessions.size();
    return count;
}

std::vector<std::byte> write_stamp_image(const StampImage& image) {
    std::vector<std::byte> bytes;
    append(bytes, magic.data(), magic.size());
    append_number(bytes, stamp_image_version);
    append_number(bytes, sizeof(StampSession));
    append(bytes, image.secret.data(), sizeof image.secret);
    for (const StampImage::Listener& listener : image.listeners) {
        append_number(bytes, listener.key.size());
        append(bytes, listener.key.data(), listener.key.size());
        append_number(bytes, listener.sessions.size());
        append(bytes, listener.sessions.data(), listener.sessions.size() * sizeof(StampSession));
    }
    return bytes;
}

std::optional<StampImage> read_stamp_image(std::span<const std::byte> bytes) {
    Reader reader(bytes);
    std::array<char, 8> found{};
    reader.take(found.data(), found.size());
    const uint32_t version = reader.take_number();
    const uint32_t session_bytes = reader.take_number();
    StampImage image;
    reader.take(image.secret.data(), sizeof image.secret);
    if (reader.failed() || found != magic || version != stamp_image_version ||
        session_bytes != sizeof(StampSession))
        return std::nullopt;
    while (reader.left() > 0) {
        auto listener = read_listener(reader);
        if (!listener)
            return std::nullopt;
        image.listeners.push_back(std::move(*listener));
    }
    return image;
}

} // namespace riposte
