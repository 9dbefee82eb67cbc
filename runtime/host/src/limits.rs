//! The bounds of the sandbox that are nobody else's business; those shared with other crates are in `model::limits`.

use std::time::Duration;

/// A component file, bytes (security B-6).
pub(crate) const COMPONENT_BYTES_MAX: usize = 20 << 20;
/// Code of a component. No deadline can end a compilation, so what is compiled is bounded: its time follows from the number
/// of functions and the bytes of code, and grows faster than the length of one function (security B-6). The toolchains of
/// JavaScript and Python make 13,000 functions, 9.2 MB of code and one function of 427 kB.
pub(crate) const COMPONENT_FUNCTIONS_MAX: u64 = 20_000;
pub(crate) const COMPONENT_CODE_BYTES_MAX: u64 = 12 << 20;
pub(crate) const FUNCTION_BYTES_MAX: u64 = 768 << 10;
/// Memory of an instance when its manifest does not say, MiB (security B-3).
pub(crate) const MEMORY_MIB: u32 = 64;
/// Most memory that a manifest gets, MiB (security B-3).
pub(crate) const MEMORY_MIB_MAX: u32 = 256;
/// Tables of an instance, and elements of each (security B-3).
pub(crate) const TABLES_MAX: usize = 10;
pub(crate) const TABLE_ELEMENTS_MAX: usize = 100_000;
/// Core instances and memories in one component (security B-3).
pub(crate) const INSTANCES_MAX: usize = 50;
pub(crate) const MEMORIES_MAX: usize = 4;
/// Native stack of a guest, bytes (security B-3).
pub(crate) const WASM_STACK_BYTES: usize = 512 << 10;
/// Stack of a call: the guest's and that of the host functions it calls, bytes.
pub(crate) const CALL_STACK_BYTES: usize = 4 << 20;
/// Bytes that one call may lift out of a guest: a page of `PAGE_BYTES_MAX` with room for its structure.
pub(crate) const LIFT_BYTES_MAX: usize = 64 << 20;
/// Handles (bodies, readers, writers, streams) that a guest may hold at once.
pub(crate) const HANDLES_MAX: usize = 256;
/// Between two looks at a running guest (plugins.md §1).
pub(crate) const EPOCH_TICK: Duration = Duration::from_millis(10);
/// Time of one call when the manifest does not say.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Time that waiting for the rate budget may add to one call.
pub(crate) const CALL_WAIT_MAX: Duration = Duration::from_secs(3_600);
/// What a guest writes to stdout and stderr and is kept, bytes.
pub(crate) const STDIO_BYTES_MAX: usize = 4 << 10;
/// A log line, bytes, and lines per second (security B-28).
pub(crate) const LOG_LINE_BYTES_MAX: usize = 1 << 10;
pub(crate) const LOG_LINES_PER_S_MAX: u32 = 100;
pub(crate) const LOG_FIELDS_MAX: usize = 32;
/// Random bytes per call (security B-8).
pub(crate) const RANDOM_BYTES_MAX: u32 = 64 << 10;
/// A JSON answer of a guest (manifest, streams, objects), bytes.
pub(crate) const GUEST_JSON_BYTES_MAX: usize = 4 << 20;
/// A key and a value of the store, bytes.
pub(crate) const KV_KEY_BYTES_MAX: usize = 256;
pub(crate) const KV_VALUE_BYTES_MAX: usize = 64 << 10;
/// Values put into the store in one call.
pub(crate) const KV_PUTS_MAX: u32 = 1_000;
/// Rows out of a transform per row in (security B-29).
pub(crate) const FAN_OUT_MAX: usize = 100;
/// Pages in a row without a record, a rejection or a new state: a loop.
pub(crate) const IDLE_PAGES_MAX: u32 = 2_000;
/// A token of a pending batch, bytes.
pub(crate) const TOKEN_BYTES_MAX: usize = 64 << 10;
