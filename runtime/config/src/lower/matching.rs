//! The parts of `profiles/identity.yaml` that compare attributes → [`affluent_model::matching`].

use affluent_model::identifier_rule::WeakValues;
use affluent_model::junk::BlockPreset;
use affluent_model::matching::{AttributeForm, AttributeRule, Comparison, DateOrder, ScoreRule, Subject, Test, Veto};
use affluent_model::normalize::IdentifierForm;
use affluent_model::plan::RecordColumns;

use crate::mistake::{self, FileReport};
use crate::near;
use crate::placed::{Named, Placed};
use crate::raw::matching::{
    RawAttribute, RawDateOrder, RawForm, RawPreset, RawRecords, RawScore, RawTest, RawTestMap, RawTestWord, RawVeto,
};

/// The subject of a comparison that is not one attribute.
const NAMES: &str = "names";
/// Probability from which two records are one profile, when the file does not say.
const PROBABILITY_MIN: f64 = 0.9;
/// Share of contradicting pairs from which two sides stay apart, when the file does not say.
const VETO_SHARE_MAX: f64 = 0.34;
/// What the words `jaro_winkler` and `damerau` mean without a number.
const SIMILARITY_MIN: f64 = 0.9;
const STREETS_SIMILARITY_MIN: f64 = 0.85;
const EDITS_MAX: u32 = 1;

pub(super) fn attributes(raw: Option<&Named<RawAttribute>>, report: &mut FileReport) -> Vec<AttributeRule> {
    raw.into_iter().flat_map(Named::iter).map(|(name, attribute)| attribute_rule(name, attribute, report)).collect()
}

fn attribute_rule(name: &Placed<String>, raw: &RawAttribute, report: &mut FileReport) -> AttributeRule {
    if name.as_str() == NAMES {
        let message = format!("`{NAMES}` means given and family name together: give the attribute another name");
        report.add(mistake::MALFORMED, name.place(), message);
    }
    if let Some(order) = raw.order.as_ref().filter(|_| raw.is != RawForm::Date) {
        report.add(mistake::COMBINATION, order.place(), "only a date has an order".to_owned());
    }
    let order = match raw.order.as_deref() {
        Some(RawDateOrder::DayFirst) => DateOrder::DayFirst,
        Some(RawDateOrder::MonthFirst) => DateOrder::MonthFirst,
        Some(RawDateOrder::YearFirst) | None => DateOrder::YearFirst,
    };
    let form = match raw.is {
        RawForm::GivenName => AttributeForm::GivenName,
        RawForm::FamilyName => AttributeForm::FamilyName,
        RawForm::Date => AttributeForm::Date(order),
        RawForm::Street => AttributeForm::Street,
        RawForm::Code => AttributeForm::Code,
        RawForm::Email => AttributeForm::Email,
        RawForm::Text => AttributeForm::Text,
    };
    AttributeRule { name: name.to_string(), form }
}

pub(super) fn comparisons(
    raw: Option<&Named<RawTest>>,
    attributes: &[AttributeRule],
    report: &mut FileReport,
) -> Vec<Comparison> {
    let mut comparisons = Vec::new();
    for (name, raw) in raw.into_iter().flat_map(Named::iter) {
        let subject = subject(name, attributes, report);
        if let (Some(subject), Some(test)) = (subject, test(raw, is_street(name, attributes), report)) {
            comparisons.push(Comparison { subject, test });
        }
    }
    comparisons
}

fn subject(name: &Placed<String>, attributes: &[AttributeRule], report: &mut FileReport) -> Option<Subject> {
    if name.as_str() == NAMES {
        let has_name = attributes.iter().any(|one| matches!(one.form, AttributeForm::GivenName | AttributeForm::FamilyName));
        if !has_name {
            let help = "write under `attributes`: `first_name: { is: given_name }`";
            report.add_help(mistake::COMBINATION, name.place(), "no attribute is a given or a family name", help);
        }
        return Some(Subject::Names);
    }
    known_attribute(name, attributes, report).then(|| Subject::Attribute(name.to_string()))
}

fn known_attribute(name: &Placed<String>, attributes: &[AttributeRule], report: &mut FileReport) -> bool {
    let known: Vec<&str> = attributes.iter().map(|attribute| attribute.name.as_str()).collect();
    let is_known = known.contains(&name.as_str());
    if !is_known {
        let message = format!("unknown attribute `{}`", name.as_str());
        let offer = near::suggestion(name, "this file compares", &known);
        report.add_help(mistake::UNKNOWN_ATTRIBUTE, name.place(), message, offer);
    }
    is_known
}

fn is_street(name: &str, attributes: &[AttributeRule]) -> bool {
    attributes.iter().any(|one| one.name == name && one.form == AttributeForm::Street)
}

fn test(raw: &RawTest, is_street: bool, report: &mut FileReport) -> Option<Test> {
    match raw {
        RawTest::Text(word) => Some(match word {
            RawTestWord::Exact => Test::Exact,
            RawTestWord::Compatible => Test::Compatible,
            RawTestWord::Agree => Test::Agree,
            RawTestWord::Same => Test::Same,
            RawTestWord::Nickname => Test::Nickname,
            RawTestWord::Initial => Test::Initial,
            RawTestWord::Swapped => Test::Swapped,
            RawTestWord::JaroWinkler => Test::JaroWinkler(if is_street { STREETS_SIMILARITY_MIN } else { SIMILARITY_MIN }),
            RawTestWord::Damerau => Test::Damerau(EDITS_MAX),
        }),
        RawTest::Map(map) => {
            let RawTestMap { jaro_winkler, damerau, within_days } = **map;
            match (jaro_winkler, damerau, within_days) {
                (Some(least), None, None) => Some(Test::JaroWinkler(least)),
                (None, Some(edits), None) => Some(Test::Damerau(edits)),
                (None, None, Some(days)) => Some(Test::WithinDays(days)),
                _ => {
                    let message = "a comparison has exactly one of the keys jaro_winkler, damerau, within_days";
                    report.add(mistake::COMBINATION, map.place(), message.to_owned());
                    None
                }
            }
        }
    }
}

pub(super) fn score(raw: &RawScore, attributes: &[AttributeRule], report: &mut FileReport) -> ScoreRule {
    let named = raw.attributes.iter().flatten().filter(|name| known_attribute(name, attributes, report));
    let attributes = named.map(|name| name.to_string()).collect();
    ScoreRule { attributes, probability_min: raw.probability.unwrap_or(PROBABILITY_MIN) }
}

pub(super) fn veto(raw: &RawVeto, attributes: &[AttributeRule], report: &mut FileReport) -> Veto {
    let mut veto = Veto { is_by_names: false, attributes: Vec::new(), share_max: raw.share_max.unwrap_or(VETO_SHARE_MAX) };
    for name in &raw.contradicting {
        match subject(name, attributes, report) {
            Some(Subject::Names) => veto.is_by_names = true,
            Some(Subject::Attribute(name)) => veto.attributes.push(name),
            None => {}
        }
    }
    veto
}

/// Where identifiers and attributes stand; `known` are their names.
pub(super) fn records(raw: Option<&RawRecords>, known: &[&str], report: &mut FileReport) -> RecordColumns {
    let named = |column: Option<&Placed<String>>| column.map(|column| column.to_string());
    let mut records = RecordColumns {
        id: named(raw.and_then(|raw| raw.id.as_ref())),
        at: named(raw.and_then(|raw| raw.at.as_ref())),
        ..RecordColumns::default()
    };
    for (name, column) in raw.and_then(|raw| raw.columns.as_ref()).into_iter().flat_map(Named::iter) {
        if !known.contains(&name.as_str()) {
            let message = format!("`{}` is neither an identifier nor an attribute", name.as_str());
            report.add_help(mistake::UNKNOWN_ATTRIBUTE, name.place(), message, near::suggestion(name, "this file has", known));
        }
        records.columns.insert(name.to_string(), column.to_string());
    }
    records
}

pub(super) fn presets(raw: Option<&Vec<RawPreset>>) -> Vec<BlockPreset> {
    let preset = |raw: &RawPreset| match raw {
        RawPreset::RoleMailboxes => Some(BlockPreset::RoleMailboxes),
        RawPreset::WeakRoleMailboxes | RawPreset::WeakFixedLines => None,
        RawPreset::Junk => Some(BlockPreset::Junk),
    };
    raw.into_iter().flatten().filter_map(preset).collect()
}

/// Which values never join on their own.
pub(super) fn weak_values(raw: Option<&[RawPreset]>) -> Option<WeakValues> {
    raw.into_iter().flatten().find_map(|preset| match preset {
        RawPreset::WeakRoleMailboxes => Some(WeakValues::RoleMailboxes),
        RawPreset::WeakFixedLines => Some(WeakValues::FixedLines),
        RawPreset::RoleMailboxes | RawPreset::Junk => None,
    })
}

/// Refuses lines of what is no telephone, and mailboxes of a function that would be blocked and weak at once.
pub(super) fn check_presets(name: &Placed<String>, form: IdentifierForm, presets: Option<&[RawPreset]>, report: &mut FileReport) {
    let has = |preset| presets.is_some_and(|presets| presets.contains(&preset));
    if has(RawPreset::WeakFixedLines) && form != IdentifierForm::Phone {
        let message = format!("`weak_fixed_lines` is of telephone numbers, and `{}` has none", name.as_str());
        report.add_help(mistake::COMBINATION, name.place(), message, "leave it out, or say what its values are: `is: phone`");
    } else if has(RawPreset::WeakFixedLines) && has(RawPreset::WeakRoleMailboxes) {
        let message = format!("`{}` has no mailboxes", name.as_str());
        report.add_help(mistake::COMBINATION, name.place(), message, "keep `weak_fixed_lines` alone");
    }
    if has(RawPreset::RoleMailboxes) && has(RawPreset::WeakRoleMailboxes) {
        let message = format!("`{}` blocks mailboxes of a function, and lets them join with other evidence", name.as_str());
        report.add_help(mistake::COMBINATION, name.place(), message, "keep `role_mailboxes` or `weak_role_mailboxes`");
    }
}
