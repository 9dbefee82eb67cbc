//! Who stays out, by keyed hash of identifiers: of erased persons nothing comes in and nothing is sent, of suppressed ones
//! nothing is sent.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use affluent_model::Result;
use affluent_model::identity::{BlindIndex, ProfileId};
use affluent_model::normalize::{IdentifierForm, NormalizeOptions};
use affluent_model::plan::IdentifierRule;
use affluent_vault::BlindIndexer;

use crate::engine::Engine;

/// Identifiers that stay out, by kind, and profiles that do.
pub(crate) struct Suppressed {
    kinds: BTreeMap<String, SuppressedKind>,
    /// Those that hold a record of a suppressed person, whatever identifiers they have.
    profiles: HashSet<ProfileId>,
}

/// Those of one kind.
pub(crate) struct SuppressedKind {
    hashes: HashSet<BlindIndex>,
    indexer: BlindIndexer,
    rule: Option<IdentifierRule>,
}

impl Suppressed {
    /// Reads the list of erased persons.
    ///
    /// # Errors
    /// What ledger and vault report.
    pub(crate) fn read(engine: &Engine) -> Result<Self> {
        Self::of_hashes(engine, engine.ledger.suppressed()?)
    }

    /// Reads the list of erased and of suppressed persons.
    ///
    /// # Errors
    /// What ledger and vault report.
    pub(crate) fn for_delivery(engine: &Engine) -> Result<Self> {
        let mut hashes = engine.ledger.suppressed()?;
        hashes.extend(engine.ledger.undelivered()?);
        let mut list = Self::of_hashes(engine, hashes)?;
        list.profiles = engine.ledger.undelivered_profiles()?.into_iter().collect();
        Ok(list)
    }

    fn of_hashes(engine: &Engine, hashes: Vec<(String, BlindIndex)>) -> Result<Self> {
        let mut kinds: BTreeMap<String, SuppressedKind> = BTreeMap::new();
        for (kind, hash) in hashes {
            if !kinds.contains_key(&kind) {
                let indexer = engine.vault.suppression_indexer(&kind)?;
                let rule = engine.plan.identity.identifiers.iter().find(|rule| rule.name == kind).cloned();
                kinds.insert(kind.clone(), SuppressedKind { hashes: HashSet::new(), indexer, rule });
            }
            if let Some(known) = kinds.get_mut(&kind) {
                known.hashes.insert(hash);
            }
        }
        Ok(Self { kinds, profiles: HashSet::new() })
    }

    /// A list of addresses and profiles.
    #[cfg(test)]
    pub(crate) fn of_email(
        rule: IdentifierRule,
        indexer: BlindIndexer,
        hashes: HashSet<BlindIndex>,
        profiles: HashSet<ProfileId>,
    ) -> Self {
        Self { kinds: BTreeMap::from([(rule.name.clone(), SuppressedKind { hashes, indexer, rule: Some(rule) })]), profiles }
    }

    /// Those that a value of an identifier may be among: of its kind, and an address or a telephone also those of other kinds
    /// that have such values.
    pub(crate) fn of(&self, rule: &IdentifierRule) -> Vec<&SuppressedKind> {
        let kinds = self.kinds.iter().filter(|(kind, list)| **kind == rule.name || is_shared(rule, list.form(kind)));
        kinds.map(|(_, list)| list).collect()
    }

    /// True when nobody stays out by an identifier.
    pub(crate) fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// True for a profile that holds a record of a suppressed person.
    pub(crate) fn holds_profile(&self, profile: ProfileId) -> bool {
        self.profiles.contains(&profile)
    }

    /// True when a value is an identifier of any kind that stays out.
    pub(crate) fn holds_any(&self, value: &str) -> bool {
        self.kinds.values().any(|kind| kind.rule.as_ref().is_some_and(|rule| kind.holds(rule, value)))
    }

    /// True when some value in a refused record, JSON or text with separators, is an identifier that stays out.
    pub(crate) fn is_mentioned(&self, payload: &[u8]) -> bool {
        if self.is_empty() {
            return false;
        }
        let text = String::from_utf8_lossy(payload);
        match serde_json::from_str(&text) {
            Ok(json) => self.is_in_json(&json),
            Err(_) => {
                let cells = || text.split(SEPARATORS).map(|cell| cell.trim());
                cells().any(|cell| self.holds_any(cell))
                    || cells().flat_map(str::split_whitespace).any(|word| self.holds_any(word))
            }
        }
    }

    fn is_in_json(&self, json: &serde_json::Value) -> bool {
        match json {
            serde_json::Value::String(text) => self.holds_any(text),
            serde_json::Value::Number(number) => self.holds_any(&number.to_string()),
            serde_json::Value::Array(items) => items.iter().any(|item| self.is_in_json(item)),
            serde_json::Value::Object(fields) => fields.values().any(|value| self.is_in_json(value)),
            serde_json::Value::Null | serde_json::Value::Bool(_) => false,
        }
    }
}

/// What stands between the values of a line that is no JSON.
const SEPARATORS: [char; 9] = [',', ';', '\t', '|', '"', '\'', '\n', '\r', '='];

/// True when values of a form are the same thing whatever the identifier: an address is a person's, be it called `email` or
/// `work_email`; a number means something else with each who gave it.
pub(crate) fn is_shared(rule: &IdentifierRule, form: IdentifierForm) -> bool {
    form != IdentifierForm::Id && rule.form() == form
}

impl SuppressedKind {
    /// What its values are; of a kind that the project has no longer, what its name says.
    fn form(&self, kind: &str) -> IdentifierForm {
        self.rule.as_ref().map_or_else(|| IdentifierForm::of_kind(kind), IdentifierRule::form)
    }

    /// True for an identifier that stays out, in whatever form it is written.
    pub(crate) fn holds(&self, rule: &IdentifierRule, value: &str) -> bool {
        forms(rule, value).iter().any(|form| self.hashes.contains(&self.indexer.index(form.as_bytes())))
    }
}

/// The forms under which a value is kept out, and is known again: the one that the project compares, the one that services are told, and
/// the one that a project without options compares. So nobody comes back by options that change; in turn, an address that differs in the
/// case of letters alone stays out with it, also where the project tells the two apart.
pub(crate) fn forms(rule: &IdentifierRule, value: &str) -> BTreeSet<String> {
    let plain = NormalizeOptions { region: rule.normalize.region.clone(), ..NormalizeOptions::default() };
    let mut ways = vec![rule.normalize.to_tell(), plain];
    ways.retain(|way| *way != rule.normalize);
    std::iter::once(&rule.normalize).chain(&ways).filter_map(|way| rule.canonical_with(value, way)).collect()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use affluent_model::normalize::LetterCase;
    use affluent_vault::{KeyRing, OsRandom, Vault, create_key_file};
    use proptest::prelude::*;

    use super::*;

    fn rule() -> IdentifierRule {
        let normalize = NormalizeOptions { strip_plus_tags: true, strip_gmail_dots: true, ..NormalizeOptions::default() };
        IdentifierRule { name: "email".to_owned(), normalize, ..IdentifierRule::default() }
    }

    fn indexer() -> BlindIndexer {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keyring");
        create_key_file(&path, &mut OsRandom::new()).unwrap();
        let ring = KeyRing::read_file(&path).unwrap();
        let (vault, _) = Vault::create(&ring, "acme", 0, &mut OsRandom::new()).unwrap();
        vault.suppression_indexer("email").unwrap()
    }

    /// `AFFLUENT_CASES=10000` is the long form.
    fn cases_count() -> u32 {
        std::env::var("AFFLUENT_CASES").ok().and_then(|count| count.parse().ok()).unwrap_or(200)
    }

    #[test]
    fn a_refused_record_mentions_a_person_wherever_the_identifier_stands() {
        let mut kind = SuppressedKind { hashes: HashSet::new(), indexer: indexer(), rule: Some(rule()) };
        kind.hashes.insert(kind.indexer.index(b"ann@x.test"));
        let list = Suppressed { kinds: BTreeMap::from([("email".to_owned(), kind)]), profiles: HashSet::new() };
        let cases = [
            (r#"{"id":1,"email":"Ann@X.test"}"#, true),
            (r#"{"id":1,"owner":{"emails":["bo@x.test","ann@x.test"]}}"#, true),
            (r#"{"id":1,"email":"joann@x.test"}"#, false),
            ("7,Ann,\"ann@x.test\",true", true),
            ("7;Ann <ann@x.test>;true", true),
            ("7,Bo,bo@x.test", false),
            ("", false),
        ];
        for (payload, expected) in cases {
            assert_eq!(list.is_mentioned(payload.as_bytes()), expected, "{payload}");
        }
    }

    #[test]
    fn an_erased_address_is_known_under_every_identifier_of_addresses() {
        let called = |name: &str, form| IdentifierRule { name: name.to_owned(), form, ..IdentifierRule::default() };
        let (email, phone) = (Some(IdentifierForm::Email), Some(IdentifierForm::Phone));
        for (erased, comes, expected) in [
            (called("email", None), called("email", None), true),
            (called("email", None), called("work_email", email), true),
            (called("work_email", email), called("email", None), true),
            (called("email", None), called("login", None), false),
            (called("login", None), called("login", None), true),
            (called("login", None), called("account", None), false),
            (called("email", None), called("mobile", phone), false),
        ] {
            let mut list = SuppressedKind { hashes: HashSet::new(), indexer: indexer(), rule: Some(erased.clone()) };
            list.hashes.extend(forms(&erased, "ann@x.test").iter().map(|form| list.indexer.index(form.as_bytes())));
            let list = Suppressed { kinds: BTreeMap::from([(erased.name.clone(), list)]), profiles: HashSet::new() };
            let is_kept_out = list.of(&comes).iter().any(|list| list.holds(&comes, "ann@x.test "));
            assert_eq!(is_kept_out, expected, "{} erased, then {}", erased.name, comes.name);
        }
    }

    #[test]
    fn an_erased_address_is_known_when_options_change() {
        let strips =
            |strips| NormalizeOptions { strip_plus_tags: strips, strip_gmail_dots: strips, ..NormalizeOptions::default() };
        let preserves = NormalizeOptions { case: Some(LetterCase::Preserve), ..NormalizeOptions::default() };
        let of = |normalize: &NormalizeOptions| IdentifierRule { normalize: normalize.clone(), ..rule() };
        for (erased, before, comes, after, expected) in [
            ("a-b@yahoo.com", strips(false), "a-b@yahoo.com", strips(true), true),
            ("a-b@yahoo.com", strips(true), "a-b@yahoo.com", strips(false), true),
            ("a.b+c@gmail.com", strips(true), "A.B+C@gmail.com", strips(false), true),
            ("a-b@yahoo.com", strips(true), "a-c@yahoo.com", strips(true), true),
            ("a-b@yahoo.com", strips(false), "a-c@yahoo.com", strips(false), false),
            ("ann@x.test", strips(false), "Ann@x.test", preserves.clone(), true),
            ("Ann@x.test", preserves.clone(), "Ann@x.test", strips(true), true),
            ("Ann@x.test", preserves.clone(), "Bob@x.test", preserves, false),
        ] {
            let mut list = SuppressedKind { hashes: HashSet::new(), indexer: indexer(), rule: None };
            list.hashes = forms(&of(&before), erased).iter().map(|form| list.indexer.index(form.as_bytes())).collect();
            assert_eq!(list.holds(&of(&after), comes), expected, "{erased} {before:?}, then {comes} {after:?}");
        }
    }

    #[test]
    fn an_erased_address_is_known_however_it_is_written_and_no_other_is() {
        let rule = rule();
        let list = RefCell::new(SuppressedKind { hashes: HashSet::new(), indexer: indexer(), rule: Some(rule.clone()) });
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(cases_count()));
        let people = proptest::collection::vec("[a-z]{3,8}", 1..6);
        let ways = (any::<bool>(), any::<bool>(), "[a-z]{0,3}");
        let strategy = (people, "[a-z]{9,12}", ways);

        let done = runner.run(&strategy, |(erased, other, (upper, spaced, tag))| {
            let canonical = |name: &String| rule.canonical(&format!("{name}@gmail.com")).unwrap();
            let mut list = list.borrow_mut();
            list.hashes = erased.iter().map(|name| list.indexer.index(canonical(name).as_bytes())).collect();
            for name in &erased {
                let tagged = if tag.is_empty() { name.clone() } else { format!("{name}+{tag}") };
                let mut written = format!("{tagged}@Gmail.com");
                written = if upper { written.to_uppercase() } else { written };
                written = if spaced { format!("  {written} ") } else { written };
                prop_assert!(list.holds(&rule, &written), "{}", written);
            }
            let other = format!("{other}@gmail.com");
            prop_assert!(!list.holds(&rule, &other));
            Ok(())
        });

        done.unwrap();
    }
}
