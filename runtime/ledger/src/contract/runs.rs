//! Runs of pipelines, their leases and the slots of their schedules. A lease carries a fence that grows with each run of
//! a pipeline, so that a process that was thought dead cannot commit (delivery.md R13).

use affluent_model::Result;

/// The right to write for one pipeline; lost as soon as another run of it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Number of the run, unique over the ledger, growing.
    pub run: i64,
    pub pipeline: String,
    /// Grows by one with each run of the pipeline, from 1.
    pub fence: u64,
}

/// What a run begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunStart {
    pub pipeline: String,
    /// Who runs it, to be shown to others: "pid 4711 on shop-1".
    pub holder: String,
    /// The slot of the schedule it was started for.
    pub scheduled_for_us: Option<i64>,
    pub now_us: i64,
    /// How long the lease lives without renewal, milliseconds.
    pub lease_ms: u64,
    /// The fence of a holder that the caller knows to be dead: its lease is taken although it has not expired.
    pub replaces_fence: Option<u64>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunEnd {
    /// The word of `model::report::RunOutcome`.
    pub outcome: String,
    pub report_json: String,
    pub now_us: i64,
    /// The newest news of the pipeline that were told before the run began to read, where it read all of it: they are no news
    /// any more.
    pub news_read: Option<i64>,
}

/// One execution of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRow {
    pub run: i64,
    pub pipeline: String,
    pub holder: String,
    pub fence: u64,
    pub scheduled_for_us: Option<i64>,
    pub started_at_us: i64,
    pub ended_at_us: Option<i64>,
    /// `None` while it runs; `abandoned` when a later run took its lease.
    pub outcome: Option<String>,
    pub report_json: Option<String>,
}

/// Who holds, or held last, the lease of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRow {
    pub run: i64,
    pub fence: u64,
    pub holder: String,
    pub taken_at_us: i64,
    pub expires_at_us: i64,
    /// The run has ended: anyone may begin the next.
    pub is_released: bool,
}

pub trait Runs {
    /// Begins a run and takes the lease of its pipeline. A lease that has expired is stolen: its run becomes `abandoned`.
    ///
    /// # Errors
    /// `E0705` (external) while another run of the pipeline is alive; it names the holder and since when.
    fn begin_run(&self, start: &RunStart) -> Result<Lease>;

    /// Lets the lease live until `now_us` + `lease_ms`.
    ///
    /// # Errors
    /// `E0706` when it was lost.
    fn renew_lease(&self, lease: &Lease, now_us: i64, lease_ms: u64) -> Result<()>;

    /// Ends the run and gives the lease back; nothing can be written with it afterwards.
    ///
    /// # Errors
    /// `E0706` when it was lost.
    fn finish_run(&self, lease: &Lease, end: &RunEnd) -> Result<()>;

    /// The lease of a pipeline that ran at least once.
    ///
    /// # Errors
    /// Those of the store.
    fn lease(&self, pipeline: &str) -> Result<Option<LeaseRow>>;

    /// Runs of one pipeline or of all, newest first.
    ///
    /// # Errors
    /// Those of the store.
    fn runs(&self, pipeline: Option<&str>, limit: usize) -> Result<Vec<RunRow>>;

    /// Claims a slot of a schedule; `false` when it was claimed before, by whomever. No leader is needed.
    ///
    /// # Errors
    /// Those of the store.
    fn claim_slot(&self, pipeline: &str, scheduled_for_us: i64, now_us: i64) -> Result<bool>;

    /// The latest slot claimed for a pipeline.
    ///
    /// # Errors
    /// Those of the store.
    fn last_slot(&self, pipeline: &str) -> Result<Option<i64>>;
}
