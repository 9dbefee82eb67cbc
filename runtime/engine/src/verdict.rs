//! Whether a row of a profile may leave: the last word before it is planned, over everything that can keep a person back.

use affluent_model::identity::ProfileId;
use affluent_model::plan::IdentifierRule;
use arrow::array::{Array, ArrayRef, AsArray};

use crate::consent::Consent;
use crate::suppressed::Suppressed;

/// What keeps persons back from one destination.
pub(crate) struct Restraints {
    /// `None` where the destination names no purpose.
    pub(crate) consent: Option<Consent>,
    pub(crate) suppressed: Suppressed,
    /// Of each match column, the identifier it is; `None` for a column that is none.
    pub(crate) identifiers: Vec<Option<IdentifierRule>>,
}

/// What becomes of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    MaySend,
    /// Erased, or delivered nowhere by request.
    Suppressed,
    WithoutMatch,
    WithoutConsent,
}

impl Restraints {
    /// Decides one row by its profile and its match columns, which are text in canonical form.
    pub(crate) fn verdict(&self, profile: ProfileId, matches: &[ArrayRef], row: usize) -> Verdict {
        let has_match = matches.iter().all(|column| column.is_valid(row));
        if self.suppressed.holds_profile(profile) || self.is_suppressed(matches, row) {
            return Verdict::Suppressed;
        }
        match &self.consent {
            _ if !has_match => Verdict::WithoutMatch,
            Some(consent) if !consent.allows(matches, row) => Verdict::WithoutConsent,
            _ => Verdict::MaySend,
        }
    }

    /// True when a match value is an identifier that stays out.
    fn is_suppressed(&self, matches: &[ArrayRef], row: usize) -> bool {
        self.identifiers.iter().zip(matches).any(|(rule, column)| {
            let Some(rule) = rule.as_ref().filter(|_| column.is_valid(row)) else { return false };
            self.suppressed.of(rule).iter().any(|list| list.holds(rule, column.as_string::<i32>().value(row)))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use affluent_model::consent::ConsentWord;
    use affluent_vault::{KeyRing, OsRandom, Vault, create_key_file};
    use arrow::array::StringArray;
    use proptest::prelude::*;

    use super::*;

    fn rule(kind: &str) -> IdentifierRule {
        IdentifierRule { name: kind.to_owned(), ..IdentifierRule::default() }
    }

    fn vault() -> Vault {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keyring");
        create_key_file(&path, &mut OsRandom::new()).unwrap();
        let ring = KeyRing::read_file(&path).unwrap();
        Vault::create(&ring, "acme", 0, &mut OsRandom::new()).unwrap().0
    }

    fn address(who: u8) -> String {
        format!("p{who}@x.test")
    }

    /// A destination that is matched by an address and a customer number.
    fn restraints(vault: &Vault, said: &[(u8, u8)], listed: &BTreeSet<u8>, profiles: &BTreeSet<u8>) -> Restraints {
        let word = |rank: u8| ConsentWord::from_rank(i64::from(rank)).unwrap();
        let of_email = said.iter().map(|(who, rank)| (address(*who), word(*rank)));
        let of_customer = (0..6_u8).map(|who| (format!("c{who}"), ConsentWord::Granted));
        let consent = Consent::of_words(vec![
            (rule("email"), vault.blind_indexer("email").unwrap(), of_email.collect()),
            (rule("customer"), vault.blind_indexer("customer").unwrap(), of_customer.collect()),
        ]);
        let indexer = vault.suppression_indexer("email").unwrap();
        let hashes = listed.iter().map(|who| indexer.index(address(*who).as_bytes())).collect();
        let profiles = profiles.iter().map(|who| ProfileId(u128::from(*who))).collect();
        Restraints {
            consent: Some(consent),
            suppressed: Suppressed::of_email(rule("email"), indexer, hashes, profiles),
            identifiers: vec![Some(rule("email")), Some(rule("customer"))],
        }
    }

    /// `AFFLUENT_CASES=10000` is the long form.
    fn cases_count() -> u32 {
        std::env::var("AFFLUENT_CASES").ok().and_then(|count| count.parse().ok()).unwrap_or(200)
    }

    #[test]
    fn no_row_leaves_without_a_grant_and_none_of_an_erased_or_suppressed_person() {
        let vault = vault();
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(cases_count()));
        let said = proptest::collection::vec((0_u8..6, 0_u8..4), 0..8);
        let some = || proptest::collection::btree_set(0_u8..6, 0..3);
        let rows = proptest::collection::vec((0_u8..6, proptest::option::weighted(0.8, 0_u8..6), 0_u8..6), 1..8);

        let done = runner.run(&(said, some(), some(), rows), |(said, listed, profiles, rows)| {
            let restraints = restraints(&vault, &said, &listed, &profiles);
            let emails: StringArray = rows.iter().map(|(_, who, _)| who.map(address)).collect();
            let customers: StringArray = rows.iter().map(|(_, _, customer)| Some(format!("c{customer}"))).collect();
            let matches: Vec<ArrayRef> = vec![Arc::new(emails), Arc::new(customers)];

            for (row, (profile, who, _)) in rows.iter().enumerate() {
                let verdict = restraints.verdict(ProfileId(u128::from(*profile)), &matches, row);
                let last = who.and_then(|who| said.iter().rev().find(|(about, _)| *about == who)).map(|(_, rank)| *rank);
                let is_out = profiles.contains(profile) || who.is_some_and(|who| listed.contains(&who));
                let expected = match (is_out, who, last) {
                    (true, _, _) => Verdict::Suppressed,
                    (false, None, _) => Verdict::WithoutMatch,
                    (false, Some(_), Some(0)) => Verdict::MaySend,
                    (false, Some(_), _) => Verdict::WithoutConsent,
                };
                prop_assert_eq!(verdict, expected);
            }
            Ok(())
        });

        done.unwrap();
    }
}
