//! The tables, as a list of steps: a step that was released is never changed, a new one is added at the end.
//!
//! Tables whose rows come in the order of their key are plain or `WITHOUT ROWID`; what is looked up by a random value has a
//! table of its own, so that bulk writes can go through it sorted. Profile ids are 16 bytes, blind indexes 17.

use rusqlite::Connection;

use super::{bordering, numbering, packing};
use crate::error::StoreResult;

/// `Affl`: tells our files from those of other programs.
pub(super) const APPLICATION_ID: i64 = 0x4166_666C;

/// Step n brings a file of version n to version n + 1.
pub(super) const MIGRATIONS: &[Step] = &[
    Step::Sql(VERSION_1),
    Step::Sql(VERSION_2),
    Step::Sql(VERSION_3),
    Step::Sql(VERSION_4),
    Step::Sql(VERSION_5),
    Step::Sql(VERSION_6),
    Step::Rows(packing::pack),
    Step::Sql(VERSION_8),
    Step::Rows(numbering::number),
    Step::Rows(packing::pack_recent),
    Step::Rows(packing::pack_more),
    Step::Sql(VERSION_12),
    Step::Rows(bordering::find_all),
];

/// A step.
#[derive(Clone, Copy)]
pub(super) enum Step {
    Sql(&'static str),
    /// Lays rows out anew.
    Rows(fn(&Connection) -> StoreResult<()>),
}

const VERSION_1: &str = "
CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
-- Words that repeat in many rows: connections, rules, syncs, segments.
CREATE TABLE word (word INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT;

CREATE TABLE stored_key (
    purpose TEXT NOT NULL, key_id INTEGER NOT NULL, version INTEGER NOT NULL, wrapped BLOB NOT NULL,
    PRIMARY KEY (purpose, key_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE run_key (key_id INTEGER PRIMARY KEY, run INTEGER NOT NULL, wrapped BLOB NOT NULL) STRICT;

CREATE TABLE run (
    run INTEGER PRIMARY KEY AUTOINCREMENT, pipeline TEXT NOT NULL, holder TEXT NOT NULL, fence INTEGER NOT NULL,
    scheduled_for_us INTEGER, started_at_us INTEGER NOT NULL, ended_at_us INTEGER, outcome TEXT, report_json TEXT
) STRICT;
CREATE INDEX run_by_pipeline ON run (pipeline, run);
CREATE TABLE lease (
    pipeline TEXT PRIMARY KEY, run INTEGER NOT NULL, fence INTEGER NOT NULL, holder TEXT NOT NULL,
    taken_at_us INTEGER NOT NULL, expires_at_us INTEGER NOT NULL, is_released INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE slot (
    pipeline TEXT NOT NULL, scheduled_for_us INTEGER NOT NULL, claimed_at_us INTEGER NOT NULL,
    PRIMARY KEY (pipeline, scheduled_for_us)
) STRICT, WITHOUT ROWID;

CREATE TABLE stream (
    pipeline TEXT NOT NULL, stream TEXT NOT NULL, generation INTEGER NOT NULL, state BLOB, is_complete INTEGER NOT NULL,
    records INTEGER NOT NULL, updated_at_us INTEGER NOT NULL,
    read INTEGER NOT NULL, filtered INTEGER NOT NULL, rejected INTEGER NOT NULL, admitted INTEGER NOT NULL,
    PRIMARY KEY (pipeline, stream)
) STRICT, WITHOUT ROWID;
CREATE TABLE file (
    id INTEGER PRIMARY KEY AUTOINCREMENT, pipeline TEXT NOT NULL, stream TEXT NOT NULL, lake_table TEXT NOT NULL,
    name TEXT NOT NULL UNIQUE, rows INTEGER NOT NULL, bytes INTEGER NOT NULL, sequence INTEGER NOT NULL,
    generation INTEGER NOT NULL, is_resolved INTEGER NOT NULL
) STRICT;
CREATE INDEX file_by_table ON file (lake_table, sequence);
CREATE INDEX file_by_stream ON file (pipeline, stream, generation);
CREATE INDEX file_unresolved ON file (sequence) WHERE NOT is_resolved;

CREATE TABLE node (
    node INTEGER PRIMARY KEY, key BLOB NOT NULL, source INTEGER NOT NULL, first_seen_us INTEGER NOT NULL
) STRICT;
CREATE TABLE node_by_key (key BLOB PRIMARY KEY, node INTEGER NOT NULL) STRICT, WITHOUT ROWID;
-- Apart from the nodes, so that erasing touches nothing else.
CREATE TABLE node_key (node INTEGER PRIMARY KEY, wrapped BLOB NOT NULL) STRICT;
CREATE TABLE identifier_kind (kind INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE edge (
    node INTEGER NOT NULL, kind INTEGER NOT NULL, value BLOB NOT NULL, first_seen_us INTEGER NOT NULL,
    last_seen_us INTEGER NOT NULL,
    PRIMARY KEY (node, kind, value)
) STRICT, WITHOUT ROWID;
CREATE TABLE edge_by_value (
    kind INTEGER NOT NULL, value BLOB NOT NULL, node INTEGER NOT NULL,
    PRIMARY KEY (kind, value, node)
) STRICT, WITHOUT ROWID;
CREATE TABLE blocked_identifier (
    kind INTEGER NOT NULL, value BLOB NOT NULL, reason TEXT NOT NULL, nodes INTEGER NOT NULL,
    PRIMARY KEY (kind, value)
) STRICT, WITHOUT ROWID;
CREATE TABLE assignment (node INTEGER PRIMARY KEY, profile BLOB NOT NULL) STRICT;
CREATE TABLE assignment_by_profile (
    profile BLOB NOT NULL, node INTEGER NOT NULL,
    PRIMARY KEY (profile, node)
) STRICT, WITHOUT ROWID;
CREATE TABLE profile (profile BLOB PRIMARY KEY, created_at_us INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE profile_alias (old BLOB PRIMARY KEY, new BLOB NOT NULL, at_us INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX profile_alias_by_new ON profile_alias (new);
CREATE TABLE link (
    node_a INTEGER NOT NULL, node_b INTEGER NOT NULL, rule INTEGER NOT NULL, kind INTEGER NOT NULL,
    value BLOB NOT NULL, refused_by TEXT,
    PRIMARY KEY (node_a, node_b, rule, kind, value)
) STRICT, WITHOUT ROWID;
CREATE INDEX link_by_b ON link (node_b);

CREATE TABLE snapshot (
    version INTEGER PRIMARY KEY, rows INTEGER NOT NULL, definition_hash TEXT NOT NULL, input_sequence INTEGER NOT NULL,
    computed_at_us INTEGER NOT NULL
) STRICT;
CREATE TABLE snapshot_file (
    position INTEGER PRIMARY KEY, lake_table TEXT NOT NULL, name TEXT NOT NULL UNIQUE, rows INTEGER NOT NULL,
    bytes INTEGER NOT NULL, sequence INTEGER NOT NULL
) STRICT;
CREATE TABLE membership (
    segment INTEGER NOT NULL, profile BLOB NOT NULL, entered_at_us INTEGER NOT NULL,
    PRIMARY KEY (segment, profile)
) STRICT, WITHOUT ROWID;
CREATE INDEX membership_by_profile ON membership (profile);
CREATE TABLE membership_past (
    segment INTEGER NOT NULL, profile BLOB NOT NULL, entered_at_us INTEGER NOT NULL,
    left_at_us INTEGER NOT NULL,
    PRIMARY KEY (segment, profile, entered_at_us)
) STRICT, WITHOUT ROWID;
CREATE INDEX membership_past_by_profile ON membership_past (profile);

-- planned: version of the newest plan begun; committed: of the one in force.
CREATE TABLE sync (sync INTEGER PRIMARY KEY REFERENCES word, planned INTEGER NOT NULL, committed INTEGER NOT NULL) STRICT;
-- hash NULL: in doubt.
CREATE TABLE image (
    sync INTEGER NOT NULL, key BLOB NOT NULL, hash BLOB, version INTEGER NOT NULL, remote_id TEXT,
    match_sealed BLOB NOT NULL, acknowledged_at_us INTEGER NOT NULL,
    PRIMARY KEY (sync, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE refusal (
    sync INTEGER NOT NULL, key BLOB NOT NULL, operation INTEGER NOT NULL, hash BLOB NOT NULL, attempts INTEGER NOT NULL,
    is_skip INTEGER NOT NULL, code TEXT NOT NULL, message TEXT NOT NULL, at_us INTEGER NOT NULL,
    PRIMARY KEY (sync, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE outbox_batch (
    batch INTEGER PRIMARY KEY AUTOINCREMENT, sync INTEGER NOT NULL, operation INTEGER NOT NULL, token TEXT,
    attempts INTEGER NOT NULL, taken_at_us INTEGER NOT NULL
) STRICT;
-- Rows of the outbox in pieces; state: 0 staged, 1 pending, 2 waiting behind a row in flight, 3 in flight.
CREATE TABLE outbox_piece (
    piece INTEGER PRIMARY KEY AUTOINCREMENT, sync INTEGER NOT NULL, state INTEGER NOT NULL, operation INTEGER NOT NULL,
    batch INTEGER REFERENCES outbox_batch, retry_at_us INTEGER, rows INTEGER NOT NULL, bytes INTEGER NOT NULL
) STRICT;
CREATE INDEX outbox_piece_by_state ON outbox_piece (sync, state, operation, piece);
CREATE INDEX outbox_piece_by_batch ON outbox_piece (batch, piece);
CREATE TABLE outbox_body (piece INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;

CREATE TABLE dead_letter (
    id INTEGER PRIMARY KEY AUTOINCREMENT, pipeline TEXT NOT NULL, run INTEGER NOT NULL, stream TEXT NOT NULL,
    stage INTEGER NOT NULL, place TEXT NOT NULL, code TEXT NOT NULL, message TEXT NOT NULL, payload_sealed BLOB,
    at_us INTEGER NOT NULL
) STRICT;
CREATE INDEX dead_letter_by_kind ON dead_letter (pipeline, stream, stage, code);
CREATE TABLE plugin_value (
    pipeline TEXT NOT NULL, plugin TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (pipeline, plugin, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at_us INTEGER NOT NULL, action TEXT NOT NULL, detail TEXT NOT NULL
) STRICT;
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit BEGIN SELECT raise(ABORT, 'the audit trail is only appended to'); END;
CREATE TRIGGER audit_is_not_shortened BEFORE DELETE ON audit BEGIN SELECT raise(ABORT, 'the audit trail is only appended to'); END;
";

const VERSION_2: &str = "
-- OAuth tokens of connections, sealed, and who renews them; sealed NULL: claimed for the first time.
CREATE TABLE credential (
    connection TEXT NOT NULL, slot TEXT NOT NULL, version INTEGER NOT NULL, sealed BLOB, holder TEXT, claim_ends_us INTEGER,
    PRIMARY KEY (connection, slot)
) STRICT, WITHOUT ROWID;
";

const VERSION_3: &str = "
-- Erased persons: the request, the nodes that stay as marks, whom it was told. forgotten_at_us NULL: steps are to be taken.
CREATE TABLE erasure (
    erasure INTEGER PRIMARY KEY AUTOINCREMENT, profile BLOB NOT NULL, requested_at_us INTEGER NOT NULL, forgotten_at_us INTEGER
) STRICT;
CREATE TABLE erasure_node (erasure INTEGER NOT NULL, node INTEGER NOT NULL, PRIMARY KEY (erasure, node)) STRICT, WITHOUT ROWID;
CREATE TABLE erasure_receipt (
    erasure INTEGER NOT NULL, pipeline TEXT NOT NULL, destination TEXT NOT NULL, state TEXT NOT NULL, at_us INTEGER NOT NULL,
    PRIMARY KEY (erasure, pipeline)
) STRICT, WITHOUT ROWID;
-- Who stays out: keyed hashes that survive the person's keys.
CREATE TABLE suppression (
    kind TEXT NOT NULL, hash BLOB NOT NULL, added_at_us INTEGER NOT NULL,
    PRIMARY KEY (kind, hash)
) STRICT, WITHOUT ROWID;
";

const VERSION_4: &str = "
-- What people decided about who is one person. verdict: link, split, detach, pin; kind and value are those of a detached
-- identifier, attribute is that of a pinned value. The first node of a split is the one that was split off. undone_at_us
-- NULL: it stands.
CREATE TABLE decision (
    decision INTEGER PRIMARY KEY AUTOINCREMENT, verdict TEXT NOT NULL, kind INTEGER, value BLOB, attribute TEXT,
    decided_by TEXT NOT NULL, reason_sealed BLOB, decided_at_us INTEGER NOT NULL, undone_by TEXT, undone_at_us INTEGER
) STRICT;
CREATE TABLE decision_node (
    decision INTEGER NOT NULL, place INTEGER NOT NULL, node INTEGER NOT NULL,
    PRIMARY KEY (decision, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX decision_by_node ON decision_node (node);
-- Who is delivered nowhere and is not erased: keyed hashes of identifiers, and the records a person is made of.
CREATE TABLE delivery_stop (
    kind TEXT NOT NULL, hash BLOB NOT NULL, added_at_us INTEGER NOT NULL,
    PRIMARY KEY (kind, hash)
) STRICT, WITHOUT ROWID;
CREATE TABLE delivery_stop_node (node INTEGER PRIMARY KEY, added_at_us INTEGER NOT NULL) STRICT;
-- Identifiers for which everything was taken back, by blind index, and when: they are in delivery_stop once.
CREATE TABLE withdrawal (
    kind INTEGER NOT NULL, value BLOB NOT NULL, withdrawn_at_us INTEGER NOT NULL,
    PRIMARY KEY (kind, value)
) STRICT, WITHOUT ROWID;
-- What a destination is asked of an erased person, a row for each that it holds. match_sealed NULL: nothing is left to ask.
CREATE TABLE erasure_call (
    erasure INTEGER NOT NULL, pipeline TEXT NOT NULL, key BLOB NOT NULL, match_sealed BLOB, remote_id TEXT,
    state TEXT NOT NULL, reference TEXT, refusal TEXT, at_us INTEGER NOT NULL,
    PRIMARY KEY (erasure, pipeline, key)
) STRICT, WITHOUT ROWID;
";

const VERSION_5: &str = "
-- Profiles whose nodes are others than the snapshot knows. Empty until there is a snapshot.
CREATE TABLE profile_touched (profile BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;
-- What the next snapshot needs to go on from this one, as its maker wrote it.
ALTER TABLE snapshot ADD COLUMN basis TEXT NOT NULL DEFAULT '';
";

const VERSION_6: &str = "
-- Look-ups by random values in two tables each: few rows go into the small one, which is moved now and then. Counters of
-- the tables' names tell about how many rows there are.
ALTER TABLE node_by_key RENAME TO node_by_key_base;
CREATE TABLE node_by_key_recent (key BLOB PRIMARY KEY, node INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE VIEW node_by_key AS SELECT key, node FROM node_by_key_base UNION ALL SELECT key, node FROM node_by_key_recent;
ALTER TABLE edge_by_value RENAME TO edge_by_value_base;
CREATE TABLE edge_by_value_recent (
    kind INTEGER NOT NULL, value BLOB NOT NULL, node INTEGER NOT NULL,
    PRIMARY KEY (kind, value, node)
) STRICT, WITHOUT ROWID;
CREATE VIEW edge_by_value AS
    SELECT kind, value, node FROM edge_by_value_base UNION ALL SELECT kind, value, node FROM edge_by_value_recent;
ALTER TABLE assignment_by_profile RENAME TO assignment_by_profile_base;
CREATE TABLE assignment_by_profile_recent (
    profile BLOB NOT NULL, node INTEGER NOT NULL,
    PRIMARY KEY (profile, node)
) STRICT, WITHOUT ROWID;
CREATE VIEW assignment_by_profile AS
    SELECT profile, node FROM assignment_by_profile_base UNION ALL SELECT profile, node FROM assignment_by_profile_recent;
INSERT INTO counter (name, value)
    SELECT 'node_by_key_base', count(*) FROM node_by_key_base
    UNION ALL SELECT 'edge_by_value_base', count(*) FROM edge_by_value_base
    UNION ALL SELECT 'assignment_by_profile_base', count(*) FROM assignment_by_profile_base;
";

const VERSION_8: &str = "
-- Pipelines that are due because a webhook told news that no run has read; numbers are of the counter `news`.
CREATE TABLE news (pipeline TEXT PRIMARY KEY, number INTEGER NOT NULL) STRICT, WITHOUT ROWID;
-- What services ask of a person. closed_at_us NULL: it is open.
CREATE TABLE request (
    request INTEGER PRIMARY KEY AUTOINCREMENT, connection TEXT NOT NULL, topic TEXT NOT NULL, about TEXT, mark BLOB NOT NULL,
    asked_at_us INTEGER NOT NULL, due_at_us INTEGER NOT NULL, closed_at_us INTEGER, answer TEXT, closed_by TEXT
) STRICT;
CREATE UNIQUE INDEX request_open ON request (connection, mark) WHERE closed_at_us IS NULL;
";

const VERSION_12: &str = "
-- Among recent links stand marks (relinking.rs), which older programs would take for links.
";
