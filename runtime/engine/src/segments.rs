//! Who is a member of which segment: all segments are decided in one pass over the snapshot, and the difference to the
//! members before is who entered and who left.

use std::collections::BTreeMap;

use affluent_lake::{LakeQuery, LakeTable};
use affluent_model::expression::{ConsentReach, ExpressionMistake, SegmentCall, SegmentScope};
use affluent_model::identity::ProfileId;
use affluent_model::plan::{PipelineDestination, SizeAlert};
use affluent_model::report::{ProfilesReport, RunReport, SegmentReport};
use affluent_model::schema::Field;
use affluent_model::{Error, Result};
use affluent_profiles::expiries::Expiries;
use affluent_profiles::segment::{PreparedSegment, membership_sql};
use affluent_profiles::snapshot::trait_columns;
use affluent_profiles::source::TableSource;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use serde::Serialize;

use crate::answers::answers;
use crate::compute::current_snapshot;
use crate::engine::{Engine, Event};
use crate::inputs::{Inputs, People};
use crate::origins::is_origin;
use crate::rows;
use crate::run::PROFILES_LEASE;
use crate::tables::profile_tables;

/// The name under which a condition that is in no file is counted.
const PREVIEW: &str = "(preview)";

/// Segments whose conditions are ready to stand in SQL.
pub(crate) struct PreparedSegments {
    segments: Vec<PreparedSegment>,
    /// What their conditions ask beyond the snapshot.
    calls: Vec<SegmentCall>,
}

/// (segment, profile) of who entered and who left.
#[derive(Default)]
pub(crate) struct Moves {
    pub(crate) entered: Vec<(String, ProfileId)>,
    pub(crate) left: Vec<(String, ProfileId)>,
}

/// What a segment would be if it were decided now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SegmentSizeNow {
    pub segment: String,
    pub members: u64,
    /// Of all segments: what the share is of.
    pub profiles: u64,
    /// Members who were none at the last run.
    pub entering: u64,
    /// Members at the last run who are none now.
    pub leaving: u64,
}

/// A segment whose size changed at the last computation by more than its alert lets pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SegmentAlert {
    pub segment: String,
    pub members_before: u64,
    pub members: u64,
}

impl PreparedSegments {
    /// Every segment of the plan.
    ///
    /// # Errors
    /// `E0300` for a condition that does not parse.
    pub(crate) fn of_plan(engine: &Engine) -> Result<Self> {
        let mut prepared = Self { segments: Vec::new(), calls: Vec::new() };
        for segment in &engine.plan.segments {
            let priority = segment.priority.as_ref().map(|priority| (priority.list.clone(), priority.place));
            prepared.add(engine, &segment.name, &segment.condition.text, &segment.exclude, priority)?;
        }
        Ok(prepared)
    }

    fn add(
        &mut self,
        engine: &Engine,
        name: &str,
        condition: &str,
        exclude: &[String],
        priority: Option<(String, usize)>,
    ) -> Result<()> {
        let (condition, calls) = engine.expressions.normalise_segment(condition, &mut self.calls).map_err(|mistake| {
            Error::configuration("E0300", format!("the condition of segment `{name}` does not parse: {}", mistake.message))
                .help("run `affluent validate`")
        })?;
        self.segments.push(PreparedSegment { name: name.to_owned(), condition, exclude: exclude.to_vec(), priority, calls });
        Ok(())
    }

    /// True when records fall out of a window as time goes by.
    pub(crate) fn has_window(&self) -> bool {
        self.calls.iter().any(|call| matches!(call, SegmentCall::Did { window_ms: Some(_), .. }))
    }

    /// True when some condition asks for a consent.
    pub(crate) fn asks_consent(&self) -> bool {
        self.calls.iter().any(|call| matches!(call, SegmentCall::Consent { .. }))
    }

    fn reads_records(&self) -> bool {
        self.calls.iter().any(|call| !matches!(call, SegmentCall::InSegment { .. }))
    }

    /// The members of each segment, in their order, sorted; and how many profiles there are.
    ///
    /// # Errors
    /// What lake and ledger report.
    async fn members(
        &self,
        engine: &Engine,
        snapshot: &LakeTable,
        (inputs, expiries): (Option<&Inputs>, &mut Expiries),
    ) -> Result<(Vec<Vec<ProfileId>>, u64)> {
        let mut lookups = Vec::new();
        if self.reads_records() {
            let read = if inputs.is_none() { Some(Inputs::read(engine).await?) } else { None };
            if let Some(inputs) = inputs.or(read.as_ref()) {
                lookups = answers(engine, inputs, &self.calls, expiries).await?;
            }
        }
        let sql = membership_sql(&self.segments, &self.calls)?;
        let mut members: Vec<Vec<ProfileId>> = vec![Vec::new(); self.segments.len()];
        let query = LakeQuery { lookups, ..LakeQuery::new(sql, vec![snapshot.clone()], engine.now_us()) };
        let profiles = engine.lake.stream(query, &mut |batch| take_members(&batch, &mut members)).await?;
        for list in &mut members {
            list.sort_unstable();
        }
        Ok((members, profiles))
    }
}

fn take_members(batch: &RecordBatch, members: &mut [Vec<ProfileId>]) -> Result<()> {
    let profiles = rows::as_text(rows::column(batch, "profile")?)?;
    let profiles = profiles.as_string::<i32>();
    for (place, list) in members.iter_mut().enumerate() {
        let is_member = rows::cast_to(rows::column(batch, &format!("m{place}"))?, &DataType::Boolean)?;
        let is_member = is_member.as_boolean();
        for row in (0..is_member.len()).filter(|row| is_member.is_valid(*row) && is_member.value(*row)) {
            let id = ProfileId::parse(profiles.value(row));
            list.push(id.ok_or_else(|| Error::bug("a profile id in the lake is not a UUID"))?);
        }
    }
    Ok(())
}

/// Decides every segment over the rows of a new snapshot and counts who entered and who left; `only` these profiles, where it is
/// given, and all others stay what they are.
///
/// # Errors
/// What lake, ledger and `profiles` report.
pub(crate) async fn decide_segments(
    engine: &Engine,
    snapshot: &LakeTable,
    (inputs, only): (&Inputs, Option<&People>),
    expiries: &mut Expiries,
    report: &mut ProfilesReport,
) -> Result<Moves> {
    let mut moves = Moves::default();
    if engine.plan.segments.is_empty() {
        return Ok(moves);
    }
    engine.notice(Event::Computing { step: "segments".to_owned() });
    let (members, _) = PreparedSegments::of_plan(engine)?.members(engine, snapshot, (Some(inputs), expiries)).await?;
    for (segment, now) in engine.plan.segments.iter().zip(members) {
        let mut before = engine.ledger.members(&segment.name)?;
        let members_before = before.len();
        if let Some(only) = only {
            before.retain(among(&only.ids));
        }
        let (entered, left) = difference(&before, &now);
        let mut counts = SegmentReport {
            members: number((members_before + entered.len()).saturating_sub(left.len())),
            entered: number(entered.len()),
            left: number(left.len()),
            is_alert: false,
        };
        counts.is_alert = segment.alert.is_some_and(|alert| is_alert(&alert, &counts));
        moves.entered.extend(entered.into_iter().map(|profile| (segment.name.clone(), profile)));
        moves.left.extend(left.into_iter().map(|profile| (segment.name.clone(), profile)));
        report.segments.insert(segment.name.clone(), counts);
    }
    Ok(moves)
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Who is in `now` alone and who is in `before` alone; both lists are sorted.
fn difference(before: &[ProfileId], now: &[ProfileId]) -> (Vec<ProfileId>, Vec<ProfileId>) {
    let only = |of: &[ProfileId], other: &[ProfileId]| {
        let mut is_in_other = among(other);
        of.iter().filter(|id| !is_in_other(id)).copied().collect()
    };
    (only(now, before), only(before, now))
}

/// Whether profiles that are asked for in their order are in a sorted list.
fn among(sorted: &[ProfileId]) -> impl FnMut(&ProfileId) -> bool {
    let mut left = sorted.iter().peekable();
    move |id| {
        while left.next_if(|other| *other < id).is_some() {}
        left.peek().is_some_and(|other| *other == id)
    }
}

/// A segment that had no members yet cannot change too much.
fn is_alert(alert: &SizeAlert, counts: &SegmentReport) -> bool {
    let (before, now) = (counts.members_before(), counts.members);
    if before == 0 || before.max(now) < alert.members_min {
        return false;
    }
    #[expect(clippy::cast_precision_loss, reason = "a share of members does not need more than 52 bits")]
    let share = before.abs_diff(now) as f64 / before as f64;
    share > alert.change_share_max
}

impl Engine {
    /// What segments would be if they were decided now, by the files as they are: all of them, one, or a condition that is
    /// in no file.
    ///
    /// # Errors
    /// `E0807` without profiles; `E0300` for a condition with a mistake; what the lake reports.
    pub async fn segment_sizes_now(&self, condition: Option<&str>) -> Result<Vec<SegmentSizeNow>> {
        let (_, snapshot) = current_snapshot(self)?;
        let mut prepared = PreparedSegments::of_plan(self)?;
        if let Some(condition) = condition {
            self.check_condition(condition, &snapshot).await?;
            prepared.add(self, PREVIEW, condition, &[], None)?;
        }
        let (members, profiles) = prepared.members(self, &snapshot, (None, &mut Expiries::new(0))).await?;
        let mut sizes = Vec::new();
        for (segment, now) in prepared.segments.iter().zip(members) {
            let before = self.ledger.members(&segment.name)?;
            let (entering, leaving) = difference(&before, &now);
            sizes.push(SegmentSizeNow {
                segment: segment.name.clone(),
                members: number(now.len()),
                profiles,
                entering: number(entering.len()),
                leaving: number(leaving.len()),
            });
        }
        Ok(match condition {
            Some(_) => sizes.pop().into_iter().collect(),
            None => sizes,
        })
    }

    /// Segments whose size changed too much when they were last decided.
    ///
    /// # Errors
    /// Those of the store.
    pub fn segment_alerts(&self) -> Result<Vec<SegmentAlert>> {
        let last = self.ledger.runs(Some(PROFILES_LEASE), 1)?.into_iter().next();
        let Some(report) = last.and_then(|run| run.report_json) else { return Ok(Vec::new()) };
        let report: RunReport = serde_json::from_str(&report).unwrap_or_default();
        let segments = report.profiles.map(|profiles| profiles.segments).unwrap_or_default();
        let alerts = segments.into_iter().filter(|(_, counts)| counts.is_alert);
        Ok(alerts
            .map(|(segment, counts)| SegmentAlert { segment, members_before: counts.members_before(), members: counts.members })
            .collect())
    }

    /// Refuses a condition that does not plan against the data as it is.
    async fn check_condition(&self, condition: &str, snapshot: &LakeTable) -> Result<()> {
        let sources: Vec<TableSource> = profile_tables(self).await?.into_iter().map(|one| one.source).collect();
        let mut streams = BTreeMap::new();
        for source in &sources {
            let columns = trait_columns(&source.stream, &sources)?;
            let fields = columns.iter().map(|column| Field::new(column.name.as_str(), column.kind).to_arrow());
            streams.insert(source.stream.clone(), Some(Schema::new(fields.collect::<Vec<_>>())));
        }
        let is_clear = |field: &&arrow::datatypes::FieldRef| {
            *field.data_type() != DataType::Binary && !is_origin(field) && field.name() != "profile"
        };
        let columns = Schema::new(snapshot.schema.fields().iter().filter(is_clear).cloned().collect::<Vec<_>>());
        let segments: Vec<&str> = self.plan.segments.iter().map(|segment| segment.name.as_str()).collect();
        let consents = self.consents();
        let scope =
            SegmentScope { columns: &columns, streams: &streams, segments: &segments, consents: &consents, is_partial: false };
        let refused = |mistake: &ExpressionMistake| {
            let place = mistake.offset.map_or_else(String::new, |offset| format!(" at character {}", offset + 1));
            Error::configuration("E0300", format!("the condition is wrong{place}: {}", mistake.message))
                .help(mistake.help.join("; "))
        };
        let planned = self.expressions.plan_segment(condition, &scope).map_err(|mistake| refused(&mistake))?;
        if planned.expression.data_type != DataType::Boolean {
            return Err(refused(&ExpressionMistake::whole("it must be true or false")));
        }
        Ok(())
    }

    fn consents(&self) -> Vec<ConsentReach<'_>> {
        let mappings = self.plan.pipelines.values().filter_map(|pipeline| match &pipeline.destination {
            PipelineDestination::Profiles { streams, .. } => Some(streams.values()),
            PipelineDestination::Connection(_) => None,
        });
        mappings.flatten().flat_map(|mapping| &mapping.consent).map(|consent| ConsentReach::of(&consent.terms)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_size_is_told_beyond_the_share_and_above_the_least_size() {
        let alert = SizeAlert { change_share_max: 0.3, members_min: 100 };
        let cases = [
            ((0, 500), false),
            ((1_000, 1_300), false),
            ((1_000, 1_301), true),
            ((1_000, 699), true),
            ((50, 99), false),
            ((50, 100), true),
        ];
        for ((before, now), expected) in cases {
            let (before, now): (u64, u64) = (before, now);
            let counts = SegmentReport {
                members: now,
                entered: now.saturating_sub(before),
                left: before.saturating_sub(now),
                is_alert: false,
            };
            assert_eq!(is_alert(&alert, &counts), expected, "{before} -> {now}");
        }
    }

    #[test]
    fn who_entered_and_who_left_is_the_difference_of_both_lists() {
        let ids = |numbers: &[u128]| numbers.iter().copied().map(ProfileId).collect::<Vec<_>>();

        assert_eq!(difference(&ids(&[1, 2, 3]), &ids(&[2, 4])), (ids(&[4]), ids(&[1, 3])));
    }
}
