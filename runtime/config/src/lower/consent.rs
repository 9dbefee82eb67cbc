//! Consent: what a mapping says of it, and what a destination needs.

use affluent_model::consent::{ConsentMapping, ConsentNeed, ConsentTerms, SaidBy};

use super::expression;
use crate::mistake::{self, FileReport};
use crate::placed::Placed;
use crate::raw::pipeline::{RawConsent, RawDestination};
use crate::scalar;

/// One row of a mapping.
pub(super) fn mapping(name: &Placed<String>, raw: &RawConsent, report: &mut FileReport) -> Option<ConsentMapping> {
    let said = match (&raw.granted, &raw.status) {
        (Some(granted), None) => SaidBy::Granted(expression(granted, report)),
        (None, Some(status)) => SaidBy::Status(expression(status, report)),
        _ => {
            let message = format!("the consent `{}` must have exactly one of the keys granted, status", name.as_str());
            report.add(mistake::COMBINATION, name.place(), message);
            return None;
        }
    };
    let optional = |text: &Option<Placed<String>>| text.as_ref().map(|text| expression(text, report));
    let word = |text: &Option<Placed<String>>| text.as_ref().map(|text| text.to_string());
    let terms = ConsentTerms {
        purpose: word(&raw.purpose).unwrap_or_else(|| name.to_string()),
        identifier: word(&raw.identifier),
        scope: word(&raw.scope),
        channel: word(&raw.channel),
        legal_basis: raw.legal_basis,
        expires_after_ms: raw.expires_after.as_ref().and_then(|duration| scalar::duration_ms(duration).ok()),
    };
    Some(ConsentMapping {
        name: name.to_string(),
        terms,
        said,
        at: optional(&raw.at),
        expires_at: optional(&raw.expires_at),
        jurisdiction: optional(&raw.jurisdiction),
        evidence: optional(&raw.evidence),
    })
}

/// What a destination needs; `None` without a purpose.
pub(super) fn need(raw: &RawDestination, report: &mut FileReport) -> Option<ConsentNeed> {
    let word = |text: &Option<Placed<String>>| text.as_ref().map(|text| text.to_string());
    let Some(purpose) = &raw.purpose else {
        let places = [
            ("channel", raw.channel.as_ref().map(Placed::place)),
            ("scope", raw.scope.as_ref().map(Placed::place)),
            ("require", raw.require.as_ref().map(Placed::place)),
        ];
        for (key, place) in places {
            if let Some(place) = place {
                report.add_help(mistake::COMBINATION, place, format!("`{key}` needs `purpose`"), "say what the consent is for");
            }
        }
        return None;
    };
    let require = raw.require.as_ref();
    let places = require.and_then(|require| require.not_in.as_ref());
    Some(ConsentNeed {
        purpose: purpose.to_string(),
        scope: word(&raw.scope),
        channel: word(&raw.channel),
        legal_bases: require.and_then(|require| require.legal_basis.clone()).unwrap_or_default(),
        not_in: places.into_iter().flatten().map(|place| place.to_string()).collect(),
    })
}
