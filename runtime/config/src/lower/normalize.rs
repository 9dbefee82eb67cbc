//! `normalize` of an identifier → [`NormalizeOptions`].

use std::collections::BTreeMap;

use affluent_model::normalize::{IdentifierForm, LetterCase, NormalizeOptions};

use crate::mistake::{self, FileReport};
use crate::node::Place;
use crate::placed::{Named, Placed};
use crate::raw::profiles::{RawCase, RawCaseWord, RawIdentifier, RawNormalize, RawStrip};
use crate::scalar;

pub(super) fn options(
    name: &Placed<String>,
    form: IdentifierForm,
    raw: &RawIdentifier,
    report: &mut FileReport,
) -> NormalizeOptions {
    let region = raw.region.as_ref().map(|region| region.to_string());
    let Some(normalize) = &raw.normalize else { return NormalizeOptions { region, ..NormalizeOptions::default() } };
    check_form(name, form, normalize, report);
    let strips = |word: Option<&Placed<RawStrip>>| word.is_some_and(|word| **word == RawStrip::Strip);
    NormalizeOptions {
        strip_plus_tags: strips(normalize.plus_tags.as_ref()),
        strip_gmail_dots: strips(normalize.gmail_dots.as_ref()),
        domain_aliases: aliases(normalize.domain_aliases.as_ref(), report),
        case: normalize.case.as_ref().map(case),
        region,
    }
}

/// Refuses what the values of a form have not.
fn check_form(name: &Placed<String>, form: IdentifierForm, raw: &RawNormalize, report: &mut FileReport) {
    let kind = name.as_str();
    if form != IdentifierForm::Email {
        let strips = [("plus_tags", &raw.plus_tags), ("gmail_dots", &raw.gmail_dots)];
        let strips = strips.into_iter().filter_map(|(key, word)| Some((key, word.as_ref()?.place())));
        let aliases = raw.domain_aliases.iter().flat_map(Named::iter).take(1).map(|(name, _)| ("domain_aliases", name.place()));
        for (key, place) in strips.chain(aliases) {
            refuse(key, kind, place, report);
        }
    }
    match &raw.case {
        Some(RawCase::Map(at)) if form != IdentifierForm::Email => {
            let place = at.preserve.first().map_or_else(|| name.place(), Placed::place);
            refuse("case: { preserve: […] }", kind, place, report);
        }
        Some(_) if form == IdentifierForm::Phone => {
            report.add(mistake::COMBINATION, name.place(), "telephone numbers have no letters: `case` says nothing".to_owned());
        }
        _ => {}
    }
}

fn refuse(key: &str, kind: &str, place: Place, report: &mut FileReport) {
    let message = format!("`{key}` is of e-mail addresses, and `{kind}` has none");
    report.add_help(mistake::COMBINATION, place, message, "leave it out, or say what its values are: `is: email`");
}

fn aliases(raw: Option<&Named<Placed<String>>>, report: &mut FileReport) -> BTreeMap<String, String> {
    let pairs = raw.into_iter().flat_map(Named::iter);
    let pairs: Vec<_> = pairs
        .filter_map(|(name, other)| Some((scalar::mail_domain(name).ok()?, scalar::mail_domain(other).ok()?, other.place())))
        .collect();
    for (name, other, place) in &pairs {
        if name != other && pairs.iter().any(|(alias, ..)| alias == other) {
            let message = format!("`{name}` stands for `{other}`, which stands for another domain");
            report.add_help(mistake::COMBINATION, *place, message, "name the domain at the end");
        }
    }
    pairs.into_iter().map(|(name, other, _)| (name, other)).collect()
}

fn case(raw: &RawCase) -> LetterCase {
    match raw {
        RawCase::Text(RawCaseWord::Lower) => LetterCase::Lower,
        RawCase::Text(RawCaseWord::Preserve) => LetterCase::Preserve,
        RawCase::Map(at) => {
            LetterCase::PreserveAt(at.preserve.iter().filter_map(|domain| scalar::mail_domain(domain).ok()).collect())
        }
    }
}
