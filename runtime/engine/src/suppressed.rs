//! The list of identifiers of erased persons, by keyed hash: what carries one comes in no more and is sent to nobody.

use std::collections::{BTreeMap, HashSet};

use affluent_model::identity::BlindIndex;
use affluent_model::plan::IdentifierRule;
use affluent_model::{Result, normalize};
use affluent_vault::BlindIndexer;

use crate::engine::Engine;

/// Identifiers that stay out, by kind.
pub(crate) struct Suppressed(BTreeMap<String, SuppressedKind>);

/// Those of one kind.
pub(crate) struct SuppressedKind {
    hashes: HashSet<BlindIndex>,
    indexer: BlindIndexer,
}

impl Suppressed {
    /// Reads the list.
    ///
    /// # Errors
    /// What ledger and vault report.
    pub(crate) fn read(engine: &Engine) -> Result<Self> {
        let mut kinds: BTreeMap<String, SuppressedKind> = BTreeMap::new();
        for (kind, hash) in engine.ledger.suppressed()? {
            if !kinds.contains_key(&kind) {
                let indexer = engine.vault.suppression_indexer(&kind)?;
                kinds.insert(kind.clone(), SuppressedKind { hashes: HashSet::new(), indexer });
            }
            if let Some(known) = kinds.get_mut(&kind) {
                known.hashes.insert(hash);
            }
        }
        Ok(Self(kinds))
    }

    /// Those of a kind; `None` when there is none.
    pub(crate) fn of(&self, kind: &str) -> Option<&SuppressedKind> {
        self.0.get(kind)
    }
}

impl SuppressedKind {
    /// True for an identifier of an erased person, in whatever form it is written.
    pub(crate) fn holds(&self, rule: &IdentifierRule, value: &str) -> bool {
        let canonical = normalize::identifier(&rule.name, value, &rule.normalize);
        canonical.is_some_and(|canonical| self.hashes.contains(&self.indexer.index(canonical.as_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use affluent_model::plan::NormalizeOptions;
    use affluent_vault::{KeyRing, OsRandom, Vault, create_key_file};
    use proptest::prelude::*;

    use super::*;

    fn rule() -> IdentifierRule {
        let normalize = NormalizeOptions { strip_plus_tags: true, strip_gmail_dots: true, region: None };
        IdentifierRule {
            name: "email".to_owned(),
            priority: 1,
            values_max: 5,
            unique: false,
            fanout_max: 50,
            weak: false,
            normalize,
            blocked: Vec::new(),
            presets: Vec::new(),
        }
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
    fn an_erased_address_is_known_however_it_is_written_and_no_other_is() {
        let rule = rule();
        let list = RefCell::new(SuppressedKind { hashes: HashSet::new(), indexer: indexer() });
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(cases_count()));
        let people = proptest::collection::vec("[a-z]{3,8}", 1..6);
        let ways = (any::<bool>(), any::<bool>(), "[a-z]{0,3}");
        let strategy = (people, "[a-z]{9,12}", ways);

        let done = runner.run(&strategy, |(erased, other, (upper, spaced, tag))| {
            let canonical =
                |name: &String| normalize::identifier("email", &format!("{name}@gmail.com"), &rule.normalize).unwrap();
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
