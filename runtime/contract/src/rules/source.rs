//! A source is read whole, then again from the states it gave, and the two are compared.

use std::collections::HashSet;

use affluent_model::batch::Page;
use affluent_model::connector::FailureKind;
use affluent_model::schema::{StreamSchema, SyncMode};

use super::{discover, faults, ids};
use crate::bench::Bench;
use crate::reading::{Ended, PAGES_MAX, Reading, WasRead, read};
use crate::report::{Figures, Findings};
use crate::rows;

/// Rows asked for per page: few, so that there are states to open at.
pub(crate) const ROWS_MAX: u32 = 100;
/// For streams that fit into fewer than four pages of [`ROWS_MAX`].
const FEW_ROWS_MAX: u32 = 3;
/// States that a source is opened at again, spread over the reading.
const STATES_MAX: usize = 5;
/// Personal values of one stream that are looked for in what the plugin says.
const PERSONAL_MAX: usize = 500;

pub(crate) async fn check(bench: &Bench, findings: &mut Findings, figures: &mut Figures) {
    let Some(all) = discover::streams(bench, findings).await else { return };
    let wanted = |stream: &&StreamSchema| bench.fixture.streams.is_empty() || bench.fixture.streams.contains(&stream.name);
    let own: Vec<&StreamSchema> = all.iter().filter(|stream| stream.parent.is_none()).filter(wanted).collect();
    if own.is_empty() {
        return findings.skip_all(&ids("read."), "the contract file names no stream of its own");
    }
    for stream in own {
        let is_child = |other: &&StreamSchema| other.parent.as_ref().is_some_and(|parent| parent.stream == stream.name);
        let children: Vec<StreamSchema> = all.iter().filter(is_child).cloned().collect();
        check_stream(bench, stream, &children, findings, figures).await;
    }
}

async fn check_stream(
    bench: &Bench,
    stream: &StreamSchema,
    children: &[StreamSchema],
    findings: &mut Findings,
    figures: &mut Figures,
) {
    let sync = if stream.sync_modes.contains(&SyncMode::FullRefresh) { SyncMode::FullRefresh } else { SyncMode::Incremental };
    let mut reading =
        Reading { connection: &bench.connection, stream, children, sync, state: None, rows_max: ROWS_MAX, pages_max: PAGES_MAX };
    bench.disturb(None);
    let started = super::hygiene::processor_ms();
    let mut seen = Values::default();
    let mut whole = read(bench, &reading, |page| seen.look(page, stream, children)).await;
    figures.add(&whole, started, bench.seen().len());
    if whole.is_whole() && whole.pages.len() < 4 {
        // Too few states to open at: once more, in small pages.
        reading.rows_max = FEW_ROWS_MAX;
        bench.disturb(None);
        whole = read(bench, &reading, |_| {}).await;
    }
    let requests = bench.seen();
    let place = |what: String| format!("stream `{}`: {what}", stream.name);
    seen.judge(bench, stream, findings);
    if let Ended::Failed(failure) = &whole.ended
        && failure.error.code == "E0520"
    {
        findings.fail("discover.types", place(failure.error.message.clone()));
        return;
    }
    findings.pass("discover.types");
    match &whole.ended {
        Ended::Failed(failure) if failure.kind == FailureKind::CursorLoop => {
            return findings.fail("read.cursor", place("the same state comes again under further records".to_owned()));
        }
        Ended::Failed(_) => return findings.fail("read.ends", place(whole.trouble().unwrap_or_default())),
        Ended::Stopped => findings.skip("read.ends", place(whole.trouble().unwrap_or_default())),
        Ended::Whole => findings.pass("read.ends"),
    }
    let is_over = |page: &crate::reading::PageRead| page.own_rows > usize::try_from(reading.rows_max).unwrap_or(usize::MAX);
    let over = whole.pages.iter().position(is_over);
    findings.judge("read.limits", over.map(|page| place(format!("page {} has more than {} rows", page + 1, reading.rows_max))));
    findings.judge("read.cursor", standing(&whole).map(place));
    resume(bench, &reading, &whole, findings).await;
    incremental(bench, &reading, findings).await;
    faults::source(bench, &reading, &whole, &requests, findings).await;
    bench.disturb(None);
}

/// What the values of a full read say of the stream's description.
#[derive(Default)]
struct Values {
    rows: usize,
    keys: HashSet<String>,
    missing_keys: usize,
    repeated_keys: usize,
    open: Vec<String>,
    personal: Vec<String>,
}

impl Values {
    fn look(&mut self, page: &Page, stream: &StreamSchema, children: &[StreamSchema]) {
        for part in &page.parts {
            let described = std::iter::once(stream).chain(children).find(|one| one.name == part.stream);
            let Some(described) = described else { continue };
            self.rows += part.records.num_rows();
            if !described.primary_key.is_empty() {
                for key in rows::keys(part, &described.primary_key) {
                    match key {
                        None => self.missing_keys += 1,
                        Some(key) => {
                            self.repeated_keys += usize::from(!self.keys.insert(format!("{}\u{1f}{key}", part.stream)));
                        }
                    }
                }
            }
            for (column, class, count) in rows::unclassified(&part.records, &described.fields) {
                let like = class.as_str();
                let said = format!("column `{column}` of `{}` has values that look like {like}", part.stream);
                if count > 0 && !self.open.contains(&said) {
                    self.open.push(said);
                }
            }
            if self.personal.len() < PERSONAL_MAX {
                self.personal.extend(rows::personal(&part.records, &described.fields));
            }
        }
    }

    fn judge(self, bench: &Bench, stream: &StreamSchema, findings: &mut Findings) {
        let name = &stream.name;
        if self.rows == 0 {
            findings.skip_all(&["discover.keys", "discover.pii"], &format!("stream `{name}` has no record"));
        } else {
            let evidence = match (self.missing_keys, self.repeated_keys) {
                (0, 0) => None,
                (missing, 0) => Some(format!("stream `{name}`: {missing} rows without a key")),
                (_, repeated) => Some(format!("stream `{name}`: {repeated} rows with the key of another")),
            };
            findings.judge("discover.keys", evidence);
            findings.pass("discover.pii");
            for said in self.open {
                findings.fail("discover.pii", said);
            }
        }
        bench.heard(|heard| heard.personal.extend(self.personal));
    }
}

/// A page with records whose state is that of the page before.
fn standing(whole: &WasRead) -> Option<String> {
    let mut last: Option<&Vec<u8>> = None;
    for (number, page) in whole.pages.iter().enumerate() {
        let has_records = !page.rows.is_empty();
        let is_last = number + 1 == whole.pages.len();
        if page.state.is_some() && page.state.as_ref() == last && has_records && !is_last {
            return Some(format!("page {} has records and the state of the page before", number + 1));
        }
        last = page.state.as_ref().or(last);
    }
    let has_state = whole.pages.iter().any(|page| page.state.is_some());
    (!has_state && whole.pages.len() > 1).then(|| "no page has a state".to_owned())
}

/// Pages after which the reading is taken up again.
fn places(whole: &WasRead) -> Vec<usize> {
    let states: Vec<usize> = (0..whole.pages.len().saturating_sub(1))
        .filter(|number| whole.pages.get(*number).is_some_and(|page| page.state.is_some()))
        .collect();
    let step = states.len().div_ceil(STATES_MAX).max(1);
    states.into_iter().step_by(step).collect()
}

async fn resume(bench: &Bench, reading: &Reading<'_>, whole: &WasRead, findings: &mut Findings) {
    let places = places(whole);
    let name = &reading.stream.name;
    if places.is_empty() {
        let reason = format!("stream `{name}` fits into one page");
        return findings.skip_all(&["read.resume", "read.idempotent"], &reason);
    }
    for page in places {
        let Some(state) = whole.pages.get(page).and_then(|page| page.state.clone()) else { continue };
        let expected: Vec<_> = whole.pages.iter().skip(page + 1).flat_map(|page| &page.rows).collect();
        let pages_max = PAGES_MAX.saturating_sub(page + 1);
        let again = Reading { state: Some(state), pages_max, ..reading.clone() };
        let rest = read(bench, &again, |_| {}).await;
        let found = rest.rows();
        let is_same = if whole.is_whole() && rest.is_whole() {
            found == expected
        } else {
            found.iter().zip(&expected).all(|(one, other)| one == other)
        };
        let counted = || {
            let trouble = rest.trouble().map(|trouble| format!(", and then {trouble}")).unwrap_or_default();
            format!(
                "stream `{name}`: from the state of page {} come {} rows of {}{trouble}",
                page + 1,
                found.len(),
                expected.len()
            )
        };
        if matches!(rest.ended, Ended::Failed(_)) || !is_same {
            let differs = if found.len() == expected.len() { format!("{}, others than before", counted()) } else { counted() };
            findings.fail("read.resume", differs);
            continue;
        }
        findings.pass("read.resume");
        let once_more = read(bench, &Reading { pages_max: 1, ..again.clone() }, |_| {}).await;
        let is_equal = once_more.pages.first() == rest.pages.first();
        let evidence = (!is_equal).then(|| format!("stream `{name}`: page {} read again differs", page + 2));
        findings.judge("read.idempotent", evidence);
    }
}

async fn incremental(bench: &Bench, reading: &Reading<'_>, findings: &mut Findings) {
    let name = &reading.stream.name;
    if !reading.stream.sync_modes.contains(&SyncMode::Incremental) {
        return findings.skip("read.incremental", format!("stream `{name}` is not read incrementally"));
    }
    let whole = Reading { sync: SyncMode::Incremental, rows_max: ROWS_MAX, ..reading.clone() };
    let first = read(bench, &whole, |_| {}).await;
    let last = first.pages.iter().rev().find_map(|page| page.state.clone());
    let Some(state) = last.filter(|_| first.is_whole()) else {
        return findings.skip("read.incremental", format!("stream `{name}`: no last state, or the reading did not end"));
    };
    let again = read(bench, &Reading { state: Some(state), ..whole }, |_| {}).await;
    let known: HashSet<_> = first.rows().into_iter().collect();
    let fresh = again.rows().into_iter().filter(|row| !known.contains(row)).count();
    let (repeated, all) = (again.rows().len(), first.rows().len());
    let evidence = if let Some(trouble) = again.trouble() {
        Some(format!("stream `{name}`: {trouble}"))
    } else if fresh > 0 {
        Some(format!("stream `{name}`: {fresh} rows that were not there before"))
    } else {
        // Records of the cursor's last instant may come again; the whole stream may not.
        (repeated > 1 && repeated * 2 > all).then(|| format!("stream `{name}`: {repeated} of {all} rows come again"))
    };
    findings.judge("read.incremental", evidence);
}
