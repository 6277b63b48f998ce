#include "client/probe/target_names.h"

#include "client/measure/cause.h"
#include "client/probe/spread_schedule.h"
#include "client/probe/target_list.h"
#include "common/text.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace riposte::client {

namespace {

constexpr uint64_t first_pause_ns = 1'000'000'000;
constexpr unsigned doublings_max = 20;

} // namespace

Result<TargetNames> TargetNames::open() {
    TargetNames names;
    names.bell_ = std::make_shared<const Fd>(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    if (!*names.bell_)
        return fail(Exit::usage, fmt::format("event loop: {}", errno_text(errno)));
    return names;
}

void TargetNames::begin(const Fleet& fleet, Fleet::Slot slot, Name& name) {
    name.lookup =
        std::make_unique<Lookup>(fleet.endpoint(slot), Transport::udp, Family::any, bell_);
}

void TargetNames::add_new(Fleet& fleet, uint64_t now_ns) {
    std::erase_if(names_, [&](const auto& entry) { return !fleet.is_listed(entry.first); });
    for (const Fleet::Slot slot : fleet.listed()) {
        if (is_numeric_host(fleet.endpoint(slot).host)) {
            if (fleet.address(slot).size == 0) {
                Lookup lookup(fleet.endpoint(slot), Transport::udp, Family::any);
                take(fleet, slot, lookup);
            }
            continue;
        }
        const auto [at, is_new] = names_.try_emplace(slot);
        if (!is_new)
            continue;
        begin(fleet, slot, at->second);
        at->second.next_ns = now_ns + every_ns_ / 2 +
                             SpreadSchedule::phase_of("", fleet.identity(slot).name, every_ns_ / 2);
        next_ns_ = std::min(next_ns_, at->second.next_ns);
    }
}

void TargetNames::take(Fleet& fleet, Fleet::Slot slot, Lookup& lookup) {
    auto found = lookup.wait({.deadline_ms = 0}, "");
    if (found)
        std::erase_if(*found, [](const SocketAddress& address) {
            return is_group_address(host_text(address));
        });
    if (!found || found->empty()) {
        fleet.note_resolve_failure(slot);
        return;
    }
    const auto is_known = [&](const SocketAddress& address) {
        return AddressKey(address) == AddressKey(fleet.address(slot));
    };
    if (fleet.address(slot).size == 0 || std::ranges::none_of(*found, is_known))
        fleet.set_address(slot, found->front());
}

void TargetNames::take_lookup(Fleet& fleet, Fleet::Slot slot, Name& name, uint64_t now_ns) {
    take(fleet, slot, *std::exchange(name.lookup, nullptr));
    if (fleet.address(slot).size != 0) {
        name.failures = 0;
        return;
    }
    const uint64_t pause_ns = first_pause_ns << std::min(name.failures++, doublings_max);
    name.next_ns = std::min(name.next_ns, now_ns + pause_ns);
}

void TargetNames::turn(Fleet& fleet, uint64_t now_ns) {
    uint64_t counter = 0; // what is done by now is found below
    [[maybe_unused]] const ssize_t size = ::read(bell_->get(), &counter, sizeof(counter));
    next_ns_ = UINT64_MAX;
    for (auto& [slot, name] : names_) {
        if (name.lookup != nullptr && name.lookup->is_done())
            take_lookup(fleet, slot, name, now_ns);
        if (name.next_ns <= now_ns) {
            name.next_ns = now_ns + every_ns_;
            if (name.lookup == nullptr)
                begin(fleet, slot, name);
        }
        next_ns_ = std::min(next_ns_, name.next_ns);
    }
}

} // namespace riposte::client
