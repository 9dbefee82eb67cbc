//! The bounds of the lake: name, unit, and why.

/// Bytes of a file name: a stream's words and 32 hex digits of randomness fit well.
pub const FILE_NAME_BYTES_MAX: usize = 128;
/// Rows of one row group: large enough to compress, small enough to be held while it is built.
pub const ROW_GROUP_ROWS_MAX: usize = 128 << 10;
/// Encoded bytes after which a row group is closed early, so that wide rows do not grow the writer's memory.
pub const ROW_GROUP_BYTES_MAX: usize = 32 << 20;
/// Bytes of a column's dictionary in one row group: a column that needs more hardly repeats itself, and looking its values
/// up costs more than it saves.
pub const DICTIONARY_BYTES_MAX: usize = 64 << 10;
/// Rows per batch that a query works on.
pub const QUERY_BATCH_ROWS: usize = 8 << 10;
/// Bytes of memory that is kept for reading files, of all queries: the columns of some row groups.
pub const READ_MEMORY_KEPT_BYTES_MAX: usize = 48 << 20;
/// Bytes of one expression: longer ones belong into a WASM transform.
pub const EXPRESSION_BYTES_MAX: usize = 16 << 10;
/// Words and signs of one expression, so that no chain of operators grows deeper than a stack.
pub const EXPRESSION_TOKENS_MAX: usize = 1_000;
/// Nesting of one expression, operator chains included: planning is recursive, and the stack is finite.
pub const EXPRESSION_DEPTH_MAX: usize = 100;
/// Nested parentheses and calls of one expression: the parser's own bound, DataFusion's default.
pub const EXPRESSION_PARENTHESES_MAX: usize = 50;
/// Bytes that one query may spill to `<dir>/tmp`.
pub const SPILL_BYTES_MAX: u64 = 64 << 30;
/// Calls of `did` and its like in one condition of a segment: each is a column, most are a pass over a stream.
pub const SEGMENT_CALLS_MAX: usize = 20;
/// Steps of one `did_sequence`.
pub const SEQUENCE_STEPS_MAX: usize = 8;
