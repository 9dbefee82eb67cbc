//! `destination` of a pipeline → [`PipelineDestination`].

use affluent_model::plan::{
    DestinationPlan, Guard, NamedExpression, OrderMapping, PipelineDestination, ProfileMapping, WriteMode,
};

use super::pipeline::Inline;
use super::{consent, expression, expressions, texts};
use crate::mistake::{self, FileReport};
use crate::near;
use crate::node::Place;
use crate::placed::{Named, Placed};
use crate::raw::pipeline::{RawConnectionUse, RawDestination, RawGuard, RawMapping, RawMode, RawOrder};
use crate::scalar;

/// Share of the rows whose removal holds a run, when the file does not say.
const REMOVE_SHARE_MAX: f64 = 0.10;
/// Rows below which the share is not looked at, when the file does not say.
const GUARD_ROWS_MIN: u64 = 100;

pub(crate) fn lower(
    raw: &Placed<RawDestination>,
    from_profiles: bool,
    inline: &mut Inline<'_>,
    report: &mut FileReport,
) -> Option<PipelineDestination> {
    match (&raw.profiles, &raw.connection) {
        (Some(streams), None) => {
            if from_profiles {
                report.add(mistake::COMBINATION, raw.place(), "a pipeline from profiles cannot lead into profiles");
            }
            for (key, place) in keys_of_connections(raw) {
                report.add(mistake::COMBINATION, place, format!("`{key}` has no meaning for profiles"));
            }
            let at = report.location(streams.place());
            let mappings = streams.iter().map(|(name, raw)| (name.to_string(), mapping(name, raw, report))).collect();
            Some(PipelineDestination::Profiles { streams: mappings, at })
        }
        (None, Some(connection)) => {
            let plan = plan(raw, connection, from_profiles, inline, report)?;
            Some(PipelineDestination::Connection(Box::new(plan)))
        }
        _ => {
            let message = "`destination` must have exactly one of the keys connection, profiles";
            report.add(mistake::COMBINATION, raw.place(), message);
            None
        }
    }
}

/// Keys that only a connection has, with their places.
fn keys_of_connections(raw: &RawDestination) -> Vec<(&'static str, Place)> {
    let places = [
        ("object", raw.object.as_ref().map(Placed::place)),
        ("purpose", raw.purpose.as_ref().map(Placed::place)),
        ("channel", raw.channel.as_ref().map(Placed::place)),
        ("scope", raw.scope.as_ref().map(Placed::place)),
        ("require", raw.require.as_ref().map(Placed::place)),
        ("match", raw.match_by.as_ref().map(Placed::place)),
        ("mode", raw.mode.as_ref().map(Placed::place)),
        ("list", raw.list.as_ref().map(Placed::place)),
        ("map", raw.map.as_ref().map(Placed::place)),
        ("grants", raw.grants.as_ref().and_then(|grants| grants.first()).map(Placed::place)),
        ("plaintext", raw.plaintext.as_ref().and_then(|names| names.first()).map(Placed::place)),
        ("guard", raw.guard.as_ref().map(Placed::place)),
    ];
    places.into_iter().filter_map(|(key, place)| Some((key, place?))).collect()
}

fn mapping(name: &Placed<String>, raw: &RawMapping, report: &mut FileReport) -> ProfileMapping {
    if raw.subject.is_none() && raw.identifiers.as_ref().is_none_or(Named::is_empty) {
        let message = format!("records of `{}` can belong to nobody", name.as_str());
        report.add_help(mistake::COMBINATION, name.place(), message, "add `subject`, `identifiers` or both");
    }
    for (attribute, _) in raw.attributes.iter().flat_map(Named::iter) {
        super::profiles::check_column_name(attribute, report);
    }
    let consent = raw.consent.iter().flat_map(Named::iter).filter_map(|(name, raw)| consent::mapping(name, raw, report));
    let consent = consent.collect();
    ProfileMapping {
        subject: raw.subject.as_ref().map(|subject| expression(subject, report)),
        identifiers: expressions(raw.identifiers.as_ref(), report),
        attributes: expressions(raw.attributes.as_ref(), report),
        consent,
        order: raw.order.as_ref().map(|raw| order(raw, report)),
        at: report.location(name.place()),
    }
}

fn order(raw: &RawOrder, report: &FileReport) -> OrderMapping {
    OrderMapping {
        id: expression(&raw.id, report),
        at: expression(&raw.at, report),
        currency: raw.currency.as_ref().map(|currency| expression(currency, report)),
        net: expression(&raw.net, report),
        status: raw.status.as_ref().map(|status| expression(status, report)),
        lines: raw.lines.as_ref().map(|lines| lines.to_string()),
    }
}

fn plan(
    raw: &Placed<RawDestination>,
    connection: &RawConnectionUse,
    from_profiles: bool,
    inline: &mut Inline<'_>,
    report: &mut FileReport,
) -> Option<DestinationPlan> {
    let connection = inline.name(connection, "destination", report);
    let mode = write_mode(raw.mode.as_ref().map(|mode| **mode), from_profiles);
    let match_by = expressions(raw.match_by.as_deref(), report);
    check_combinations(raw, mode, &match_by, from_profiles, report);
    let Some(object) = &raw.object else {
        report.add(mistake::MISSING_KEY, raw.place(), "missing key `object` in `destination`");
        return None;
    };
    Some(DestinationPlan {
        connection,
        object: object.to_string(),
        consent: consent::need(raw, report),
        match_by,
        mode,
        list: raw.list.as_ref().map(|list| list.name.to_string()),
        map: expressions(raw.map.as_deref(), report),
        grants: texts(raw.grants.as_ref()),
        plaintext: texts(raw.plaintext.as_ref()),
        guard: guard(raw.guard.as_deref()),
        batch_rows_max: raw.batch.as_ref().and_then(|batch| batch.max),
        at: report.location(raw.place()),
    })
}

fn write_mode(raw: Option<RawMode>, from_profiles: bool) -> WriteMode {
    match raw {
        Some(RawMode::Insert) => WriteMode::Insert,
        Some(RawMode::Update) => WriteMode::Update,
        Some(RawMode::Upsert) => WriteMode::Upsert,
        Some(RawMode::Mirror) => WriteMode::Mirror,
        Some(RawMode::Append) => WriteMode::Append,
        None if from_profiles => WriteMode::Upsert,
        None => WriteMode::Append,
    }
}

fn check_combinations(
    raw: &Placed<RawDestination>,
    mode: WriteMode,
    match_by: &[NamedExpression],
    from_profiles: bool,
    report: &mut FileReport,
) {
    if match_by.is_empty() && mode != WriteMode::Append {
        let place = raw.mode.as_ref().map_or(raw.place(), Placed::place);
        let message = format!("mode `{}` needs `match`: how a record is found at the destination", mode.as_str());
        report.add_help(mistake::COMBINATION, place, message, "such as `match: { email: email }`");
    }
    if from_profiles && raw.map.is_none() && match_by.is_empty() {
        report.add(mistake::MISSING_KEY, raw.place(), "missing key `map` in `destination`: nothing would be sent");
    }
    check_grants(raw, report);
    let only_profiles = [("purpose", raw.purpose.as_ref().map(Placed::place)), ("list", raw.list.as_ref().map(Placed::place))];
    for (key, place) in only_profiles {
        if let (Some(place), false) = (place, from_profiles) {
            report.add_help(mistake::COMBINATION, place, format!("`{key}` needs profiles"), "use `source: { profiles: … }`");
        }
    }
    if let (Some(guard), false) = (&raw.guard, mode == WriteMode::Mirror) {
        report.add(
            mistake::COMBINATION,
            guard.place(),
            format!("`guard` has no meaning in mode `{}`: it removes nothing", mode.as_str()),
        );
    }
}

fn check_grants(raw: &RawDestination, report: &mut FileReport) {
    for grants in [&raw.grants, &raw.plaintext].into_iter().flatten() {
        for (index, grant) in grants.iter().enumerate() {
            if grants.iter().take(index).any(|earlier| earlier.as_str() == grant.as_str()) {
                report.add(mistake::DUPLICATE_NAME, grant.place(), format!("`{}` is granted twice", grant.as_str()));
            }
        }
    }
    let granted: Vec<&str> = raw.grants.iter().flatten().map(|grant| grant.as_str()).collect();
    for name in raw.plaintext.iter().flatten().filter(|name| !granted.contains(&name.as_str())) {
        let message = format!("`{}` is to be seen in the clear and is not granted", name.as_str());
        let help = near::suggestion(name, "`grants` has", &granted);
        report.add_help(mistake::PLAINTEXT_NOT_GRANTED, name.place(), message, help);
    }
}

fn guard(raw: Option<&RawGuard>) -> Guard {
    let share = raw.and_then(|raw| raw.max_remove.as_ref()).and_then(|share| scalar::share(share).ok());
    Guard {
        remove_share_max: share.unwrap_or(REMOVE_SHARE_MAX),
        rows_min: raw.and_then(|raw| raw.min_rows).unwrap_or(GUARD_ROWS_MIN),
    }
}
