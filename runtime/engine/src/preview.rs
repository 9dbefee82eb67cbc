//! What a run would do, found out without doing it: where each stream stands, and for every destination who would be
//! created, updated, removed or left out.

use affluent_model::Result;
use affluent_model::limits::PAGE_ROWS_MAX;
use affluent_model::manifest::Manifest;
use affluent_model::plan::{ConnectionLimits, DestinationPlan, Pipeline, PipelineDestination, PipelineSource, StreamRead};
use affluent_model::report::ActivationReport;
use affluent_model::schema::SyncMode;
use serde::Serialize;

use crate::activate;
use crate::engine::Engine;
use crate::forecast::{Forecast, RunForecast, Work, forecast, in_all, warnings};
use crate::schedule::shortest_interval_ms;
use crate::streams::connection_of;

/// What one pipeline would do.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PipelinePreview {
    pub pipeline: String,
    pub reads: Vec<StreamPreview>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sends: Option<ActivationPreview>,
    /// What writing to the destination takes; nothing is said of destinations that no requests are sent to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writes: Option<Forecast>,
    /// What the whole run takes, as far as anything is known of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forecast: Option<RunForecast>,
    /// Requests or time that are more than an account or the schedule has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
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
    /// What reading it takes, as far as its source says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forecast: Option<Forecast>,
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
        let mut rows = Some(0);
        if let PipelineSource::Connection { connection, streams, .. } = &pipeline.source {
            let connection = connection_of(self, connection)?;
            let manifest = self.connectors.manifest(&connection.plugin).await?;
            for stream in streams {
                let (read, records) = self.preview_stream(name, stream, (&manifest, &connection.limits))?;
                rows = rows.zip(records).map(|(one, other)| one + other);
                preview.reads.push(read);
            }
        }
        if let PipelineDestination::Connection(plan) = &pipeline.destination {
            preview.leaves = self.preview_personal(plan).await?;
            let batch_rows = self.batch_rows(plan).await;
            let mut work = Work::of_rows(rows, batch_rows, plan.list.is_some());
            if let PipelineSource::Profiles { .. } = &pipeline.source {
                work = self.preview_sends(pipeline, batch_rows, &mut preview).await?.map_or_else(
                    || Work::of_rows(None, batch_rows, plan.list.is_some()),
                    |(written, removed)| (Work { written, removed, batch_rows, has_list: plan.list.is_some() }, false),
                );
            }
            preview.writes = self.forecast_writing(plan, work).await?;
        }
        let reads: Vec<&Forecast> = preview.reads.iter().filter_map(|read| read.forecast.as_ref()).collect();
        preview.forecast = in_all(&reads, preview.writes.as_ref());
        let every_ms = pipeline.schedule.as_ref().and_then(|schedule| shortest_interval_ms(schedule, self.now_us()));
        preview.warnings = warnings(&preview.parts(), preview.forecast, every_ms);
        Ok(preview)
    }

    /// What would be sent of profiles: rows written and removed; `None` where nothing can be said yet.
    async fn preview_sends(
        &self,
        pipeline: &Pipeline,
        batch_rows: u64,
        preview: &mut PipelinePreview,
    ) -> Result<Option<(u64, u64)>> {
        let mut counts = ActivationReport::default();
        match activate::preview(self, pipeline, &mut counts).await {
            Ok(moves) => {
                let (written, removed) = (counts.upserts, counts.removes);
                let batches = written.div_ceil(batch_rows) + removed.div_ceil(batch_rows);
                let sample = moves.into_iter().take(SAMPLE_ROWS).map(|(kind, key)| (kind, key.to_string())).collect();
                preview.sends = Some(ActivationPreview { counts, batches, sample });
                Ok(Some((written, removed)))
            }
            Err(error) if error.code == "E0807" => {
                preview.unknown = Some(error.message);
                Ok(None)
            }
            Err(error) => Err(error),
        }
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

    async fn forecast_writing(&self, plan: &DestinationPlan, work: (Work, bool)) -> Result<Option<Forecast>> {
        let connection = connection_of(self, &plan.connection)?;
        let manifest = self.connectors.manifest(&connection.plugin).await?;
        let costs = manifest.costs.of_writing(&plan.object);
        Ok((!manifest.hosts.is_empty()).then(|| forecast(&costs, work, &manifest, &connection.limits)))
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

    /// Where a stream stands, and how many records will be read, where that is known: a full read that was complete before has as many
    /// as then.
    fn preview_stream(
        &self,
        pipeline: &str,
        stream: &StreamRead,
        (manifest, limits): (&Manifest, &ConnectionLimits),
    ) -> Result<(StreamPreview, Option<u64>)> {
        let checkpoint = self.ledger.checkpoint(pipeline, &stream.name)?;
        let reads = match (&checkpoint, stream.sync) {
            (None, _) => "first read",
            (Some(known), SyncMode::FullRefresh) if !known.is_complete && known.state.is_some() => {
                "goes on inside a full refresh"
            }
            (Some(_), SyncMode::FullRefresh) => "full refresh",
            (Some(_), SyncMode::Incremental) => "goes on from a checkpoint",
        };
        let is_full = stream.sync == SyncMode::FullRefresh;
        let rows = checkpoint.as_ref().filter(|known| is_full && known.is_complete).map(|known| known.records);
        let records_before = checkpoint.map_or(0, |known| known.records);
        let costs = manifest.costs.of_reading(&stream.name);
        let work = Work::of_rows(rows, u64::from(PAGE_ROWS_MAX), false);
        let forecast = (!costs.is_empty()).then(|| forecast(costs, work, manifest, limits));
        Ok((StreamPreview { stream: stream.name.clone(), reads: reads.to_owned(), records_before, forecast }, rows))
    }
}

impl PipelinePreview {
    /// The forecasts of its parts, by what they are for.
    fn parts(&self) -> Vec<(&str, &Forecast)> {
        let reads = self.reads.iter().filter_map(|read| Some((read.stream.as_str(), read.forecast.as_ref()?)));
        reads.chain(self.writes.iter().map(|writes| ("the destination", writes))).collect()
    }
}
