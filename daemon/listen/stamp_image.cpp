#include "daemon/listen/stamp_image.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <type_traits>

#include <unistd.h>

namespace riposte {
namespace {

constexpr std::array<char, 8> magic = {'r', 'i', 'p', 's', 't', 'a', 'm', 'p'};
constexpr uint32_t key_bytes_max = 4096;
static_assert(std::is_trivially_copyable_v<StampSession>);

/// A session as bytes, which another program may have written.
using SessionBytes = std::array<std::byte, sizeof(StampSession)>;

bool is_flag(const SessionBytes& bytes, size_t offset) {
    return bytes[offset] <= std::byte{1};
}

/// Could a reflector have left this session? A bool is 0 or 1, and no session has the tag of a free
/// place.
std::optional<StampSession> session_of(const SessionBytes& bytes) {
    if (!is_flag(bytes, offsetof(StampSession, confirmed)) ||
        !is_flag(bytes, offsetof(StampSession, has_questions)) ||
        !is_flag(bytes, offsetof(StampSession, adopted)))
        return std::nullopt;
    StampSession session;
    std::memcpy(&session, bytes.data(), sizeof session);
    if (session.tag == 0)
        return std::nullopt;
    return session;
}

} // namespace

// Writing -----------------------------------------------------------------------------------------

StampImageWriter::StampImageWriter(int fd, const HashSecret& secret, uint32_t listeners) noexcept
    : fd_(fd), listeners_left_(listeners) {
    put(magic.data(), magic.size());
    put_number(stamp_image_version);
    put_number(sizeof(StampSession));
    put(secret.data(), sizeof secret);
    put_number(listeners);
}

void StampImageWriter::begin_listener(std::string_view key, uint32_t sessions) noexcept {
    assert(listeners_left_ > 0 && sessions_left_ == 0 && key.size() <= key_bytes_max);
    --listeners_left_;
    sessions_left_ = sessions;
    put_number(static_cast<uint32_t>(key.size()));
    put(key.data(), key.size());
    put_number(sessions);
}

void StampImageWriter::add(const StampSession& session) noexcept {
    assert(sessions_left_ > 0 && session.tag != 0);
    --sessions_left_;
    put(&session, sizeof session);
}

int StampImageWriter::finish() noexcept {
    assert(listeners_left_ == 0 && sessions_left_ == 0);
    flush();
    return error_;
}

void StampImageWriter::put(const void* from, size_t size) noexcept {
    const auto* bytes = static_cast<const std::byte*>(from);
    while (size > 0) {
        if (used_ == buffer_.size())
            flush();
        const size_t part = std::min(size, buffer_.size() - used_);
        std::copy_n(bytes, part, buffer_.data() + used_);
        used_ += part;
        bytes += part;
        size -= part;
    }
}

void StampImageWriter::flush() noexcept {
    for (size_t at = 0; at < used_ && error_ == 0;) {
        const ssize_t size = ::write(fd_, buffer_.data() + at, used_ - at);
        if (size > 0)
            at += static_cast<size_t>(size);
        else if (size == 0 || errno != EINTR)
            error_ = size == 0 ? EIO : errno;
    }
    used_ = 0;
}

// Reading -----------------------------------------------------------------------------------------

std::expected<StampImageReader, StampImageProblem> StampImageReader::open(int fd) {
    StampImageReader trial(fd);
    if (!trial.read_head())
        return std::unexpected(StampImageProblem::other_version);
    if (!trial.reads_to_its_end())
        return std::unexpected(StampImageProblem::damaged);
    StampImageReader reader(fd);
    [[maybe_unused]] const bool again = reader.read_head();
    assert(again);
    return reader;
}

bool StampImageReader::read_head() {
    std::array<char, magic.size()> found{};
    take(found.data(), found.size());
    const uint32_t version = take_number();
    const uint32_t session_bytes = take_number();
    take(secret_.data(), sizeof secret_);
    listeners_left_ = take_number();
    return !failed_ && found == magic && version == stamp_image_version &&
           session_bytes == sizeof(StampSession);
}

bool StampImageReader::reads_to_its_end() {
    while (next_listener())
        while (next_session()) {
        }
    return !failed_ && used_ == filled_ && !refill();
}

std::optional<StampImageReader::Listener> StampImageReader::next_listener() {
    assert(sessions_left_ == 0 || failed_);
    if (failed_ || listeners_left_ == 0)
        return std::nullopt;
    --listeners_left_;
    const uint32_t key_bytes = take_number();
    if (key_bytes > key_bytes_max)
        failed_ = true;
    Listener listener;
    listener.key.resize(failed_ ? 0 : key_bytes);
    take(listener.key.data(), listener.key.size());
    listener.sessions = take_number();
    if (failed_)
        return std::nullopt;
    sessions_left_ = listener.sessions;
    return listener;
}

std::optional<StampSession> StampImageReader::next_session() {
    if (failed_ || sessions_left_ == 0)
        return std::nullopt;
    --sessions_left_;
    SessionBytes bytes{};
    std::optional<StampSession> session;
    if (take(bytes.data(), bytes.size()))
        session = session_of(bytes);
    failed_ = !session;
    return session;
}

bool StampImageReader::take(void* to, size_t size) {
    auto* bytes = static_cast<std::byte*>(to);
    while (size > 0 && !failed_) {
        if (used_ == filled_ && !refill()) {
            failed_ = true;
            break;
        }
        const size_t part = std::min(size, filled_ - used_);
        std::copy_n(buffer_.data() + used_, part, bytes);
        used_ += part;
        bytes += part;
        size -= part;
    }
    return !failed_;
}

uint32_t StampImageReader::take_number() {
    uint32_t number = 0;
    return take(&number, sizeof number) ? number : 0;
}

/// Are there more bytes? Then the buffer has some.
bool StampImageReader::refill() {
    ssize_t size = 0;
    do
        size = ::pread(fd_, buffer_.data(), buffer_.size(), static_cast<off_t>(file_at_));
    while (size < 0 && errno == EINTR);
    used_ = 0;
    filled_ = size > 0 ? static_cast<size_t>(size) : 0;
    file_at_ += filled_;
    return filled_ > 0;
}

} // namespace riposte
