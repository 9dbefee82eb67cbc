//! Decisions of people: a row each, and a row for each node that one names.

use std::collections::BTreeSet;

use affluent_model::identity::NodeId;
use affluent_model::{Error, Result};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{SqliteLedger, advance_counter, collect, count_at};
use crate::contract::decisions::{Decided, DecisionChange, DecisionRow, Decisions, NewDecision};
use crate::error::StoreResult;

/// The counter of changes.
const CHANGES: &str = "decision";
/// Nodes up to which their decisions are looked up one by one.
const LOOK_UPS_MAX: usize = 2_000;
const COLUMNS: &str =
    "decision, verdict, kind, value, attribute, decided_by, reason_sealed, decided_at_us, undone_by, undone_at_us";

impl Decisions for SqliteLedger {
    fn decisions(&self) -> Result<Vec<DecisionRow>> {
        self.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM decision ORDER BY decision");
            let mut statement = connection.prepare_cached(&sql)?;
            let heads = collect(statement.query_map([], Head::read)?)?;
            heads.into_iter().map(|head| head.with_nodes(connection)).collect()
        })
    }

    fn decisions_on(&self, nodes: &[NodeId]) -> Result<Vec<DecisionRow>> {
        self.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM decision WHERE undone_at_us IS NULL ORDER BY decision");
            let mut statement = connection.prepare_cached(&sql)?;
            let mut heads = collect(statement.query_map([], Head::read)?)?;
            if !heads.is_empty() && nodes.len() <= LOOK_UPS_MAX {
                let named = decisions_naming(connection, nodes)?;
                heads.retain(|head| named.contains(&head.decision));
            }
            heads.into_iter().map(|head| head.with_nodes(connection)).collect()
        })
    }

    fn decision_changes(&self) -> Result<u64> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT value FROM counter WHERE name = ?1")?;
            Ok(statement.query_row([CHANGES], |row| count_at(row, 0)).optional()?.unwrap_or(0))
        })
    }
}

fn decisions_naming(connection: &Connection, nodes: &[NodeId]) -> StoreResult<BTreeSet<i64>> {
    let mut statement = connection.prepare_cached("SELECT decision FROM decision_node WHERE node = ?1")?;
    let mut named = BTreeSet::new();
    for node in nodes {
        named.extend(collect(statement.query_map([node.0], |row| row.get::<_, i64>(0))?)?);
    }
    Ok(named)
}

/// Writes a change with its line in the audit.
pub(super) fn change(connection: &Connection, change: &DecisionChange, now_us: i64) -> StoreResult<()> {
    let (action, detail) = match change {
        DecisionChange::Decide(new) => {
            let number = insert(connection, new, now_us)?;
            let action = match &new.decided {
                Decided::Link(..) => "profile.linked",
                Decided::Split { .. } | Decided::Detach { .. } => "profile.split",
                Decided::Pin { .. } => "profile.pinned",
            };
            (action, format!("decision {number} by {}, {} records", new.by, new.decided.nodes().len()))
        }
        DecisionChange::Undo { decision, by } => {
            let sql = "UPDATE decision SET undone_by = ?2, undone_at_us = ?3 WHERE decision = ?1 AND undone_at_us IS NULL";
            connection.prepare_cached(sql)?.execute(params![decision, by, now_us])?;
            ("profile.decision_undone", format!("decision {decision} by {by}"))
        }
    };
    advance_counter(connection, CHANGES, 1)?;
    let sql = "INSERT INTO audit (at_us, action, detail) VALUES (?1, ?2, ?3)";
    connection.prepare_cached(sql)?.execute(params![now_us, action, detail])?;
    Ok(())
}

fn insert(connection: &Connection, new: &NewDecision, now_us: i64) -> StoreResult<i64> {
    let (verdict, value, attribute) = match &new.decided {
        Decided::Link(..) => ("link", None, None),
        Decided::Split { .. } => ("split", None, None),
        Decided::Detach { kind, value, .. } => ("detach", Some((kind, value)), None),
        Decided::Pin { attribute, .. } => ("pin", None, Some(attribute)),
    };
    let sql = "INSERT INTO decision (verdict, kind, value, attribute, decided_by, reason_sealed, decided_at_us)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let (kind, value) = value.unzip();
    let row = params![verdict, kind, value, attribute, new.by, new.reason_sealed, now_us];
    connection.prepare_cached(sql)?.execute(row)?;
    let number = connection.last_insert_rowid();
    let mut put = connection.prepare_cached("INSERT INTO decision_node (decision, place, node) VALUES (?1, ?2, ?3)")?;
    for (place, node) in (0_i64..).zip(new.decided.nodes()) {
        put.execute([number, place, node.0])?;
    }
    Ok(number)
}

/// Takes nodes out of the decisions that name them; a decision that says nothing without them goes as a whole, and a reason
/// that may name the person goes in any case.
pub(super) fn forget_nodes(connection: &Connection, nodes: &[NodeId]) -> StoreResult<()> {
    for decision in decisions_naming(connection, nodes)? {
        connection.prepare_cached("UPDATE decision SET reason_sealed = NULL WHERE decision = ?1")?.execute([decision])?;
        let mut remove = connection.prepare_cached("DELETE FROM decision_node WHERE decision = ?1 AND node = ?2")?;
        for node in nodes {
            remove.execute([decision, node.0])?;
        }
        let sql = "SELECT d.verdict, count(n.node), min(n.place) FROM decision d
            LEFT JOIN decision_node n ON n.decision = d.decision WHERE d.decision = ?1";
        let (verdict, left, first): (String, i64, Option<i64>) =
            connection.prepare_cached(sql)?.query_row([decision], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        // Of a pair, of a pin, and of a split without the node that was split off, nothing is left to say.
        let says_something = if verdict == "detach" { left > 0 } else { left > 1 && first == Some(0) };
        if !says_something {
            connection.prepare_cached("DELETE FROM decision_node WHERE decision = ?1")?.execute([decision])?;
            connection.prepare_cached("DELETE FROM decision WHERE decision = ?1")?.execute([decision])?;
        }
    }
    Ok(())
}

/// A decision without its nodes.
struct Head {
    decision: i64,
    verdict: String,
    value: Option<(u16, [u8; 17])>,
    attribute: Option<String>,
    by: String,
    reason_sealed: Option<Vec<u8>>,
    decided_at_us: i64,
    undone: Option<(String, i64)>,
}

impl Head {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let (kind, value): (Option<u16>, Option<[u8; 17]>) = (row.get(2)?, row.get(3)?);
        let (undone_by, undone_at_us): (Option<String>, Option<i64>) = (row.get(8)?, row.get(9)?);
        Ok(Self {
            decision: row.get(0)?,
            verdict: row.get(1)?,
            value: kind.zip(value),
            attribute: row.get(4)?,
            by: row.get(5)?,
            reason_sealed: row.get(6)?,
            decided_at_us: row.get(7)?,
            undone: undone_by.zip(undone_at_us),
        })
    }

    fn with_nodes(self, connection: &Connection) -> StoreResult<DecisionRow> {
        let mut statement = connection.prepare_cached("SELECT node FROM decision_node WHERE decision = ?1 ORDER BY place")?;
        let nodes = collect(statement.query_map([self.decision], |row| Ok(NodeId(row.get(0)?)))?)?;
        let decided = match (self.verdict.as_str(), self.value, self.attribute, nodes.as_slice()) {
            ("link", None, None, [one, other]) => Decided::Link(*one, *other),
            ("split", None, None, [node, from @ ..]) => Decided::Split { node: *node, from: from.to_vec() },
            ("detach", Some((kind, value)), None, _) => Decided::Detach { kind, value, nodes },
            ("pin", None, Some(attribute), [node]) => Decided::Pin { attribute, node: *node },
            _ => return Err(Error::bug("a decision has a form that this program does not write").into()),
        };
        Ok(DecisionRow {
            decision: self.decision,
            decided,
            by: self.by,
            reason_sealed: self.reason_sealed,
            decided_at_us: self.decided_at_us,
            undone: self.undone,
        })
    }
}
