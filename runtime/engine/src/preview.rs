//! What a run would do, found out without doing it: where each stream stands, and for every destination who would be
//! created, updated, removed or left out.

use affluent_model::Result;
use affluent_model::plan::{DestinationPlan, PipelineDestination, PipelineSource};
use affluent_model::report::ActivationReport;
use serde::Serialize;

use crate::activate;
use crate::engine::Engine;
use crate::streams::connection_of;

/// What one pipeline would do.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PipelinePreview {
    pub pipeline: String,
    pub reads: Vec<StreamPreview>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sends: Option<ActivationPreview>,
    /// The personal data that leaves, in the order of `grants`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub leaves: Vec<PersonalPreview>,
    /// Why nothing can be said yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
}

/// Where a stream stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct StreamPreview {
    pub stream: String,
    /// `first read`, `goes on from a checkpoint`, `full refresh`, `goes on inside a full refresh`.
    pub reads: String,
    /// Records admitted so far.
    pub records_before: u64,
}

/// A granted attribute, identifier or column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PersonalPreview {
    pub name: String,
    pub plugin_sees: PluginSees,
}

/// How a destination's plugin sees personal data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PluginSees {
    /// The host puts the value into the request.
    Token,
    Plaintext,
}

/// What would be sent.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ActivationPreview {
    pub counts: ActivationReport,
    /// Batches that upserts and removes would need.
    pub batches: u64,
    /// (`upsert` or `remove`, profile id), at most ten.
    pub sample: Vec<(String, String)>,
}

/// Rows per batch that a forecast assumes where the pipeline does not say.
const BATCH_ROWS: u64 = 1_000;
/// Rows shown.
const SAMPLE_ROWS: usize = 10;

impl Engine {
    /// Looks at what `run` would do for one pipeline; changes nothing.
    ///
    /// # Errors
    /// What the stores report.
    pub async fn preview(&self, name: &str) -> Result<PipelinePreview> {
        let mut preview = PipelinePreview { pipeline: name.to_owned(), ..PipelinePreview::default() };
        let Some(pipeline) = self.plan.pipelines.get(name) else { return Ok(preview) };
        if let PipelineSource::Connection { streams, .. } = &pipeline.source {
            for stream in streams {
                preview.reads.push(self.preview_stream(name, stream)?);
            }
        }
        let PipelineDestination::Connection(plan) = &pipeline.destination else { return Ok(preview) };
        preview.leaves = self.preview_personal(plan).await?;
        let PipelineSource::Profiles { .. } = &pipeline.source else { return Ok(preview) };
        let mut counts = ActivationReport::default();
        match activate::preview(self, pipeline, &mut counts).await {
            Ok(moves) => {
                let rows = self.batch_rows(plan).await;
                let batches = counts.upserts.div_ceil(rows) + counts.removes.div_ceil(rows);
                let sample = moves.into_iter().take(SAMPLE_ROWS).map(|(kind, key)| (kind, key.to_string())).collect();
                preview.sends = Some(ActivationPreview { counts, batches, sample });
            }
            Err(error) if error.code == "E0807" => preview.unknown = Some(error.message),
            Err(error) => return Err(error),
        }
        Ok(preview)
    }

    /// Rows of a full batch, as far as can be known before the destination is opened: what the pipeline asks for, at most what the
    /// destination takes.
    async fn batch_rows(&self, plan: &DestinationPlan) -> u64 {
        let asked = plan.batch_rows_max.map_or(BATCH_ROWS, u64::from);
        let Ok(connection) = connection_of(self, &plan.connection) else { return asked.max(1) };
        // What cannot be asked now is told when it is run; the plan itself is none the worse.
        let targets = self.connectors.discover_targets(connection).await.unwrap_or_default();
        let most = targets.iter().find(|target| target.name == plan.object).and_then(|target| target.max_rows);
        most.map_or(asked, |most| asked.min(u64::from(most))).max(1)
    }

    async fn preview_personal(&self, plan: &DestinationPlan) -> Result<Vec<PersonalPreview>> {
        let connection = connection_of(self, &plan.connection)?;
        let is_blind = self.connectors.manifest(&connection.plugin).await?.is_blind();
        let seen = |name: &String| match is_blind && !plan.plaintext.contains(name) {
            true => PluginSees::Token,
            false => PluginSees::Plaintext,
        };
        Ok(plan.grants.iter().map(|name| PersonalPreview { name: name.clone(), plugin_sees: seen(name) }).collect())
    }

    fn preview_stream(&self, pipeline: &str, stream: &affluent_model::plan::StreamRead) -> Result<StreamPreview> {
        use affluent_model::schema::SyncMode;
        let checkpoint = self.ledger.checkpoint(pipeline, &stream.name)?;
        let reads = match (&checkpoint, stream.sync) {
            (None, _) => "first read",
            (Some(known), SyncMode::FullRefresh) if !known.is_complete && known.state.is_some() => {
                "goes on inside a full refresh"
            }
            (Some(_), SyncMode::FullRefresh) => "full refresh",
            (Some(_), SyncMode::Incremental) => "goes on from a checkpoint",
        };
        let records_before = checkpoint.map_or(0, |known| known.records);
        Ok(StreamPreview { stream: stream.name.clone(), reads: reads.to_owned(), records_before })
    }
}
