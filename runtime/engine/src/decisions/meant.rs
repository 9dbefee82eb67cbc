//! What a steward's references mean, and what a split of them is: an edge, a value, a pair or a record is taken out.

use affluent_ledger::{Decided, NodeRow};
use affluent_model::identity::{BlindIndex, NodeId, ProfileId};
use affluent_model::{Error, Result};

use crate::engine::Engine;

/// What one reference means.
enum Meant {
    Record(NodeRow),
    /// A value and the records that carry it.
    Identifier {
        kind: u16,
        value: BlindIndex,
        carriers: Vec<NodeRow>,
    },
    Profile(Vec<NodeRow>),
}

/// What is to be split, and from what.
///
/// # Errors
/// `E0813` when nobody, or more than one profile, is meant; `E0870` when there is nothing to split.
pub(super) fn split_of(engine: &Engine, reference: &str, from: Option<&str>) -> Result<Decided> {
    let from = from.map(|from| meant(engine, from)).transpose()?;
    match (meant(engine, reference)?, from) {
        (Meant::Record(record), None) => split_off(engine, &record),
        (Meant::Identifier { kind, value, carriers }, None) => {
            let mut profiles: Vec<ProfileId> = carriers.iter().filter_map(|row| row.profile).collect();
            profiles.sort_unstable();
            profiles.dedup();
            if profiles.len() > 1 {
                let listed: Vec<String> = profiles.iter().take(5).map(ToString::to_string).collect();
                let message = format!("{} profiles carry that identifier", profiles.len());
                return Err(
                    Error::configuration("E0813", message).help(format!("choose one with `--from`: {}", listed.join(", ")))
                );
            }
            detach(kind, value, carriers)
        }
        (Meant::Record(one), Some(Meant::Record(other))) => {
            differ(one.node, other.node)?;
            Ok(Decided::Split { node: one.node, from: vec![other.node] })
        }
        (Meant::Record(record), Some(Meant::Profile(members))) if members.contains(&record) => split_off(engine, &record),
        (Meant::Record(record), Some(Meant::Identifier { kind, value, carriers }))
        | (Meant::Identifier { kind, value, carriers }, Some(Meant::Record(record))) => {
            if !carriers.contains(&record) {
                return Err(nothing("that record does not carry that identifier"));
            }
            Ok(Decided::Detach { kind, value, nodes: vec![record.node] })
        }
        (Meant::Identifier { kind, value, carriers }, Some(Meant::Profile(members))) => {
            detach(kind, value, carriers.into_iter().filter(|row| members.contains(row)).collect())
        }
        _ => Err(nothing("these two cannot be split from each other")),
    }
}

/// The record that a link of this reference stands on: the record itself, or the oldest of an identifier or a profile.
///
/// # Errors
/// `E0813` when nobody, or more than one profile, is meant.
pub(super) fn oldest_node(engine: &Engine, reference: &str) -> Result<NodeId> {
    let rows = match meant(engine, reference)? {
        Meant::Record(row) => vec![row],
        Meant::Identifier { carriers, .. } => {
            engine.find_profile(reference)?;
            carriers
        }
        Meant::Profile(members) => members,
    };
    let oldest = rows.iter().min_by_key(|row| (row.first_seen_us, row.node));
    oldest.map(|row| row.node).ok_or_else(nobody)
}

/// Refuses a record against itself.
pub(super) fn differ(one: NodeId, other: NodeId) -> Result<()> {
    if one == other { Err(nothing("both mean the same record")) } else { Ok(()) }
}

fn meant(engine: &Engine, reference: &str) -> Result<Meant> {
    let mut rows = engine.find_nodes(reference)?;
    if rows.is_empty() {
        return Err(nobody());
    }
    if ProfileId::parse(reference).is_some() {
        return Ok(Meant::Profile(rows));
    }
    match engine.identifier(reference)? {
        Some((kind, value)) => Ok(Meant::Identifier { kind, value, carriers: rows }),
        None => rows.pop().map(Meant::Record).ok_or_else(nobody),
    }
}

fn split_off(engine: &Engine, record: &NodeRow) -> Result<Decided> {
    let members = match record.profile {
        Some(profile) => engine.ledger.nodes_of(profile)?,
        None => Vec::new(),
    };
    let from: Vec<NodeId> = members.iter().map(|row| row.node).filter(|node| *node != record.node).collect();
    if from.is_empty() {
        return Err(nothing("that record is a profile of its own already"));
    }
    Ok(Decided::Split { node: record.node, from })
}

fn detach(kind: u16, value: BlindIndex, carriers: Vec<NodeRow>) -> Result<Decided> {
    if carriers.len() < 2 {
        return Err(nothing("that identifier joins no two records there"));
    }
    Ok(Decided::Detach { kind, value, nodes: carriers.iter().map(|row| row.node).collect() })
}

fn nothing(why: &str) -> Error {
    Error::configuration("E0870", format!("there is nothing to decide: {why}"))
        .help("name a record (`shop/1234`), an identifier (`email:ann@x.test`), two records, or a record and an identifier of it")
}

fn nobody() -> Error {
    Error::configuration("E0813", "nobody is known by one of these")
        .help("give a profile id, an identifier as `email:ann@x.test`, or a record as `shop/1234`")
}
