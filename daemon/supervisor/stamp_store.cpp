#include "daemon/supervisor/stamp_store.h"

#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>

namespace riposte {
namespace {

std::optional<StampImageReader> open_image(int fd, Reason& problem) {
    constexpr int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
    if (const int found = ::fcntl(fd, F_GET_SEALS); found < 0 || (found & seals) != seals) {
        problem = {.token = "not_sealed", .text = "it is not a sealed memfd"};
        return std::nullopt;
    }
    auto image = StampImageReader::open(fd);
    if (image)
        return *image;
    if (image.error() == StampImageProblem::other_version)
        problem = {.token = "other_version", .text = "another version of riposted wrote it"};
    else
        problem = {.token = "damaged", .text = "it is damaged"};
    return std::nullopt;
}

} // namespace

InheritedSessions take_stamp_sessions(std::vector<systemd::InheritedSocket>& inherited) {
    InheritedSessions taken;
    for (systemd::InheritedSocket& each : inherited) {
        if (each.name != stamp_store_name)
            continue;
        taken.found = true;
        taken.fd = std::move(each.fd);
        taken.image = open_image(taken.fd.get(), taken.problem);
    }
    std::erase_if(inherited, [](const auto& each) { return each.name == stamp_store_name; });
    return taken;
}

Fd make_stamp_store() {
    return Fd(::memfd_create("riposted-stamp-sessions", MFD_CLOEXEC | MFD_ALLOW_SEALING));
}

int write_stamp_store(const Fd& store, const Listeners& listeners) {
    if (!store)
        return ENOMEM;
    if (const int error = listeners.write_sessions(store.get()); error != 0)
        return error;
    constexpr int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
    return ::fcntl(store.get(), F_ADD_SEALS, seals) == 0 ? 0 : errno;
}

} // namespace riposte
