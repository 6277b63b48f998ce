#include "daemon/supervisor/stamp_store.h"

#include "common/text.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace riposte {
namespace {

/// The sessions of all listeners with the largest tables that can be configured stay below it.
constexpr off_t image_bytes_max = off_t{256} << 20;

std::optional<StampImage> read_image(int fd, Reason& problem) {
    const auto refuse = [&](std::string_view token, std::string_view text) {
        problem = {.token = std::string(token), .text = std::string(text)};
        return std::nullopt;
    };
    constexpr int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
    if (const int found = ::fcntl(fd, F_GET_SEALS); found < 0 || (found & seals) != seals)
        return refuse("not_sealed", "it is not a sealed memfd");
    struct stat status{};
    if (::fstat(fd, &status) != 0)
        return refuse(errno_name(errno), errno_text(errno));
    if (status.st_size > image_bytes_max)
        return refuse("too_large", "it is too large");
    std::vector<std::byte> bytes(static_cast<size_t>(status.st_size));
    for (size_t at = 0; at < bytes.size();) {
        const ssize_t size =
            ::pread(fd, bytes.data() + at, bytes.size() - at, static_cast<off_t>(at));
        if (size <= 0)
            return refuse(errno_name(size < 0 ? errno : EIO), "it cannot be read");
        at += static_cast<size_t>(size);
    }
    auto image = read_stamp_image(bytes);
    if (!image)
        return refuse("other_version", "another version of riposted wrote it");
    return image;
}

} // namespace

InheritedSessions take_stamp_sessions(std::vector<systemd::InheritedSocket>& inherited) {
    InheritedSessions taken;
    for (const systemd::InheritedSocket& each : inherited) {
        if (each.name != stamp_store_name)
            continue;
        taken.found = true;
        taken.image = read_image(each.fd.get(), taken.problem);
    }
    std::erase_if(inherited, [](const auto& each) { return each.name == stamp_store_name; });
    return taken;
}

Fd make_stamp_store() {
    return Fd(::memfd_create("riposted-stamp-sessions", MFD_CLOEXEC | MFD_ALLOW_SEALING));
}

int write_stamp_store(const Fd& store, const StampImage& image) {
    if (!store)
        return ENOMEM;
    const std::vector<std::byte> bytes = write_stamp_image(image);
    for (size_t at = 0; at < bytes.size();) {
        const ssize_t size = ::write(store.get(), bytes.data() + at, bytes.size() - at);
        if (size < 0 && errno == EINTR)
            continue;
        if (size <= 0)
            return size < 0 ? errno : EIO;
        at += static_cast<size_t>(size);
    }
    constexpr int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
    return ::fcntl(store.get(), F_ADD_SEALS, seals) == 0 ? 0 : errno;
}

} // namespace riposte
