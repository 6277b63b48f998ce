// Which connections are let in: by `allow` and `deny`, by the limits of their source, of their
// listener, and of all together.
//
// A connection that is let in holds a place of its source and one of its listener from its
// admission to its end. Between the question and the end of the admission, which may still fail
// because no slot is available, an AdmissionTicket holds both places, and gives them back unless
// the admission is completed. Nothing is allocated on the way.
#pragma once

#include "daemon/listen/listener_spec.h"
#include "daemon/tcp/connection_table.h"
#include "daemon/tcp/refusal_reason.h"
#include "daemon/tcp/source_table.h"
#include "daemon/tcp/tcp_limits.h"

#include <cassert>
#include <cstdint>
#include <expected>
#include <optional>
#include <utility>

namespace riposte {

/// Holds the places of a connection that is being let in, until complete().
class AdmissionTicket {
public:
    AdmissionTicket(SourceTable& sources, const SourceKey& source, ListenerLoad& load) noexcept
        : sources_(&sources), source_(source), load_(&load) {}
    AdmissionTicket(AdmissionTicket&& other) noexcept
        : sources_(std::exchange(other.sources_, nullptr)), source_(other.source_),
          load_(other.load_) {}
    AdmissionTicket(const AdmissionTicket&) = delete;
    AdmissionTicket& operator=(const AdmissionTicket&) = delete;
    AdmissionTicket& operator=(AdmissionTicket&&) = delete;
    ~AdmissionTicket() {
        if (sources_ == nullptr)
            return;
        load_->leave();
        sources_->leave(source_);
    }

    /// The connection has its slot: from now on its places go with Admission::leave().
    void complete() noexcept {
        assert(sources_ != nullptr);
        sources_ = nullptr;
    }

private:
    SourceTable* sources_; ///< null: completed, or moved from
    SourceKey source_;
    ListenerLoad* load_;
};

class Admission {
public:
    explicit Admission(const TcpLimits& limits)
        : sources_(limits.connections_max, source_prefixes(limits)) {}

    /// Memory for set() with these limits and so many slots. Throws std::bad_alloc, and then
    /// nothing has changed.
    void reserve(const TcpLimits& limits, const ConnectionTable& connections, uint32_t slots);
    void give_up() noexcept { next_sources_.reset(); }
    void set(const TcpLimits& limits) noexcept;
    /// Do the limits that were set count sources otherwise than they are counted now?
    bool must_recount() const noexcept { return sources_.prefixes() != prefixes_; }
    /// After the table has grown, or if must_recount(): what is open, counted anew.
    void recount(const ConnectionTable& connections);

    uint32_t connections_max() const noexcept { return connections_max_; }
    static uint32_t connections_max(const TcpLimits& limits) noexcept;

    /// By `allow` and `deny`: none if the source may use this listener.
    static std::optional<RefusalReason> denial(
        const SourceKey& source, const ListenerSpec& listener) noexcept;
    /// A place of the source and one of the listener, or which of them has none.
    std::expected<AdmissionTicket, RefusalReason> ask(
        const SourceKey& source, const ListenerSpec& listener) noexcept;
    /// Counts an adopted connection that was refused until it has ended. No listener if `load` is
    /// null.
    void count_over_limits(const SourceKey& source, ListenerLoad* load) noexcept;
    /// The connection is gone.
    void leave(const SourceKey& source, ListenerLoad* load) noexcept {
        sources_.leave(source);
        if (load != nullptr)
            load->leave();
    }

private:
    SourceTable sources_;
    std::optional<SourceTable> next_sources_; ///< reserved
    SourcePrefixes prefixes_;                 ///< as the limits want them
    uint32_t connections_max_ = 0;
    uint32_t per_source_max_ = 0;
};

} // namespace riposte
