// The live screen of ping, as text: a row an endpoint, as much of it as the terminal has room for.
// Pure: a model and a size in, lines out, each as wide as the terminal at most; colours are in
// them. terminal_screen.h brings them to a terminal.
//
// Rows that do not all fit are sorted by loss until a key says otherwise, so that what is wrong is
// seen. Columns that have no room are left out, the least important first: the last error, the
// minute, the latest round trip, p99, the loss of all, the median. Where the errors have no column,
// they stand below their rows if the screen is high enough.
#pragma once

#include "client/measure/recent.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace riposte::client {

struct ScreenSize {
    size_t columns = 80;
    size_t lines = 24;

    bool operator==(const ScreenSize&) const = default;
};

/// What the keys change. `given`: as on the command line, if all rows fit.
enum class LiveOrder : uint8_t { given, loss, median, p99, name };

struct LiveView {
    LiveOrder order = LiveOrder::given;
    size_t first = 0; ///< the row at the top
    bool quits = false;

    /// Applies a key press; `rows` there are, `page` of them on the screen.
    void press(uint32_t key, size_t rows, size_t page);
};

/// Keys that are no character.
enum LiveKey : uint32_t {
    key_up = 0x110000,
    key_down,
    key_page_up,
    key_page_down,
    key_home,
    key_end,
};

/// Finds key presses in what a terminal sent; a sequence may be cut in two.
class KeyReader {
public:
    std::vector<uint32_t> read(std::string_view bytes);

private:
    std::string rest_;
};

/// An endpoint.
struct LiveRow {
    std::string name;
    std::optional<double> loss_recent; ///< percent, of the last ten seconds
    std::optional<double> loss_all;
    std::optional<uint64_t> last_ns; ///< the latest round trip; nothing: the latest probe failed
    std::optional<double> median_ns;
    std::optional<double> p99_ns;
    std::vector<RecentCell> minute; ///< RecentMinute::cells of them; none: not known
    std::string error;              ///< with its time in front
    size_t number = 0;              ///< for LivePage::complete
};

struct LivePage {
    std::string title; ///< what is measured, and for how long
    std::string state; ///< "waiting for the last replies"; empty: as usual
    std::vector<LiveRow> rows;
    /// Fills in what takes time, the round trips and the minute; called for the rows that are
    /// shown, and for all where they are sorted by it. None: the rows are whole.
    std::function<void(LiveRow&)> complete = {};
};

/// Rows that have room on a screen of that size, below the heads and above the keys.
size_t live_rows(ScreenSize size);

/// size.lines lines at most.
std::vector<std::string> render_live(
    LivePage page, const LiveView& view, ScreenSize size, bool unicode, bool color);

/// Cut to so many columns, with "..." at its end.
std::string cut(std::string_view text, size_t columns);

} // namespace riposte::client
