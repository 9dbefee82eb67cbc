//! What was said about the identifiers that a destination is matched by, looked up row by row.

use std::collections::HashMap;

use affluent_lake::{LakeQuery, LakeTable};
use affluent_model::consent::{ConsentNeed, ConsentWord, is_granted};
use affluent_model::identity::BlindIndex;
use affluent_model::plan::IdentifierRule;
use affluent_model::{Error, Result};
use affluent_profiles::consent::consent_sql;
use affluent_profiles::source::TableSource;
use affluent_vault::BlindIndexer;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type};

use crate::engine::Engine;
use crate::rows;

/// Canonical values and what was said about them.
#[cfg(test)]
type Words = Vec<(String, ConsentWord)>;

/// The last word about each identifier, by the places of a destination's match columns.
pub(crate) struct Consent(Vec<Option<OfIdentifier>>);

struct OfIdentifier {
    rule: IdentifierRule,
    indexer: BlindIndexer,
    said: HashMap<BlindIndex, ConsentWord>,
}

impl Consent {
    /// Reads what was said for the identifiers that the destination is matched by.
    ///
    /// # Errors
    /// `E0808` when it is matched by none: then nobody's consent can be looked up.
    pub(crate) async fn read<'r>(
        engine: &Engine,
        need: &ConsentNeed,
        matches: impl Iterator<Item = Option<&'r IdentifierRule>>,
        sources: &[TableSource],
        tables: &[LakeTable],
    ) -> Result<Self> {
        let mut looked_up = Vec::new();
        for rule in matches {
            let Some(rule) = rule else {
                looked_up.push(None);
                continue;
            };
            let query = LakeQuery::new(consent_sql(need, &rule.name, sources), tables.to_vec(), engine.now_us());
            let mut said = HashMap::new();
            engine.lake.stream(query, &mut |batch| take_consent(&batch, &mut said)).await?;
            looked_up.push(Some(OfIdentifier { rule: rule.clone(), indexer: engine.vault.blind_indexer(&rule.name)?, said }));
        }
        if looked_up.iter().all(Option::is_none) {
            let message = format!("consent to `{}` cannot be looked up: no match is an identifier", need.purpose);
            return Err(Error::configuration("E0808", message)
                .help("match by an identifier of profiles/identity.yaml: `match: { email: email }`"));
        }
        Ok(Self(looked_up))
    }

    /// What was said, by canonical value; later words replace earlier ones.
    #[cfg(test)]
    pub(crate) fn of_words(words: Vec<(IdentifierRule, BlindIndexer, Words)>) -> Self {
        let looked_up = words.into_iter().map(|(rule, indexer, words)| {
            let said = words.into_iter().map(|(value, word)| (indexer.index(value.as_bytes()), word)).collect();
            Some(OfIdentifier { rule, indexer, said })
        });
        Self(looked_up.collect())
    }

    /// Granted for each of the identifiers that the destination is matched by.
    pub(crate) fn allows(&self, matches: &[ArrayRef], row: usize) -> bool {
        let used = matches.iter().zip(&self.0).filter_map(|(column, of)| Some((column, of.as_ref()?)));
        is_granted(used.map(|(column, of)| {
            let value = of.rule.canonical(column.as_string::<i32>().value(row))?;
            of.said.get(&of.indexer.index(value.as_bytes())).copied()
        }))
    }
}

/// Takes what one batch of [`consent_sql`] says.
pub(crate) fn take_consent(batch: &RecordBatch, said: &mut HashMap<BlindIndex, ConsentWord>) -> Result<()> {
    let values = rows::cast_to(rows::column(batch, "value")?, &DataType::Binary)?;
    let words = rows::cast_to(rows::column(batch, "word")?, &DataType::Int64)?;
    let (values, words) = (values.as_binary::<i32>(), words.as_primitive::<Int64Type>());
    for row in (0..values.len()).filter(|row| values.is_valid(*row)) {
        let value = BlindIndex::try_from(values.value(row)).map_err(|_| Error::bug("a blind index is not 17 bytes"))?;
        let word = ConsentWord::from_rank(words.value(row)).ok_or_else(|| Error::bug("a consent has an unknown rank"))?;
        said.insert(value, word);
    }
    Ok(())
}
