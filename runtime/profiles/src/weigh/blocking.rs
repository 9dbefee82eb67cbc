//! Likely pairs: nodes that share a rare value of one attribute, or values of two attributes that are rare together. A
//! block that is too large tells too little and proposes nothing, so that every node has a bounded number of partners.

use affluent_model::matching::AttributeForm;

use crate::evidence::Column;

/// Nodes that share one value and are all paired with each other, at most.
const SINGLE_NODES_MAX: usize = 20;
/// Nodes that share two values and are all paired with each other, at most.
const PAIR_NODES_MAX: usize = 60;
/// Letters of a name's beginning.
const BEGINNING_LETTERS: usize = 3;

/// One way to look at an attribute: row → key, 0 = the node has none.
pub(crate) struct Part {
    /// The attribute it belongs to; parts of one attribute are not combined with each other.
    attribute: usize,
    keys: Vec<u64>,
}

/// The parts of attributes by which nodes are put into blocks.
pub(crate) fn parts(columns: &[&Column]) -> Vec<Part> {
    let mut parts = Vec::new();
    for (attribute, column) in columns.iter().enumerate() {
        let mut add = |part: fn(&str) -> &str| parts.push(Part { attribute, keys: keys(column, part) });
        add(|value| value);
        match column.form {
            AttributeForm::GivenName | AttributeForm::FamilyName => add(beginning),
            AttributeForm::Date(_) => {
                add(|date| date.get(..4).unwrap_or_default());
                add(|date| date.get(4..).unwrap_or_default());
            }
            AttributeForm::Email => add(|email| email.split('@').next().unwrap_or_default()),
            AttributeForm::Street | AttributeForm::Code | AttributeForm::Text => {}
        }
    }
    parts.extend(letters_of_names(columns));
    parts
}

/// One key for the values that all of these attributes have together; 0 where one is missing.
pub(crate) fn joint_keys(columns: &[&Column], nodes: usize) -> Vec<u64> {
    let mut joint = vec![1; nodes];
    for column in columns {
        for (key, id) in joint.iter_mut().zip(&column.ids) {
            *key = if *id == 0 || *key == 0 { 0 } else { combined(*key, u64::from(*id)) };
        }
    }
    joint
}

fn keys(column: &Column, part: fn(&str) -> &str) -> Vec<u64> {
    let by_id: Vec<u64> = column.values().map(|value| key_of(part(value))).collect();
    column.ids.iter().map(|id| by_id.get(*id as usize).copied().unwrap_or(0)).collect()
}

fn beginning(name: &str) -> &str {
    name.char_indices().nth(BEGINNING_LETTERS).map_or("", |(end, _)| name.get(..end).unwrap_or_default())
}

/// The letters of given and family name together, sorted: equal also where the two are swapped.
fn letters_of_names(columns: &[&Column]) -> Option<Part> {
    let find = |form| columns.iter().find(|column| column.form == form);
    let (given, family) = find(AttributeForm::GivenName).zip(find(AttributeForm::FamilyName))?;
    let rows = given.ids.iter().zip(&family.ids);
    let keys = rows.map(|(given_id, family_id)| {
        if *given_id == 0 || *family_id == 0 {
            return 0;
        }
        let mut letters: Vec<u8> = given.text(*given_id).bytes().chain(family.text(*family_id).bytes()).collect();
        letters.sort_unstable();
        hash(&letters)
    });
    Some(Part { attribute: usize::MAX, keys: keys.collect() })
}

/// A number of a text; 0 of the empty one, and of no other.
pub(crate) fn key_of(text: &str) -> u64 {
    if text.is_empty() { 0 } else { hash(text.as_bytes()) }
}

/// FNV-1a with a final mix; never 0.
fn hash(bytes: &[u8]) -> u64 {
    let hash =
        bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    mixed(hash).max(1)
}

/// The finaliser of MurmurHash3: every bit of the input moves every bit of the result.
fn mixed(mut key: u64) -> u64 {
    key = (key ^ (key >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    key = (key ^ (key >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    key ^ (key >> 33)
}

/// One number of two, in this order; never 0.
pub(crate) fn combined(a: u64, b: u64) -> u64 {
    mixed(a.rotate_left(23) ^ mixed(b)).max(1)
}

/// Nodes in blocks.
pub(crate) struct Blocking {
    /// Block → where its nodes start in `members`; one more at the end.
    starts: Vec<u32>,
    /// Nodes by block, ascending.
    members: Vec<u32>,
    /// Node → where its blocks start in `blocks`; one more at the end.
    node_starts: Vec<u32>,
    blocks: Vec<u32>,
}

impl Blocking {
    /// Blocks of nodes that share a part, or two parts of different attributes.
    pub(crate) fn of_parts(parts: &[Part], nodes: usize) -> Self {
        let mut blocks = Blocks::default();
        let settled: Vec<Vec<bool>> = parts.iter().map(|part| blocks.add(part.keys.iter().copied(), SINGLE_NODES_MAX)).collect();
        for (at, (first, first_settled)) in parts.iter().zip(&settled).enumerate() {
            for (second, second_settled) in parts.iter().zip(&settled).skip(at + 1) {
                if first.attribute == second.attribute {
                    continue;
                }
                let keys = first.keys.iter().zip(&second.keys).zip(first_settled.iter().zip(second_settled));
                blocks.add(keys.map(|((a, b), (a_settled, b_settled))| both(*a, *b, *a_settled || *b_settled)), PAIR_NODES_MAX);
            }
        }
        blocks.into_blocking(nodes)
    }

    /// Blocks of nodes that share the base key; where too many do, of those that share a part besides.
    pub(crate) fn of_base(base: &[u64], parts: &[Part], nodes: usize) -> Self {
        let mut blocks = Blocks::default();
        let settled = blocks.add(base.iter().copied(), PAIR_NODES_MAX);
        for part in parts {
            let keys = base.iter().zip(&part.keys).zip(&settled);
            blocks.add(keys.map(|((a, b), is_settled)| both(*a, *b, *is_settled)), PAIR_NODES_MAX);
        }
        blocks.into_blocking(nodes)
    }

    /// Puts the partners of a node that come after it into `partners`, ascending.
    pub(crate) fn partners(&self, node: u32, partners: &mut Vec<u32>) {
        partners.clear();
        for block in slice(&self.node_starts, &self.blocks, node) {
            let members = slice(&self.starts, &self.members, *block);
            let after = members.partition_point(|member| *member <= node);
            partners.extend_from_slice(members.get(after..).unwrap_or(&[]));
        }
        partners.sort_unstable();
        partners.dedup();
    }
}

fn both(a: u64, b: u64, is_settled: bool) -> u64 {
    if is_settled || a == 0 || b == 0 { 0 } else { combined(a, b) }
}

fn slice<'a>(starts: &[u32], items: &'a [u32], at: u32) -> &'a [u32] {
    let start = starts.get(at as usize).copied().unwrap_or(0);
    let end = starts.get(at as usize + 1).copied().unwrap_or(start);
    items.get(start as usize..end as usize).unwrap_or(&[])
}

/// Blocks as they are found.
#[derive(Default)]
struct Blocks {
    ends: Vec<u32>,
    members: Vec<u32>,
    entries: Vec<(u64, u32)>,
}

impl Blocks {
    /// Adds the blocks of one key per node; true for each node whose block is small enough, so that a narrower one would
    /// find nobody new.
    fn add(&mut self, keys: impl Iterator<Item = u64>, nodes_max: usize) -> Vec<bool> {
        let mut settled = Vec::new();
        self.entries.clear();
        for (node, key) in (0..).zip(keys) {
            settled.push(false);
            if key != 0 {
                self.entries.push((key, node));
            }
        }
        self.entries.sort_unstable();
        for run in self.entries.chunk_by(|a, b| a.0 == b.0).filter(|run| run.len() <= nodes_max) {
            for (_, node) in run {
                if let Some(slot) = settled.get_mut(*node as usize) {
                    *slot = true;
                }
            }
            if run.len() > 1 {
                self.members.extend(run.iter().map(|(_, node)| *node));
                self.ends.push(count(self.members.len()));
            }
        }
        settled
    }

    fn into_blocking(self, nodes: usize) -> Blocking {
        let starts: Vec<u32> = std::iter::once(0).chain(self.ends).collect();
        let mut node_starts = vec![0_u32; nodes + 1];
        for node in &self.members {
            if let Some(slot) = node_starts.get_mut(*node as usize + 1) {
                *slot += 1;
            }
        }
        let mut sum = 0;
        for slot in &mut node_starts {
            sum += *slot;
            *slot = sum;
        }
        let mut next = node_starts.clone();
        let mut blocks = vec![0; self.members.len()];
        for (block, _) in (0..).zip(starts.iter().skip(1)) {
            for node in slice(&starts, &self.members, block) {
                let Some(place) = next.get_mut(*node as usize) else { continue };
                if let Some(slot) = blocks.get_mut(*place as usize) {
                    *slot = block;
                }
                *place += 1;
            }
        }
        Blocking { starts, members: self.members, node_starts, blocks }
    }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(attribute: usize, keys: &[u64]) -> Part {
        Part { attribute, keys: keys.to_vec() }
    }

    fn pairs(blocking: &Blocking, nodes: u32) -> Vec<(u32, u32)> {
        let mut partners = Vec::new();
        let mut pairs = Vec::new();
        for node in 0..nodes {
            blocking.partners(node, &mut partners);
            pairs.extend(partners.iter().map(|partner| (node, *partner)));
        }
        pairs
    }

    #[test]
    fn nodes_that_share_a_rare_value_are_likely_pairs() {
        let blocking = Blocking::of_parts(&[part(0, &[7, 8, 7, 0, 0])], 5);

        assert_eq!(pairs(&blocking, 5), [(0, 2)]);
    }

    #[test]
    fn a_frequent_value_makes_pairs_only_together_with_another() {
        let frequent = vec![7; SINGLE_NODES_MAX + 1];
        let mut other = vec![9; SINGLE_NODES_MAX + 1];
        other[0] = 1;
        other[3] = 1;
        let nodes = frequent.len();

        let alone = Blocking::of_parts(&[part(0, &frequent)], nodes);
        let same_attribute = Blocking::of_parts(&[part(0, &frequent), part(0, &other)], nodes);

        assert!(pairs(&alone, 21).is_empty());
        assert!(pairs(&same_attribute, 21).contains(&(0, 3)), "rare on its own");
        let together = Blocking::of_parts(&[part(0, &frequent), part(1, &frequent)], nodes);
        assert_eq!(pairs(&together, 21).len(), 210, "rare enough together");
    }

    #[test]
    fn a_block_over_the_limit_makes_no_pairs() {
        let frequent = vec![7; PAIR_NODES_MAX + 1];

        let blocking = Blocking::of_base(&frequent, &[part(0, &frequent)], frequent.len());

        assert!(pairs(&blocking, 61).is_empty());
    }
}
