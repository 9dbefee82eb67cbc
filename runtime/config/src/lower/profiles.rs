//! `profiles/*.yaml` → [`IdentityRules`] and [`Segment`]s; traits are lowered in `traits`.

use std::path::Path;

use affluent_model::identifier_rule::{Period, WhenKnown};
use affluent_model::matching::AttributeRule;
use affluent_model::normalize::IdentifierForm;
use affluent_model::plan::{IdentifierRule, IdentityLimits, IdentityRules, MatchRule, Segment, SegmentPriority, SizeAlert};

use super::{expression, matching, normalize, pairs, texts};
use crate::mistake::{self, FileReport};
use crate::near;
use crate::node::Place;
use crate::placed::{Named, Placed};
use crate::raw::profiles::{
    RawIdentifier, RawIdentifierForm, RawIdentity, RawMaximum, RawMaximumPer, RawPeriod, RawRule, RawSegment, RawSegments,
    RawWhenKnown,
};
use crate::scalar;

/// Members below which a change of size is not told, when the file does not say.
const ALERT_MEMBERS_MIN: u64 = 100;
/// A predicate on names that may be taken for an identifier.
const NAMES_COMPATIBLE: &str = "names_compatible";

/// Refuses names that would hide a column of the profiles table.
pub(crate) fn check_column_name(name: &Placed<String>, report: &mut FileReport) {
    if name.as_str() == "profile" || name.ends_with("__from") {
        report.add(mistake::MALFORMED, name.place(), format!("`{}` is a name of the system", name.as_str()));
    }
}

pub(crate) fn identity(raw: &RawIdentity, root: &Path, report: &mut FileReport) -> IdentityRules {
    let defaults = IdentityLimits::default();
    let limits = raw.limits.as_ref().map_or(defaults, |raw| IdentityLimits {
        profile_nodes_max: raw.profile_records.unwrap_or(defaults.profile_nodes_max),
        fanout_max: raw.identifier_fanout.unwrap_or(defaults.fanout_max),
    });
    let mut identifiers: Vec<IdentifierRule> = Vec::new();
    if raw.identifiers.is_none() && raw.attributes.is_none() {
        report.add(mistake::MISSING_KEY, Place::START, "`identifiers` is missing".to_owned());
    }
    for (name, identifier) in raw.identifiers.iter().flat_map(Named::iter) {
        let place_in_file = u32::try_from(identifiers.len() + 1).unwrap_or(u32::MAX);
        let rule = identifier_rule(name, identifier, place_in_file, limits, report);
        matching::check_presets(name, rule.form(), identifier.presets.as_deref(), report);
        identifiers.push(rule);
    }
    identifiers.sort_by_key(|identifier| identifier.priority);
    check_somebody_is_known(raw, &identifiers, report);
    let attributes = matching::attributes(raw.attributes.as_ref(), report);
    let rules = raw.rules.iter().flatten().map(|rule| match_rule(rule, &identifiers, &attributes, report)).collect();
    let veto = raw.veto.as_ref().map(|veto| matching::veto(veto, &attributes, report));
    let known = identifiers.iter().map(|one| one.name.as_str()).chain(attributes.iter().map(|one| one.name.as_str()));
    let records = matching::records(raw.records.as_ref(), &known.collect::<Vec<_>>(), report);
    let (must_link, cannot_link) = pairs::pairs(raw, root, report);
    let survivorship = super::survivorship::lower(raw.survivorship.as_ref(), report);
    IdentityRules { identifiers, attributes, rules, veto, limits, must_link, cannot_link, records, survivorship }
}

/// Who is known decides only where some identifier makes a record known.
fn check_somebody_is_known(raw: &RawIdentity, identifiers: &[IdentifierRule], report: &mut FileReport) {
    let asks = |one: &IdentifierRule| one.anonymous.is_some_and(|when| when != WhenKnown::Join);
    if !identifiers.iter().all(|one| one.anonymous.is_some()) {
        return;
    }
    let asking = identifiers.iter().find(|one| asks(one));
    let place =
        raw.identifiers.iter().flat_map(Named::iter).find(|(name, _)| asking.is_some_and(|one| one.name == name.as_str()));
    if let Some((name, _)) = place {
        let message = format!("`{}` asks who is known, and all identifiers are anonymous", name.as_str());
        report.add_help(
            mistake::COMBINATION,
            name.place(),
            message,
            "leave `anonymous` out where an identifier is that of a person",
        );
    }
}

fn identifier_rule(
    name: &Placed<String>,
    raw: &RawIdentifier,
    place_in_file: u32,
    limits: IdentityLimits,
    report: &mut FileReport,
) -> IdentifierRule {
    let (values_max, values_per) = maximum(raw.max_per_profile.as_ref());
    let form = raw.is.map(|is| match is {
        RawIdentifierForm::Email => IdentifierForm::Email,
        RawIdentifierForm::Phone => IdentifierForm::Phone,
        RawIdentifierForm::Id => IdentifierForm::Id,
    });
    IdentifierRule {
        name: name.to_string(),
        form,
        priority: raw.priority.unwrap_or(place_in_file),
        values_max,
        values_per,
        unique: raw.unique.unwrap_or(false),
        fanout_max: raw.max_fanout.unwrap_or(limits.fanout_max),
        weak: raw.weak.unwrap_or(false),
        anonymous: raw.anonymous.map(|when| match when {
            RawWhenKnown::Join => WhenKnown::Join,
            RawWhenKnown::First => WhenKnown::First,
            RawWhenKnown::Never => WhenKnown::Never,
        }),
        normalize: normalize::options(name, form.unwrap_or_else(|| IdentifierForm::of_kind(name)), raw, report),
        blocked: texts(raw.block.as_ref()),
        presets: matching::presets(raw.presets.as_ref()),
        weak_values: matching::weak_values(raw.presets.as_deref()),
        mark_of: None,
    }
}

/// Values that a profile may have of a kind, and over which time they are counted.
fn maximum(raw: Option<&RawMaximum>) -> (u32, Period) {
    match raw {
        None => (IdentifierRule::default().values_max, Period::Ever),
        Some(RawMaximum::Text(max)) => (*max, Period::Ever),
        Some(RawMaximum::Map(RawMaximumPer { max, per })) => {
            let period = match per {
                None | Some(RawPeriod::Ever) => Period::Ever,
                Some(RawPeriod::Week) => Period::Week,
                Some(RawPeriod::Month) => Period::Month,
                Some(RawPeriod::Year) => Period::Year,
            };
            (*max, period)
        }
    }
}

fn match_rule(
    raw: &Placed<RawRule>,
    identifiers: &[IdentifierRule],
    attributes: &[AttributeRule],
    report: &mut FileReport,
) -> MatchRule {
    let known: Vec<&str> = identifiers.iter().map(|identifier| identifier.name.as_str()).collect();
    for name in raw.all.iter().flatten().filter(|name| !known.contains(&name.as_str())) {
        if name.as_str() == NAMES_COMPATIBLE {
            let message = format!("`{NAMES_COMPATIBLE}` is not an identifier");
            report.add_help(mistake::UNKNOWN_IDENTIFIER, name.place(), message, "write `compare: { names: compatible }`");
            continue;
        }
        let message = format!("unknown identifier `{}` in the rule `{}`", name.as_str(), raw.name.as_str());
        report.add_help(mistake::UNKNOWN_IDENTIFIER, name.place(), message, near::suggestion(name, "identifiers are", &known));
    }
    check_shape(raw, identifiers, report);
    MatchRule {
        name: raw.name.to_string(),
        all: texts(raw.all.as_ref()),
        compare: matching::comparisons(raw.compare.as_ref(), attributes, report),
        score: raw.score.as_ref().map(|score| matching::score(score, attributes, report)),
        at: report.location(raw.name.place()),
    }
}

fn check_shape(raw: &RawRule, identifiers: &[IdentifierRule], report: &mut FileReport) {
    let (place, name) = (raw.name.place(), raw.name.as_str());
    let is_weak =
        |name: &Placed<String>| identifiers.iter().any(|identifier| identifier.weak && identifier.name == name.as_str());
    match (&raw.all, &raw.compare, &raw.score) {
        (None, None, None) => {
            report.add(mistake::COMBINATION, place, format!("the rule `{name}` has none of the keys all, compare, score"));
        }
        (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => {
            report.add(mistake::COMBINATION, place, format!("the rule `{name}` has `score` beside other keys"));
        }
        (Some(all), None, None) if !all.is_empty() && all.iter().all(is_weak) => {
            let message = format!("the rule `{name}` has only weak identifiers, which never join on their own");
            report.add(mistake::COMBINATION, place, message);
        }
        _ => {}
    }
}

pub(crate) fn segments(raw: &RawSegments, report: &mut FileReport) -> Vec<Segment> {
    let mut segments: Vec<Segment> = raw.segments.iter().map(|(name, raw)| segment(name, raw, report)).collect();
    for (list, members) in raw.priority_lists.iter().flat_map(Named::iter) {
        for (place, name) in members.iter().enumerate() {
            let Some(segment) = segments.iter_mut().find(|segment| segment.name == name.as_str()) else {
                unknown_in_list(name, raw, report);
                continue;
            };
            match &segment.priority {
                Some(other) => {
                    let message = format!("`{}` stands in the list `{}` already", name.as_str(), other.list);
                    report.add_help(mistake::DUPLICATE_NAME, name.place(), message, "a segment has one place in one list");
                }
                None => segment.priority = Some(SegmentPriority { list: list.to_string(), place }),
            }
        }
    }
    segments
}

/// A segment with a mistake of its own is not known here either, and not told twice.
fn unknown_in_list(name: &Placed<String>, raw: &RawSegments, report: &mut FileReport) {
    if report.diagnostics.is_empty() {
        let known: Vec<&str> = raw.segments.iter().map(|(name, _)| name.as_str()).collect();
        let message = format!("unknown segment `{}`", name.as_str());
        report.add_help(mistake::UNKNOWN_SEGMENT, name.place(), message, near::suggestion(name, "segments are", &known));
    }
}

fn segment(name: &Placed<String>, raw: &RawSegment, report: &FileReport) -> Segment {
    let alert = raw.alert.as_ref().and_then(|alert| {
        let change_share_max = scalar::share(&alert.change).ok()?;
        Some(SizeAlert { change_share_max, members_min: alert.min_members.unwrap_or(ALERT_MEMBERS_MIN) })
    });
    Segment {
        name: name.to_string(),
        description: raw.description.clone().unwrap_or_default(),
        condition: expression(&raw.condition, report),
        exclude: texts(raw.exclude.as_ref()),
        priority: None,
        alert,
        at: report.location(name.place()),
    }
}
