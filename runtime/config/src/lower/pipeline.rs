//! `pipelines/*.yaml` → [`Pipeline`], with the connections written inside it.

use std::collections::BTreeMap;

use affluent_model::pii::PiiClass;
use affluent_model::plan::{
    CatchUp, Connection, ErrorPolicy, Overlap, Pipeline, PipelineSource, Schedule, StreamRead, TransformStep,
};
use affluent_model::schema::SyncMode;

use super::{connection, destination, expression, expressions, texts};
use crate::mistake::{self, FileReport};
use crate::node::Node;
use crate::placed::{Named, Placed};
use crate::raw::pipeline::{
    RawCatchUp, RawCatchUpWord, RawConnectionUse, RawErrors, RawOverlap, RawPii, RawPipeline, RawSchedule, RawSource, RawStream,
    RawStreams, RawTransform,
};
use crate::scalar;

/// Refused records of the last [`BREAKER_WINDOW`] above which a run fails, when the file does not say.
const BREAKER_MAX: u64 = 50;
/// Records the breaker looks at, when the file does not say.
const BREAKER_WINDOW: u64 = 1000;

/// A pipeline and the connections written inside it.
pub(crate) struct Lowered {
    pub(crate) pipeline: Pipeline,
    /// With the tree of each.
    pub(crate) connections: Vec<(Connection, Node)>,
}

/// `None` when the source or the destination cannot be told.
pub(crate) fn lower(raw: RawPipeline, node: &Node, report: &mut FileReport) -> Option<Lowered> {
    let name = raw.pipeline.to_string();
    let mut inline = Inline { pipeline: &name, node, connections: Vec::new() };
    let schedule = raw.schedule.as_ref().map(|raw| schedule(raw, report));
    let transforms = raw.transforms.iter().flatten().filter_map(|step| transform(step, report)).collect();
    let source = source(&raw.source, &mut inline, report);
    let from_profiles = matches!(source, Some(PipelineSource::Profiles { .. }));
    let destination = destination::lower(&raw.destination, from_profiles, &mut inline, report);
    if from_profiles && let Some(steps) = &raw.transforms {
        let place = steps.first().map_or(raw.source.place(), Placed::place);
        let help = "write expressions under `map` of the destination";
        report.add_help(mistake::COMBINATION, place, "a pipeline from profiles has no transforms", help);
    }
    let connections = inline.connections;
    let at = report.location(raw.pipeline.place());
    let tests = super::tests::lower(raw.tests.as_ref(), report);
    let errors = errors(raw.errors.as_ref(), report);
    let pipeline = Pipeline { name, schedule, source: source?, transforms, destination: destination?, errors, tests, at };
    Some(Lowered { pipeline, connections })
}

/// Gathers the connections written inside a pipeline.
pub(crate) struct Inline<'a> {
    pipeline: &'a str,
    node: &'a Node,
    connections: Vec<(Connection, Node)>,
}

impl Inline<'_> {
    /// The name of the connection used at `side` (`source` or `destination`).
    pub(crate) fn name(&mut self, raw: &RawConnectionUse, side: &str, report: &mut FileReport) -> String {
        match raw {
            RawConnectionUse::Text(name) => name.to_string(),
            RawConnectionUse::Map(raw) => {
                let name = format!("{}.{side}", self.pipeline);
                let node = self.node.deepest([side, "connection"]).clone();
                let raw_connection = connection::lower_inline((***raw).clone(), name.clone(), raw.place(), &node, report);
                self.connections.push((raw_connection, node));
                name
            }
        }
    }
}

fn schedule(raw: &Placed<RawSchedule>, report: &mut FileReport) -> Schedule {
    let after = texts(raw.after.as_ref());
    if raw.cron.is_none() && after.is_empty() {
        report.add_help(
            mistake::SCHEDULE_EMPTY,
            raw.place(),
            "the schedule says neither `cron` nor `after`",
            "remove it to run by hand only",
        );
    }
    if raw.cron.is_none()
        && let Some(timezone) = &raw.timezone
    {
        report.add(mistake::COMBINATION, timezone.place(), "`timezone` without `cron` has no meaning");
    }
    let duration = |text: &Option<Placed<String>>| text.as_ref().and_then(|text| scalar::duration_ms(text).ok());
    Schedule {
        cron: raw.cron.as_ref().map(|cron| cron.to_string()),
        timezone: raw.timezone.as_ref().map_or_else(|| "UTC".to_owned(), |timezone| timezone.to_string()),
        jitter_ms: duration(&raw.jitter).unwrap_or(0),
        overlap: match raw.overlap {
            Some(RawOverlap::Queue) => Overlap::Queue,
            Some(RawOverlap::Skip) | None => Overlap::Skip,
        },
        catch_up: match &raw.catch_up {
            Some(RawCatchUp::Text(RawCatchUpWord::None)) => CatchUp::None,
            Some(RawCatchUp::Map(raw)) => CatchUp::All(raw.all),
            Some(RawCatchUp::Text(RawCatchUpWord::Last)) | None => CatchUp::Last,
        },
        timeout_ms: duration(&raw.timeout),
        after,
    }
}

fn source(raw: &Placed<RawSource>, inline: &mut Inline<'_>, report: &mut FileReport) -> Option<PipelineSource> {
    match (&raw.connection, &raw.profiles) {
        (Some(connection), None) => {
            let Some(streams) = &raw.streams else {
                report.add(mistake::MISSING_KEY, raw.place(), "missing key `streams` in `source`");
                return None;
            };
            let streams = streams_of(streams, report);
            if streams.is_empty() {
                report.add(mistake::MISSING_KEY, raw.place(), "`streams` is empty");
            }
            let at = match connection {
                RawConnectionUse::Text(name) => name.place(),
                RawConnectionUse::Map(raw) => raw.place(),
            };
            let at = report.location(at);
            Some(PipelineSource::Connection { connection: inline.name(connection, "source", report), streams, at })
        }
        (None, Some(profiles)) => {
            if raw.streams.is_some() {
                report.add(mistake::COMBINATION, raw.place(), "`streams` belongs to a connection, profiles have none");
            }
            let segment = profiles.segment.as_ref();
            let at = report.location(segment.map_or(profiles.place(), Placed::place));
            Some(PipelineSource::Profiles { segment: segment.map(|segment| segment.to_string()), at })
        }
        _ => {
            report.add(mistake::COMBINATION, raw.place(), "`source` must have exactly one of the keys connection, profiles");
            None
        }
    }
}

fn streams_of(raw: &RawStreams, report: &mut FileReport) -> Vec<StreamRead> {
    match raw {
        RawStreams::List(names) => {
            let mut reads: Vec<StreamRead> = Vec::new();
            for name in names {
                if reads.iter().any(|read| read.name == name.as_str()) {
                    report.add(mistake::DUPLICATE_NAME, name.place(), format!("the stream `{}` is listed twice", name.as_str()));
                    continue;
                }
                reads.push(StreamRead {
                    name: name.to_string(),
                    sync: SyncMode::FullRefresh,
                    since_us: None,
                    lookback_ms: 0,
                    pii: BTreeMap::new(),
                    at: report.location(name.place()),
                });
            }
            reads
        }
        RawStreams::Map(streams) => streams.iter().map(|(name, raw)| stream(name, raw, report)).collect(),
    }
}

fn stream(name: &Placed<String>, raw: &RawStream, report: &mut FileReport) -> StreamRead {
    let sync = raw.sync.unwrap_or(SyncMode::FullRefresh);
    if let (SyncMode::FullRefresh, Some(lookback)) = (sync, &raw.lookback) {
        let help = "add `sync: incremental`, or remove it";
        report.add_help(mistake::COMBINATION, lookback.place(), "`lookback` without `sync: incremental` has no meaning", help);
    }
    StreamRead {
        name: name.to_string(),
        sync,
        since_us: raw.since.as_ref().and_then(|since| scalar::since_us(since).ok()),
        lookback_ms: raw.lookback.as_ref().and_then(|lookback| scalar::duration_ms(lookback).ok()).unwrap_or(0),
        pii: raw.pii.iter().flat_map(Named::iter).map(|(field, class)| (field.to_string(), pii_class(*class))).collect(),
        at: report.location(name.place()),
    }
}

fn pii_class(raw: RawPii) -> Option<PiiClass> {
    match raw {
        RawPii::None => None,
        RawPii::Email => Some(PiiClass::Email),
        RawPii::Phone => Some(PiiClass::Phone),
        RawPii::Name => Some(PiiClass::Name),
        RawPii::Address => Some(PiiClass::Address),
        RawPii::BirthDate => Some(PiiClass::BirthDate),
        RawPii::Ip => Some(PiiClass::Ip),
        RawPii::FreeText => Some(PiiClass::FreeText),
        RawPii::OnlineId => Some(PiiClass::OnlineId),
        RawPii::Gender => Some(PiiClass::Gender),
    }
}

fn transform(raw: &Placed<RawTransform>, report: &mut FileReport) -> Option<TransformStep> {
    if let Some(filter) = &raw.filter {
        let condition = expression(&filter.condition, report);
        return Some(TransformStep::Filter { stream: filter.stream.to_string(), condition });
    }
    if let Some(map) = &raw.map {
        let set = expressions(map.set.as_ref(), report);
        if set.is_empty() && map.drop.as_ref().is_none_or(Vec::is_empty) {
            report.add_help(mistake::COMBINATION, map.place(), "`map` neither sets nor drops a column", "add `set` or `drop`");
        }
        for (name, _) in map.set.iter().flat_map(Named::iter).filter(|(name, _)| name.starts_with('_')) {
            let message = format!("`{}` is reserved: names of the system start with `_`", name.as_str());
            report.add(mistake::MALFORMED, name.place(), message);
        }
        let drop = texts(map.drop.as_ref());
        return Some(TransformStep::Map { stream: map.stream.to_string(), set, drop, at: report.location(map.place()) });
    }
    let step = raw.plugin.as_ref()?;
    Some(TransformStep::Plugin {
        plugin: step.plugin.to_string(),
        streams: texts(Some(&step.streams)),
        config: serde_json::Value::Object(step.config.clone().unwrap_or_default()),
        at: report.location(step.plugin.place()),
    })
}

fn errors(raw: Option<&RawErrors>, report: &mut FileReport) -> ErrorPolicy {
    let breaker = raw.and_then(|raw| raw.breaker.as_ref());
    let window = breaker.and_then(|breaker| breaker.window).unwrap_or(BREAKER_WINDOW);
    let max = breaker.and_then(|breaker| breaker.max).unwrap_or(BREAKER_MAX);
    if let Some(breaker) = breaker.filter(|_| max >= window) {
        let message = format!("the breaker never opens: `max` ({max}) is not below `window` ({window})");
        report.add(mistake::COMBINATION, breaker.place(), message);
    }
    ErrorPolicy { breaker_window: window, breaker_max: max }
}
