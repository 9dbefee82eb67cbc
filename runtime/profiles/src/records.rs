//! Rows of a file → nodes, edges and evidence for [`crate::resolve::group`]: the way to develop rules without a project.
//! It reads no file; whoever does hands over row by row. Values are kept as digests and normal forms, record ids as they
//! are.

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use affluent_model::identifier_rule::mark_of;
use affluent_model::identity::{BlindIndex, Edge, NodeId};
use affluent_model::plan::{IdentifierRule, IdentityRules};
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};
use sha2::{Digest, Sha256};

use crate::evidence::Evidence;
use crate::resolve::{Grouping, Knowledge, ResolveInput, ResolveNode, group};

/// First byte of a digest, where a blind index has its version.
const DIGEST_VERSION: u8 = 1;

/// Records on their way to be grouped.
pub struct Records<'a> {
    rules: &'a IdentityRules,
    kinds: Vec<String>,
    columns: Columns,
    /// All ids, one after the other; where each ends.
    ids: String,
    id_ends: Vec<u32>,
    nodes: Vec<ResolveNode>,
    edges: Vec<Edge>,
    evidence: Option<Evidence>,
    /// By attribute rule: whether any rule looks at it.
    compared: Vec<bool>,
}

/// Where things stand in a row.
struct Columns {
    id: usize,
    /// When a record was observed, where the rules name a column.
    at: Option<usize>,
    /// By identifier rule.
    identifiers: Vec<usize>,
    /// By attribute rule.
    attributes: Vec<usize>,
}

/// What rules name and the file has not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingColumn {
    /// Identifier, attribute, `id` or `at`.
    pub name: String,
    pub column: String,
}

impl<'a> Records<'a> {
    /// No records yet; `header` names the columns of the rows to come.
    ///
    /// # Errors
    /// Every column that the rules need and the header has not.
    pub fn new(rules: &'a IdentityRules, header: &[&str]) -> Result<Self, Vec<MissingColumn>> {
        let mut missing = Vec::new();
        let mut find = |name: &str, column: &str| {
            let found = header.iter().position(|title| title.trim() == column);
            if found.is_none() {
                missing.push(MissingColumn { name: name.to_owned(), column: column.to_owned() });
            }
            found.unwrap_or(0)
        };
        let id = rules.records.id.as_ref().map_or(0, |column| find("id", column));
        let at = rules.records.at.as_ref().map(|column| find("at", column));
        let mut column_of = |name: &String| find(name, rules.records.columns.get(name).unwrap_or(name));
        let identifiers = rules.identifiers.iter().map(|rule| column_of(&rule.name)).collect();
        let attributes: Vec<usize> = rules.attributes.iter().map(|rule| column_of(&rule.name)).collect();
        if !missing.is_empty() {
            return Err(missing);
        }
        Ok(Self {
            rules,
            kinds: rules.identifiers.iter().map(|rule| rule.name.clone()).chain(marks(rules)).collect(),
            compared: rules.compared(),
            evidence: (!attributes.is_empty()).then(|| Evidence::new(&rules.attributes)),
            columns: Columns { id, at, identifiers, attributes },
            ids: String::new(),
            id_ends: Vec::new(),
            nodes: Vec::new(),
            edges: Vec::new(),
        })
    }

    /// Adds one row; `field` gives the text of a column, empty where the row has none.
    pub fn push<'r>(&mut self, field: impl Fn(usize) -> &'r str) {
        let id = field(self.columns.id).trim();
        let node = NodeId(i64::try_from(self.nodes.len()).unwrap_or(i64::MAX));
        let seen_at_us = self.columns.at.map_or(0, |column| observed_at_us(field(column)));
        self.nodes.push(ResolveNode { node, key: digest(u16::MAX, id), first_seen_ms: 0, profile: None });
        self.ids.push_str(id);
        self.id_ends.push(u32::try_from(self.ids.len()).unwrap_or(u32::MAX));
        let rules = self.rules;
        for ((kind, rule), column) in (0..).zip(&rules.identifiers).zip(&self.columns.identifiers) {
            let value = field(*column);
            let Some(canonical) = rule.usable(value).filter(|_| !value.is_empty()) else { continue };
            let edge = Edge { node, kind, value: digest(kind, &canonical), seen_at_us };
            self.edges.push(edge);
            if rule.is_weak_value(&canonical) {
                let mark = self.kinds.iter().position(|name| *name == mark_of(&rule.name)).and_then(|at| u16::try_from(at).ok());
                self.edges.extend(mark.map(|kind| Edge { kind, ..edge }));
            }
        }
        if let Some(evidence) = &mut self.evidence {
            let attributes = self.columns.attributes.iter().zip(&self.compared);
            evidence.push(attributes.map(|(column, is_compared)| if *is_compared { field(*column) } else { "" }));
        }
    }

    /// Records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// True when there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The ids of the records, in the order they came.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(&0).chain(&self.id_ends);
        starts.zip(&self.id_ends).map(|(start, end)| self.ids.get(*start as usize..*end as usize).unwrap_or_default())
    }

    /// True when two records have the same id.
    #[must_use]
    pub fn has_repeated_id(&self) -> bool {
        let mut keys: Vec<u64> = self.nodes.iter().map(|node| key_prefix(&node.key)).collect();
        keys.sort_unstable();
        if !keys.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
            return false;
        }
        let mut keys: Vec<BlindIndex> = self.nodes.iter().map(|node| node.key).collect();
        keys.sort_unstable();
        keys.windows(2).any(|pair| matches!(pair, [a, b] if a == b))
    }

    /// The nodes of records by their ids; `None` where there is no such record.
    pub fn find(&self, ids: &[&str]) -> Vec<Option<NodeId>> {
        let mut keys: Vec<(BlindIndex, NodeId)> = self.nodes.iter().map(|node| (node.key, node.node)).collect();
        keys.sort_unstable();
        let find = |id: &&str| {
            let key = digest(u16::MAX, id.trim());
            let at = keys.binary_search_by_key(&key, |(key, _)| *key).ok()?;
            keys.get(at).map(|(_, node)| *node)
        };
        ids.iter().map(find).collect()
    }

    /// Groups the records.
    #[must_use]
    pub fn group(&self, must_link: &[(NodeId, NodeId)], cannot_link: &[(NodeId, NodeId)]) -> Grouping {
        let input = ResolveInput { rules: self.rules, kinds: &self.kinds, nodes: &self.nodes, edges: &self.edges, blocked: &[] };
        group(&input, &Knowledge { evidence: self.evidence.as_ref(), must_link, cannot_link, former: &[] })
    }
}

/// Microseconds UTC of a date or a time of ISO 8601, without an offset in UTC; what says no time comes last.
fn observed_at_us(value: &str) -> i64 {
    let value = value.trim();
    let time = || NaiveDateTime::parse_from_str(&value.replacen(' ', "T", 1), "%Y-%m-%dT%H:%M:%S%.f").ok();
    let day = || Some(NaiveDate::parse_from_str(value, "%Y-%m-%d").ok()?.and_time(NaiveTime::MIN));
    match DateTime::parse_from_rfc3339(value) {
        Ok(time) => time.timestamp_micros(),
        Err(_) => time().or_else(day).map_or(i64::MAX, |time| time.and_utc().timestamp_micros()),
    }
}

/// Names of the kinds that tell which values are weak.
fn marks(rules: &IdentityRules) -> impl Iterator<Item = String> {
    rules.identifiers.iter().filter_map(IdentifierRule::mark).map(|mark| mark.name)
}

/// Sixteen bytes of SHA-256 after a version: no two values meet by chance, and their order has nothing to do with what
/// they are.
fn digest(kind: u16, value: &str) -> BlindIndex {
    let mut hash = Sha256::new();
    hash.update(kind.to_be_bytes());
    hash.update(value.as_bytes());
    let mut digest = [DIGEST_VERSION; 17];
    digest.iter_mut().skip(1).zip(hash.finalize()).for_each(|(slot, byte)| *slot = byte);
    digest
}

/// Eight bytes after the version.
fn key_prefix(key: &BlindIndex) -> u64 {
    let [_, a, b, c, d, e, f, g, h, ..] = *key;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}
