//! Host services that need no grant: log lines, progress, the clock, waiting, stopping, randomness.
//! In native tests they are played by [`crate::testing`].

use crate::host::runtime as host;

pub use crate::bindings::imports::affluent::plugin::runtime::Level;

/// Writes a log line. Never a record's value, never a secret: log lines are stored in the clear.
pub fn log(level: Level, message: &str, fields: &[(&str, &str)]) {
    let fields: Vec<(String, String)> = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    host::log(level, message, &fields);
}

/// [`log`] at level info.
pub fn info(message: &str) {
    log(Level::Info, message, &[]);
}

/// [`log`] at level warn.
pub fn warn(message: &str) {
    log(Level::Warn, message, &[]);
}

/// Tells how far the work is, in the plugin's own unit; `total` is `None` as long as it is unknown.
pub fn progress(done: u64, total: Option<u64>, note: Option<&str>) {
    host::progress(done, total, note);
}

/// Records one measurement under the plugin's name.
pub fn metric(name: &str, value: f64, labels: &[(&str, &str)]) {
    let labels: Vec<(String, String)> = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    host::metric(name, value, &labels);
}

/// Microseconds since the epoch, UTC.
pub fn now_us() -> i64 {
    host::now_us()
}

/// Waits; the host ends the wait early when the run is being stopped.
pub fn sleep_ms(ms: u32) {
    host::sleep_ms(ms);
}

/// True once the run is being stopped: return soon.
pub fn cancelled() -> bool {
    host::cancelled()
}

/// Randomness from the host, seeded in tests.
pub fn random_bytes(count: u32) -> Vec<u8> {
    host::random_bytes(count)
}
