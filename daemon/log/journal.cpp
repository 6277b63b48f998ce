#include "daemon/log/journal.h"

#include "common/fd.h"

#include <algorithm>
#include <cerrno>
#include <string_view>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

namespace riposte::journal {
namespace {

constexpr std::string_view path = "/run/systemd/journal/socket";

int journal = -1; // from open() to the end of the process

sockaddr_un address_of_journal() {
    sockaddr_un address{};
    static_assert(path.size() < sizeof address.sun_path);
    address.sun_family = AF_UNIX;
    std::ranges::copy(path, address.sun_path);
    return address;
}

} // namespace

void open() noexcept {
    if (journal >= 0)
        return;
    const Fd any(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    // Where standard error is closed its number is free, and must not come to mean the journal.
    if (any)
        journal = ::fcntl(any.get(), F_DUPFD_CLOEXEC, 3);
}

Taken send(std::string_view fields) noexcept {
    // Named anew each time: a journal that is started later, or again, is found.
    static const sockaddr_un address = address_of_journal();
    ssize_t sent = -1;
    do
        sent = ::sendto(
            journal, fields.data(), fields.size(), MSG_DONTWAIT | MSG_NOSIGNAL,
            reinterpret_cast<const sockaddr*>(&address), sizeof address);
    while (sent < 0 && errno == EINTR);
    if (sent >= 0)
        return Taken::yes;
    return errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM ? Taken::full : Taken::absent;
}

} // namespace riposte::journal
