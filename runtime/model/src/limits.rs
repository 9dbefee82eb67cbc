//! Every bound on the outside world: name, unit, and where the number comes from.

/// A project file, bytes (security D-40).
pub const YAML_BYTES_MAX: usize = 1 << 20;
/// Nesting of flow collections in a project file (security D-40).
pub const YAML_FLOW_DEPTH_MAX: usize = 64;
/// Flow tokens in a project file (security D-40).
pub const YAML_FLOW_TOKENS_MAX: usize = 20_000;
/// Aliases in a project file (security D-41).
pub const YAML_ALIASES_MAX: usize = 100;
/// Mistakes reported per file (security D-45).
pub const DIAGNOSTICS_PER_FILE_MAX: usize = 50;

/// Rows asked of a source per page (plugins.md §1: more gains nothing and holds more memory).
pub const PAGE_ROWS_MAX: u32 = 2_000;
/// Bytes of one page (security B-29).
pub const PAGE_BYTES_MAX: u32 = 16 << 20;
/// Rows a guest may put into one page (security B-29).
pub const GUEST_ROWS_MAX: u32 = 10_000;
/// Parts of one page: a stream and its children.
pub const PAGE_PARTS_MAX: usize = 16;
/// Columns of one stream.
pub const STREAM_COLUMNS_MAX: usize = 500;
/// Bytes of one record (security B-29).
pub const RECORD_BYTES_MAX: usize = 1 << 20;
/// Bytes of one state (delivery.md §1).
pub const STATE_BYTES_MAX: usize = 64 << 10;
/// Bytes of a message from a guest (security B-29).
pub const GUEST_MESSAGE_BYTES_MAX: usize = 4 << 10;
/// Bytes of a rejected record kept in the dead letters.
pub const REJECTED_RAW_BYTES_MAX: usize = 64 << 10;

/// Files of an archive that an answer is.
pub const ARCHIVE_FILES_MAX: usize = 10_000;
/// Bytes of one file of such an archive: it is held until it is whole (security B-24, what a plugin gets of an answer).
pub const ARCHIVE_FILE_BYTES_MAX: usize = 16 << 20;
/// Bytes of one long name in such an archive; names are never used.
pub const ARCHIVE_NAME_BYTES_MAX: usize = 64 << 10;

/// Rows per ingest commit: every commit writes most pages of the look-up by node key once more, so smaller is slower.
pub const EPOCH_ROWS_MAX: usize = 200_000;
/// Bytes per ingest commit.
pub const EPOCH_BYTES_MAX: usize = 64 << 20;
/// Milliseconds after which an epoch is committed although it is small.
pub const EPOCH_AGE_MS_MAX: u64 = 5_000;

/// Traps of one plugin in one run before the run fails (plugins.md §8).
pub const TRAPS_MAX: u32 = 3;
/// Attempts of one call that fails transiently (delivery.md §4).
pub const ATTEMPTS_MAX: u32 = 8;
/// First wait of a back-off, milliseconds (delivery.md §4).
pub const BACKOFF_FIRST_MS: u64 = 500;
/// Longest wait of a back-off, milliseconds (delivery.md §4).
pub const BACKOFF_LONGEST_MS: u64 = 60_000;
/// Longest `Retry-After` that is honoured, milliseconds (delivery.md §4).
pub const RETRY_AFTER_MS_MAX: u64 = 3_600_000;
/// Polls of one bulk import before the run ends; the next run goes on polling.
pub const POLLS_MAX: u32 = 2_000;
/// Microseconds for which an erased person is looked for at destinations that took the request: 30 days, the month that GDPR
/// article 12 gives.
pub const ERASURE_LOOKS_FOR_US: i64 = 30 * 86_400_000_000;
/// Pipelines of one `affluent run` that send at once: each holds a batch and an instance of its plugin.
pub const DELIVERIES_AT_ONCE_MAX: usize = 4;
/// The same state this many times in a row is a loop (delivery.md §4).
pub const SAME_STATE_MAX: u32 = 3;
/// Milliseconds from SIGTERM to the end of the process (security D-8).
pub const DRAIN_MS_MAX: u64 = 10_000;
/// Distinct values in a union of one attribute of a profile; beyond, those that sort first.
pub const UNION_VALUES_MAX: usize = 1_000;
/// Bytes of a webhook: Shopify's of a large order are some hundred kilobytes, HubSpot's hold 100 events at most.
pub const WEBHOOK_BYTES_MAX: usize = 4 << 20;
/// Webhooks that are taken in at once; more wait, and are told to come again when their time is over.
pub const WEBHOOKS_AT_ONCE_MAX: usize = 32;
/// Milliseconds for a webhook to wait and its bytes to come in: services give up after 5 seconds (Shopify, HubSpot).
pub const WEBHOOK_READ_MS_MAX: u64 = 4_000;
/// Seconds of age that a plugin may allow a signed webhook.
pub const WEBHOOK_AGE_S_MAX: u32 = 3_600;
/// Webhooks of a connection that are remembered so that the same one is acted on once.
pub const WEBHOOKS_REMEMBERED_MAX: usize = 10_000;
/// Milliseconds for which one without a signed time is remembered: longer than services repeat them (Shopify: 4 hours).
pub const WEBHOOK_REMEMBERED_MS: u64 = 86_400_000;
/// Days within which a person answers what a service asks where its plugin does not say: the month that GDPR article 12 gives.
pub const WEBHOOK_REQUEST_DAYS: u16 = 30;
/// Milliseconds a run's lease lives without renewal.
pub const LEASE_MS: u64 = 60_000;
