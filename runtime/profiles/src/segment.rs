//! SQL of segments: which profiles of the snapshot are members of which segment, all segments in one query. A segment can
//! be decided when those it names are: segments are decided in levels, each a `SELECT` over the one before.

use affluent_model::expression::SegmentCall;
use affluent_model::{Error, Result};

use crate::events;
use crate::sql::any_of;

/// A segment whose condition the lake has parsed, checked and printed again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparedSegment {
    pub name: String,
    /// Safe inside parentheses; names the column `_call_n` for call n.
    pub condition: String,
    /// Members of these segments are left out.
    pub exclude: Vec<String>,
    /// List and place in it: whoever fits an earlier segment of the list is left out.
    pub priority: Option<(String, usize)>,
    /// The calls that the condition names, by place.
    pub calls: Vec<usize>,
}

/// The query over `profiles` with column `profile` and, for the segment at place n, `m<n>`: true for its members. Where
/// `calls` look at records or consent it needs the functions [`crate::source::NUMBER_OF`] and
/// [`crate::events::call_function`] with the answers of [`crate::events::call_passes`].
///
/// Null is not true: neither a member, nor left out because of it.
///
/// # Errors
/// `E0763` when a segment names one that is not there, or when segments wait for each other in a circle.
pub fn membership_sql(segments: &[PreparedSegment], calls: &[SegmentCall]) -> Result<String> {
    let levels = Levels::of(segments, calls)?;
    let mut sql = events::profiles_with_calls(calls);
    for level in 1..=levels.last() {
        let columns = levels.columns(level);
        sql = format!("SELECT *{columns} FROM ({sql}) AS l{level}");
    }
    let members: String = (0..segments.len()).map(|place| format!(", \"{}\" AS \"m{place}\"", member_column(place))).collect();
    Ok(format!("SELECT \"profile\"{members} FROM ({sql}) AS s"))
}

fn member_column(place: usize) -> String {
    format!("_member_{place}")
}

/// When each segment is decided: first who fits it, then, where it stands in a list, who of them is a member.
struct Levels<'a> {
    segments: &'a [PreparedSegment],
    calls: &'a [SegmentCall],
    /// By segment, from 1; 0 = not known yet.
    fits_at: Vec<usize>,
    member_at: Vec<usize>,
}

impl<'a> Levels<'a> {
    fn of(segments: &'a [PreparedSegment], calls: &'a [SegmentCall]) -> Result<Self> {
        let mut levels = Self { segments, calls, fits_at: vec![0; segments.len()], member_at: vec![0; segments.len()] };
        for place in 0..segments.len() {
            levels.decide_member(place, &mut Vec::new())?;
        }
        Ok(levels)
    }

    fn last(&self) -> usize {
        self.member_at.iter().copied().max().unwrap_or(0)
    }

    fn decide_member(&mut self, place: usize, path: &mut Vec<usize>) -> Result<usize> {
        if let Some(known) = self.member_at.get(place).copied().filter(|level| *level > 0) {
            return Ok(known);
        }
        if path.contains(&place) {
            let name = self.segments.get(place).map_or("", |segment| segment.name.as_str());
            return Err(Error::configuration("E0763", format!("segment `{name}` waits for itself by way of others"))
                .help("take it out of one of the `exclude` lists or conditions"));
        }
        path.push(place);
        let mut level = self.decide_fit(place, path)?;
        let earlier = self.earlier_in_list(place);
        for other in &earlier {
            level = level.max(self.decide_fit(*other, path)?);
        }
        path.pop();
        let level = if earlier.is_empty() { level } else { level + 1 };
        set(&mut self.member_at, place, level);
        Ok(level)
    }

    fn decide_fit(&mut self, place: usize, path: &mut Vec<usize>) -> Result<usize> {
        if let Some(known) = self.fits_at.get(place).copied().filter(|level| *level > 0) {
            return Ok(known);
        }
        let mut level = 1;
        for needed in self.needed(place)? {
            level = level.max(self.decide_member(needed, path)? + 1);
        }
        set(&mut self.fits_at, place, level);
        Ok(level)
    }

    /// The segments whose members must be known before it is known who fits this one.
    fn needed(&self, place: usize) -> Result<Vec<usize>> {
        let Some(segment) = self.segments.get(place) else { return Ok(Vec::new()) };
        let in_segment = segment.calls.iter().filter_map(|call| match self.calls.get(*call) {
            Some(SegmentCall::InSegment { segment }) => Some(segment),
            _ => None,
        });
        segment.exclude.iter().chain(in_segment).map(|name| self.place_of(name)).collect()
    }

    fn place_of(&self, name: &str) -> Result<usize> {
        let place = self.segments.iter().position(|segment| segment.name == name);
        place.ok_or_else(|| Error::configuration("E0763", format!("there is no segment `{name}`")))
    }

    fn earlier_in_list(&self, place: usize) -> Vec<usize> {
        let Some((list, own)) = self.segments.get(place).and_then(|segment| segment.priority.as_ref()) else { return Vec::new() };
        let is_earlier = |other: &PreparedSegment| other.priority.as_ref().is_some_and(|(name, at)| name == list && at < own);
        (0..self.segments.len()).filter(|other| self.segments.get(*other).is_some_and(is_earlier)).collect()
    }

    /// Whether a profile fits a segment; the same as its membership where no list can take it away.
    fn fit_column(&self, place: usize) -> String {
        if self.earlier_in_list(place).is_empty() { member_column(place) } else { format!("_fits_{place}") }
    }

    /// `, … AS "_fits_0", … AS "_member_1"`: what is decided at a level.
    fn columns(&self, level: usize) -> String {
        let mut columns = String::new();
        for (place, segment) in self.segments.iter().enumerate() {
            let earlier = self.earlier_in_list(place);
            let fits = self.fits(segment);
            if self.fits_at.get(place) == Some(&level) {
                columns.push_str(&format!(", {fits} AS \"{}\"", self.fit_column(place)));
            }
            if self.member_at.get(place) != Some(&level) {
                continue;
            }
            let member = if earlier.is_empty() {
                fits
            } else {
                let taken: Vec<String> = earlier.iter().map(|other| format!("\"{}\"", self.fit_column(*other))).collect();
                let member = format!("(\"_fits_{place}\" AND NOT ({}))", any_of(&taken));
                columns.push_str(&format!(", {member} AS \"{}\"", member_column(place)));
                member
            };
            for call in self.calls_of_members(&segment.name) {
                columns.push_str(&format!(", {member} AS \"{}\"", events::call_column(call)));
            }
        }
        columns
    }

    fn fits(&self, segment: &PreparedSegment) -> String {
        let excluded = segment.exclude.iter().filter_map(|name| self.place_of(name).ok());
        let excluded: String = excluded.map(|place| format!(" AND NOT \"{}\"", member_column(place))).collect();
        format!("(({}) IS TRUE{excluded})", segment.condition)
    }

    /// Places of the calls that ask for the members of a segment.
    fn calls_of_members(&self, name: &str) -> impl Iterator<Item = usize> {
        let asks = move |call: &SegmentCall| matches!(call, SegmentCall::InSegment { segment } if segment == name);
        self.calls.iter().enumerate().filter(move |(_, call)| asks(call)).map(|(place, _)| place)
    }
}

fn set(levels: &mut [usize], place: usize, level: usize) {
    if let Some(slot) = levels.get_mut(place) {
        *slot = level;
    }
}
