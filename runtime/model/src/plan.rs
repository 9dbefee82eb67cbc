//! The plan: what a project's files say, after validation. Immutable; every reference in it resolves.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::consent::{ConsentMapping, ConsentNeed};
use crate::diagnostic::Location;
use crate::identifier_rule::{Period, WeakValues, WhenKnown};
use crate::junk::BlockPreset;
use crate::lock::{Lock, PluginRules};
use crate::matching::{AttributeRule, Comparison, RecordPair, ScoreRule, Veto};
use crate::money::Money;
use crate::normalize::{IdentifierForm, NormalizeOptions};
use crate::pii::{PiiClass, PiiPolicy};
use crate::pipeline_test::PipelineTest;
use crate::prediction::PredictPlan;
use crate::schema::SyncMode;
use crate::survivorship::Survivorship;

/// A whole project.
#[derive(Debug, Clone)]
pub struct Plan {
    pub project: Project,
    pub connections: BTreeMap<String, Arc<Connection>>,
    pub pipelines: BTreeMap<String, Arc<Pipeline>>,
    pub identity: IdentityRules,
    /// In the order of the file.
    pub traits: Vec<ComputedTrait>,
    pub segments: Vec<Segment>,
    /// `affluent.lock`; empty when there is none.
    pub lock: Lock,
}

/// `affluent.yaml`.
#[derive(Debug, Clone)]
pub struct Project {
    /// Absolute folder that holds `affluent.yaml`.
    pub root: PathBuf,
    pub name: String,
    /// Isolated data space; bound into every ciphertext.
    pub workspace: String,
    /// Absolute.
    pub data_dir: PathBuf,
    pub keys: KeySource,
    /// Folders searched for plugins that are not inside the binary; absolute. The first is where new ones are put.
    pub plugin_dirs: Vec<PathBuf>,
    /// Which plugins may run, beyond what the lock file says.
    pub plugins: PluginRules,
    /// Class → policy where it differs from `seal`.
    pub pii: BTreeMap<PiiClass, PiiPolicy>,
    /// In which currency values of orders are told; that of most orders when absent.
    pub money: Option<Money>,
}

/// Where the key that wraps the workspace's keys comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// Absolute path of a keyring file.
    File(PathBuf),
    /// `AFFLUENT_KEK_<ID>`: the id, from 1.
    Environment(u32),
}

/// A reference to a value that is not in the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretReference {
    /// `{ secret: shop/token }`: looked up by the secret provider (`AFFLUENT_SECRET_SHOP_TOKEN` or `secrets/shop/token`).
    Secret(String),
    /// `{ env: NAME }`.
    Environment(String),
}

/// One account at a vendor, shared by every pipeline on it.
#[derive(Debug, Clone)]
pub struct Connection {
    pub name: String,
    /// Plugin reference: `shopify`, `acme/order-tagger`.
    pub plugin: String,
    /// Environment and variables resolved; secrets never in it.
    pub config: serde_json::Value,
    pub secrets: BTreeMap<String, SecretReference>,
    pub limits: ConnectionLimits,
    pub egress: Egress,
    pub files: FileGrants,
    /// The address that the service was given for its webhooks, as it was given.
    pub webhook_url: Option<String>,
    /// Where its file starts, and where `config` stands in it.
    pub at: Location,
    pub config_at: Location,
}

/// One budget for every pipeline on the account.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ConnectionLimits {
    /// Requests per `rate_per_ms`.
    pub rate: Option<(u32, u64)>,
    pub burst: Option<u32>,
    /// Requests in flight at once.
    pub concurrency: Option<u32>,
}

/// What the operator allows beyond the manifest's hosts over public https.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Egress {
    /// Narrows the manifest's hosts when not empty.
    pub hosts: Vec<String>,
    /// Private or loopback addresses allowed: `127.0.0.1:18080`, `10.1.2.3/32:443`.
    pub private: Vec<String>,
    /// Allows `http://` toward the addresses in `private`.
    pub http: bool,
}

/// Files granted by name; paths are absolute or relative to the project's folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileGrants {
    /// Patterns that may be read: `exports/*.csv`.
    pub read: Vec<String>,
    /// Folders below which may be written: `out/`.
    pub write: Vec<String>,
}

/// One pipeline.
#[derive(Debug, Clone)]
pub struct Pipeline {
    pub name: String,
    pub schedule: Option<Schedule>,
    pub source: PipelineSource,
    pub transforms: Vec<TransformStep>,
    pub destination: PipelineDestination,
    pub errors: ErrorPolicy,
    pub tests: Vec<PipelineTest>,
    pub at: Location,
}

/// When a pipeline runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Five crontab fields, validated; empty when only `after` triggers it.
    pub cron: Option<String>,
    /// IANA name, validated; `UTC` when absent.
    pub timezone: String,
    pub jitter_ms: u64,
    pub overlap: Overlap,
    pub catch_up: CatchUp,
    pub timeout_ms: Option<u64>,
    /// Runs when these pipelines have run, and after them in `affluent run`.
    pub after: Vec<String>,
}

/// What a due run does while the one before is still going.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    Skip,
    Queue,
}

/// What happens to runs that were missed while nothing ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatchUp {
    None,
    Last,
    /// At most this many.
    All(u32),
}

/// Where records come from.
#[derive(Debug, Clone)]
pub enum PipelineSource {
    Connection {
        connection: String,
        streams: Vec<StreamRead>,
        at: Location,
    },
    /// Unified profiles, all or those of a segment.
    Profiles {
        segment: Option<String>,
        at: Location,
    },
}

/// One stream to read.
#[derive(Debug, Clone)]
pub struct StreamRead {
    pub name: String,
    pub sync: SyncMode,
    /// Microseconds UTC.
    pub since_us: Option<i64>,
    pub lookback_ms: u64,
    /// Field → class, or `None` for "not personal": overrides of the plugin's classes.
    pub pii: BTreeMap<String, Option<PiiClass>>,
    pub at: Location,
}

/// An SQL expression and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression {
    pub text: String,
    pub at: Location,
}

/// A named expression: `first_name: first_name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedExpression {
    pub name: String,
    pub expression: Expression,
}

/// One transform.
#[derive(Debug, Clone)]
pub enum TransformStep {
    /// Keeps the rows for which the condition is true.
    Filter {
        stream: String,
        condition: Expression,
    },
    /// Sets columns (all see the values before this step), then drops columns.
    Map {
        stream: String,
        set: Vec<NamedExpression>,
        drop: Vec<String>,
        at: Location,
    },
    Plugin {
        plugin: String,
        streams: Vec<String>,
        config: serde_json::Value,
        at: Location,
    },
}

impl TransformStep {
    /// True when the step works on this stream.
    #[must_use]
    pub fn is_for(&self, name: &str) -> bool {
        match self {
            Self::Filter { stream, .. } | Self::Map { stream, .. } => stream == name,
            Self::Plugin { streams, .. } => streams.iter().any(|stream| stream == name),
        }
    }
}

/// Where records go.
#[derive(Debug, Clone)]
pub enum PipelineDestination {
    Profiles { streams: BTreeMap<String, ProfileMapping>, at: Location },
    Connection(Box<DestinationPlan>),
}

/// How a stream's records become parts of profiles.
#[derive(Debug, Clone)]
pub struct ProfileMapping {
    /// Identifies the person at the source; null = a guest, who is known by identifiers alone.
    pub subject: Option<Expression>,
    /// Identifier kind → value.
    pub identifiers: Vec<NamedExpression>,
    pub attributes: Vec<NamedExpression>,
    pub consent: Vec<ConsentMapping>,
    pub order: Option<OrderMapping>,
    pub at: Location,
}

/// The canonical columns of an order.
#[derive(Debug, Clone)]
pub struct OrderMapping {
    pub id: Expression,
    /// When it was placed.
    pub at: Expression,
    pub currency: Option<Expression>,
    /// Net value after refunds.
    pub net: Expression,
    pub status: Option<Expression>,
    /// The child stream that holds its lines.
    pub lines: Option<String>,
}

/// A destination reached through a plugin.
#[derive(Debug, Clone)]
pub struct DestinationPlan {
    pub connection: String,
    pub object: String,
    /// Whoever did not grant this is not in the diff.
    pub consent: Option<ConsentNeed>,
    /// Field of the destination → identifier or expression.
    pub match_by: Vec<NamedExpression>,
    pub mode: WriteMode,
    /// Name of the list that mirrors the segment.
    pub list: Option<String>,
    pub map: Vec<NamedExpression>,
    /// Every personal field that leaves is named here.
    pub grants: Vec<String>,
    /// Those of `grants` that the plugin sees in the clear; the others reach it as tokens.
    pub plaintext: Vec<String>,
    pub guard: Guard,
    /// Rows per batch at most.
    pub batch_rows_max: Option<u32>,
    pub at: Location,
}

/// How rows are written (delivery.md §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteMode {
    Insert,
    Update,
    Upsert,
    Mirror,
    Append,
}

impl WriteMode {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Upsert => "upsert",
            Self::Mirror => "mirror",
            Self::Append => "append",
        }
    }
}

/// Removals above this hold the run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guard {
    /// Share of the image, 0..=1; 0.10 when absent.
    pub remove_share_max: f64,
    /// Below this many rows the share is not looked at; 100 when absent.
    pub rows_min: u64,
}

/// What happens to refused records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorPolicy {
    /// Fail the run when more than `breaker_max` of `breaker_window` records are refused.
    pub breaker_window: u64,
    pub breaker_max: u64,
}

/// `profiles/identity.yaml`.
#[derive(Debug, Clone, Default)]
pub struct IdentityRules {
    /// In order of priority, best first.
    pub identifiers: Vec<IdentifierRule>,
    /// What is compared besides identifiers; in the order of the file.
    pub attributes: Vec<AttributeRule>,
    /// In order; empty = one rule per identifier.
    pub rules: Vec<MatchRule>,
    /// `None` = contradicting names and dates keep nobody apart.
    pub veto: Option<Veto>,
    pub limits: IdentityLimits,
    /// Pairs of records that are one profile, whatever rules say: a person decided.
    pub must_link: Vec<RecordPair>,
    /// Pairs that are never one.
    pub cannot_link: Vec<RecordPair>,
    /// How `affluent resolve` finds identifiers and attributes in a file.
    pub records: RecordColumns,
    /// Attribute → rule where it differs from `most_recent`; `default` for those without one.
    pub survivorship: BTreeMap<String, Survivorship>,
}

/// The columns of a file of records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordColumns {
    /// The column that tells records apart; `None` = the first.
    pub id: Option<String>,
    /// The column that tells when a record was observed; `None` = all at once.
    pub at: Option<String>,
    /// Identifier or attribute → column, where they are not called the same.
    pub columns: BTreeMap<String, String>,
}

/// One kind of identifier.
#[derive(Debug, Clone)]
pub struct IdentifierRule {
    pub name: String,
    /// What its values are; `None` = as the name says.
    pub form: Option<IdentifierForm>,
    pub priority: u32,
    /// Values one profile may have, that were first seen within one period.
    pub values_max: u32,
    pub values_per: Period,
    /// Two values = two persons.
    pub unique: bool,
    /// Nodes that one value may point to before it is blocked.
    pub fanout_max: u32,
    /// Never joins on its own.
    pub weak: bool,
    /// Of a device or a browser, not of a person; `None` = of a person.
    pub anonymous: Option<WhenKnown>,
    pub normalize: NormalizeOptions,
    /// Values that are never an edge; `*` matches any text.
    pub blocked: Vec<String>,
    /// Shipped lists of such values.
    pub presets: Vec<BlockPreset>,
    /// Values that never join on their own.
    pub weak_values: Option<WeakValues>,
    /// Of a mark ([`IdentifierRule::mark`]): the kind whose weak values it tells.
    pub mark_of: Option<String>,
}

/// Nodes that share all of these identifiers, and fit each other by all comparisons, are one profile.
#[derive(Debug, Clone)]
pub struct MatchRule {
    pub name: String,
    /// Identifiers; may be empty where there are comparisons or a score.
    pub all: Vec<String>,
    /// Tests that a pair of nodes must pass.
    pub compare: Vec<Comparison>,
    /// Evidence over attributes instead of identifiers and comparisons.
    pub score: Option<ScoreRule>,
    pub at: Location,
}

/// Guard rails of identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdentityLimits {
    /// Nodes in one profile.
    pub profile_nodes_max: u32,
    /// Nodes that one identifier may point to, where the identifier does not say.
    pub fanout_max: u32,
}

impl Default for IdentityLimits {
    fn default() -> Self {
        Self { profile_nodes_max: 200, fanout_max: 50 }
    }
}

/// One computed trait.
#[derive(Debug, Clone)]
pub struct ComputedTrait {
    pub name: String,
    /// Stream whose records are counted: `orders`, `order_lines`. Empty for what is made of the orders of all streams.
    pub from: String,
    pub measure: Measure,
    /// Only records of the last so many milliseconds.
    pub window_ms: Option<u64>,
    pub at: Location,
}

/// What a trait computes.
#[derive(Debug, Clone)]
pub enum Measure {
    /// One aggregate expression.
    Sql(Expression),
    /// The value of this column with the most records; ties: the smaller value.
    MostFrequent(Expression),
    /// `100 R + 10 F + M`, each in bins from 1.
    Rfm { bins: u8 },
    /// What a model of repeat buying expects.
    Predict(PredictPlan),
    /// The value of this column that others with the same records have too, and the profile has not.
    Recommend(Expression),
}

/// One segment.
#[derive(Debug, Clone)]
pub struct Segment {
    pub name: String,
    pub description: String,
    pub condition: Expression,
    /// Members of these segments are left out.
    pub exclude: Vec<String>,
    /// Its place in a priority list: whoever an earlier segment of the list takes is not a member here.
    pub priority: Option<SegmentPriority>,
    pub alert: Option<SizeAlert>,
    pub at: Location,
}

/// A place in a list of segments of which a profile is in one at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentPriority {
    pub list: String,
    /// From 0, first first.
    pub place: usize,
}

/// A change of size that somebody should look at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SizeAlert {
    /// Share of the members before, above 0.
    pub change_share_max: f64,
    /// Below this many members, before and now, the share is not looked at.
    pub members_min: u64,
}
