//! Segments: conditions over attributes, computed traits, records, consent and memberships.

use std::collections::{BTreeMap, BTreeSet};

use affluent_model::expression::{ConsentReach, PlannedSegment, SegmentCall, SegmentScope};
use affluent_model::plan::{ComputedTrait, Expression, Measure, PipelineDestination, Plan, Segment};

use super::columns::Columns;
use super::streams::Ingest;
use super::traits::is_in_profiles;
use super::{Checked, Checker, Want};
use crate::{links, mistake};

impl Checker<'_> {
    pub(super) fn segments(&mut self, ingests: &[Ingest<'_>], columns: &Columns) {
        let plan = self.plan;
        let streams = self.streams_of_profiles(ingests);
        let schemas = streams.iter().map(|(name, columns)| (name.clone(), (!columns.incomplete).then(|| columns.schema())));
        let schemas: BTreeMap<_, _> = schemas.collect();
        let schema = columns.schema();
        let consents = consents(plan);
        let segments: Vec<&str> = plan.segments.iter().map(|segment| segment.name.as_str()).collect();
        let is_partial = self.has_unasked_sources();
        let scope = SegmentScope { columns: &schema, streams: &schemas, segments: &segments, consents: &consents, is_partial };
        let mut depends: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for segment in &plan.segments {
            let planned = self.planner.segment(&segment.condition.text, &scope);
            if columns.incomplete && planned.is_err() {
                continue;
            }
            let named = planned.as_ref().map(named_segments).unwrap_or_default();
            depends.insert(&segment.name, segment.exclude.iter().cloned().chain(named).collect());
            let read = planned.as_ref().map(|planned| planned.read.clone()).unwrap_or_default();
            let condition = &segment.condition;
            let Some(checked) = self.checked(condition, planned.map(|planned| planned.expression), Want::Boolean) else {
                continue;
            };
            if !self.no_sealed(condition, &checked.planned.columns, columns) {
                continue;
            }
            for (stream, used) in read {
                if let Some(columns) = streams.get(&stream) {
                    self.no_sealed(condition, &used, columns);
                }
            }
        }
        self.circles_of_segments(&depends);
    }

    /// Plans an expression over columns of which some may be unknown: what does not plan may be right then.
    pub(super) fn row_of(&mut self, expression: &Expression, columns: &Columns, want: Want) -> Option<Checked> {
        let planned = self.planner.row(&expression.text, &columns.schema());
        if columns.incomplete && planned.is_err() {
            return None;
        }
        self.checked(expression, planned, want)
    }

    /// The columns of each stream that leads into profiles.
    fn streams_of_profiles(&mut self, ingests: &[Ingest<'_>]) -> BTreeMap<String, Columns> {
        let names: BTreeSet<&str> =
            ingests.iter().filter(|ingest| is_in_profiles(ingest, ingests)).map(|ingest| ingest.stream.as_str()).collect();
        let found_before = self.found.len();
        let mut streams = BTreeMap::new();
        for name in names {
            let Some(first) = ingests.iter().find(|ingest| ingest.stream == name) else { continue };
            // Conflicts of types are told where a computed trait meets them.
            let all_records = ComputedTrait {
                name: name.to_owned(),
                from: name.to_owned(),
                measure: Measure::Sql(Expression { text: "count(*)".to_owned(), at: first.pipeline.at.clone() }),
                window_ms: None,
                at: first.pipeline.at.clone(),
            };
            streams.extend(self.stream_columns(&all_records, ingests).map(|columns| (name.to_owned(), columns)));
        }
        self.found.truncate(found_before);
        streams
    }

    /// Who is a member must be known before who is left out; lists of `exclude` alone were looked at before.
    fn circles_of_segments(&mut self, depends: &BTreeMap<&str, Vec<String>>) {
        let plan = self.plan;
        let find = |name: &str| plan.segments.iter().find(|segment| segment.name == name);
        let edges: BTreeMap<&str, Vec<&str>> = plan
            .segments
            .iter()
            .map(|segment| {
                let before = plan.segments.iter().filter(|other| is_before(other, segment));
                let waits = std::iter::once(segment).chain(before).filter_map(|one| depends.get(one.name.as_str()));
                (segment.name.as_str(), waits.flatten().map(String::as_str).collect())
            })
            .collect();
        for circle in links::circles(&edges) {
            let excludes = |pair: &[&str]| match pair {
                [one, next] => find(one).is_some_and(|segment| segment.exclude.iter().any(|name| name == next)),
                _ => true,
            };
            let Some(first) = circle.first().and_then(|name| find(name)) else { continue };
            if !circle.windows(2).all(excludes) {
                let message = format!("segments wait for each other: {}", circle.join(" needs "));
                let help = "take one of them out of an `in_segment`, an `exclude` or a list";
                self.add(mistake::EXCLUDE_CYCLE, message, first.at.clone(), help);
            }
        }
    }
}

fn consents(plan: &Plan) -> Vec<ConsentReach<'_>> {
    let mappings = plan.pipelines.values().filter_map(|pipeline| match &pipeline.destination {
        PipelineDestination::Profiles { streams, .. } => Some(streams.values()),
        PipelineDestination::Connection(_) => None,
    });
    let consents = mappings.flatten().flat_map(|mapping| &mapping.consent).map(|consent| ConsentReach::of(&consent.terms));
    consents.collect::<BTreeSet<_>>().into_iter().collect()
}

fn named_segments(planned: &PlannedSegment) -> Vec<String> {
    let named = planned.calls.iter().filter_map(|call| match call {
        SegmentCall::InSegment { segment } => Some(segment.clone()),
        _ => None,
    });
    named.collect()
}

/// True when `other` stands before `segment` in a list.
fn is_before(other: &Segment, segment: &Segment) -> bool {
    match (&other.priority, &segment.priority) {
        (Some(other), Some(own)) => other.list == own.list && other.place < own.place,
        _ => false,
    }
}
