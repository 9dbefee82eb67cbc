//! Lake tables as text: a head of names, `name:type` where the name does not tell the type, then one line per row. `-` is
//! null, `''` an empty text, a time is a day (`day 3` is written 3). `_epoch` is 1, `_deleted` is false and `_at` the day of `_seq` unless the
//! table says otherwise.

use std::sync::{Arc, OnceLock};

use affluent_lake::{EmbeddedLake, Lake, LakeOptions, LakeQuery, Lookup};
use affluent_model::Result;
use affluent_model::consent::ConsentTerms;
use affluent_model::schema::{Field, FieldType};
use arrow::array::{
    ArrayRef, AsArray, BinaryArray, BooleanArray, Decimal128Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Int64Type, Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::call_table::{CallCounts, StrictestWords};
use crate::consent::ConsentSource;
use crate::events::{CallPass, call_function};
use crate::expiries::Expiries;
use crate::lineage::rule::pin_function;
use crate::pass_table::PassTable;
use crate::snapshot::{PROFILE_IDS, PreparedMeasure, PreparedTrait, SnapshotQuery};
use crate::source::{AttributeSource, NUMBER_OF, PROFILE_OF, ParentTable, TableColumn, TableSource, Versions};

const DAY_US: i64 = 86_400_000_000;
/// Queries run on this day.
const TODAY: i64 = 100;

/// A table in memory.
pub(super) type Table = (String, SchemaRef, Vec<RecordBatch>);

/// A lake table and what profiles take from it.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) source: TableSource,
    table: Table,
}

/// A table `connection.stream`.
pub(super) fn table(name: &str, text: &str) -> Case {
    let mut lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).filter(|cells| !cells.is_empty());
    let mut head: Vec<&str> = lines.next().unwrap();
    let mut rows: Vec<Vec<&str>> = lines.collect();
    let sequence = head.iter().position(|name| *name == "_seq").unwrap();
    for (name, value) in [("_epoch", Some("1")), ("_deleted", Some("false")), ("_at", None)] {
        if !head.contains(&name) {
            head.push(name);
            rows.iter_mut().for_each(|row| row.push(value.unwrap_or(row[sequence])));
        }
    }
    let columns: Vec<TableColumn> = head.iter().map(|name| column(name)).collect();
    let stored = |column: &TableColumn| if column.sealed { FieldType::Binary } else { column.kind };
    let fields = columns.iter().map(|column| Field::new(column.name.as_str(), stored(column)).to_arrow());
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let cells = |place: usize| {
        rows.iter().map(move |row| (row[place] != "-").then_some(row[place].trim_matches('\''))).collect::<Vec<_>>()
    };
    let arrays = columns.iter().enumerate().map(|(place, column)| array(stored(column), &cells(place))).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).unwrap();
    Case { source: source(name, &columns), table: (name.to_owned(), schema, vec![batch]) }
}

fn column(head: &str) -> TableColumn {
    let (name, word) = head.split_once(':').unwrap_or((head, ""));
    let kind = match name {
        "_seq" | "_epoch" | "_node" | "node" => FieldType::Integer,
        "_deleted" => FieldType::Boolean,
        "_order_net" => FieldType::Decimal,
        "_at" | "_order_at" => FieldType::Timestamp,
        _ if name.starts_with("_consent_at_") || name.starts_with("_consentuntil_") => FieldType::Timestamp,
        _ if name.starts_with("_consent_") => FieldType::Boolean,
        _ if name.starts_with("_id_") => FieldType::Binary,
        _ => FieldType::from_word(word).unwrap_or(FieldType::Text),
    };
    TableColumn { name: name.to_owned(), kind, sealed: word == "sealed" }
}

fn source(name: &str, columns: &[TableColumn]) -> TableSource {
    let (connection, stream) = name.split_once('.').unwrap_or(("", name));
    let after =
        |prefix: &'static str| columns.iter().filter_map(move |column| column.name.strip_prefix(prefix)).map(str::to_owned);
    TableSource {
        table: name.to_owned(),
        connection: connection.to_owned(),
        stream: stream.to_owned(),
        columns: columns.iter().filter(|column| !column.name.starts_with('_')).cloned().collect(),
        has_primary_key: true,
        versions: Versions::Unknown,
        attributes: Vec::new(),
        identifiers: after("_id_").collect(),
        consent: after("_consent_").filter(|name| !name.starts_with("at_")).map(|name| consent(name, columns)).collect(),
        has_order: columns.iter().any(|column| column.name == "_order_id"),
        parent: None,
    }
}

/// `_consent_news` is about the purpose `news`; `_consent_news-sms` about its channel `sms`, `_consent_news-sms-shop` about
/// the scope `shop` of that.
fn consent(name: String, columns: &[TableColumn]) -> ConsentSource {
    let has = |prefix: &str| columns.iter().any(|column| column.name == format!("{prefix}{name}"));
    let mut words = name.split('-').map(str::to_owned);
    let purpose = words.next().unwrap_or_default();
    let mut optional = || words.next().filter(|word| !word.is_empty());
    let (channel, scope) = (optional(), optional());
    ConsentSource {
        terms: ConsentTerms { purpose, channel, scope, ..ConsentTerms::default() },
        has_status: has("_consentstatus_"),
        has_expiry: has("_consentuntil_"),
        has_jurisdiction: has("_consentin_"),
        name,
    }
}

fn array(kind: FieldType, cells: &[Option<&str>]) -> ArrayRef {
    let numbers = cells.iter().map(|cell| cell.map(|cell| cell.parse::<i64>().unwrap_or_default()));
    match kind {
        FieldType::Integer => Arc::new(numbers.collect::<Int64Array>()),
        FieldType::Boolean => Arc::new(cells.iter().map(|cell| cell.map(|cell| cell == "true")).collect::<BooleanArray>()),
        FieldType::Timestamp => {
            Arc::new(numbers.map(|day| day.map(|day| day * DAY_US)).collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
        }
        FieldType::Decimal => {
            let millionths = numbers.map(|number| number.map(|number| i128::from(number) * 1_000_000));
            Arc::new(millionths.collect::<Decimal128Array>().with_precision_and_scale(38, 6).unwrap())
        }
        FieldType::Binary => Arc::new(cells.iter().map(|cell| cell.map(str::as_bytes)).collect::<BinaryArray>()),
        _ => Arc::new(StringArray::from(cells.to_vec())),
    }
}

impl Case {
    pub(super) fn name(&self) -> &str {
        &self.table.0
    }

    /// Own columns that are attributes of the same name.
    pub(super) fn with_attributes(mut self, names: &[&str]) -> Self {
        let attribute = |name: &&str| {
            let column = self.source.column(name).unwrap();
            AttributeSource { name: column.name.clone(), column: column.name.clone(), sealed: column.sealed, kind: column.kind }
        };
        self.source.attributes = names.iter().map(attribute).collect();
        self
    }

    pub(super) fn with_parent(mut self, table: &str, field: &str) -> Self {
        self.source.parent = Some(ParentTable { table: table.to_owned(), field: field.to_owned() });
        self
    }

    /// The rows that are void are listed instead of looked for.
    pub(super) fn with_superseded(mut self, table: &str) -> Self {
        self.source.versions = Versions::Superseded(table.to_owned());
        self
    }

    pub(super) fn without_key(mut self) -> Self {
        self.source.has_primary_key = false;
        self
    }
}

pub(super) fn sources(cases: &[Case]) -> Vec<TableSource> {
    cases.iter().map(|case| case.source.clone()).collect()
}

/// `1=A 2=A 3=B`: node 1 is profile A, whose number is 0 …
pub(super) fn assignments(text: &str) -> Case {
    let number = |letter: &str| letter.bytes().next().unwrap() - b'A';
    let pair = |pair: &str| pair.split_once('=').map(|(node, letter)| format!("{node} {} 0\n", number(letter))).unwrap();
    let pairs: String = text.split_whitespace().map(pair).collect();
    table(ASSIGNMENTS, &format!("node profile:integer _seq\n{pairs}"))
}

const ASSIGNMENTS: &str = "assignments";
/// The table whose rows are void in another, by their `_seq`.
const VOID: &str = "void";

/// `city: 3 1`: the attribute is pinned to node 3, before to node 1.
pub(super) fn pins(text: &str) -> Case {
    let (attribute, nodes) = text.split_once(':').unwrap();
    let rows: String = nodes.split_whitespace().map(|node| format!("{node} 0\n")).collect();
    table(&format!("{PINS}{attribute}"), &format!("node _seq\n{rows}"))
}

/// Begins the names of the tables of pins.
const PINS: &str = "pins.";

/// Integers of a column of a table.
fn integers(table: &Table, column: &str) -> Vec<i64> {
    table.2.iter().flat_map(|rows| rows.column_by_name(column).unwrap().as_primitive::<Int64Type>().values().to_vec()).collect()
}

/// What a computation gives to queries besides tables: functions, and the ids A, B … of profiles.
fn given(memory: &[Table]) -> (Vec<Lookup>, Table) {
    let (mut numbers, mut lookups) = (Vec::new(), Vec::new());
    for table in memory {
        if table.0 == ASSIGNMENTS {
            for (node, number) in integers(table, "node").into_iter().zip(integers(table, "profile")) {
                let node = usize::try_from(node).unwrap();
                numbers.resize(numbers.len().max(node + 1), Lookup::NONE);
                numbers[node] = u32::try_from(number).unwrap();
            }
        } else if let Some(attribute) = table.0.strip_prefix(PINS) {
            let nodes = integers(table, "node");
            let place = |node| nodes.iter().position(|pinned| *pinned == node).and_then(|place| u32::try_from(place).ok());
            let places = (0..=nodes.iter().copied().max().unwrap()).map(|node| place(node).unwrap_or(Lookup::NONE)).collect();
            lookups.push(Lookup::numbers(&pin_function(attribute), Arc::new(places)));
        } else if table.0 == VOID {
            lookups.push(Lookup::among(VOID, &integers(table, "_seq")));
        }
    }
    let last = numbers.iter().filter(|number| **number != Lookup::NONE).max().map_or(0, |last| last + 1);
    let ids: String = ('A'..='Z').take(usize::try_from(last).unwrap()).map(|letter| format!("0 {letter}\n")).collect();
    let number = |id: &str| id.bytes().next().map(|letter| i64::from(letter - b'A'));
    lookups.extend([Lookup::numbers(PROFILE_OF, Arc::new(numbers)), Lookup::texts(NUMBER_OF, Arc::new(number))]);
    let ids = table("ids", &format!("_seq profile\n{ids}")).table.2[0].project(&[1]).unwrap();
    (lookups, (PROFILE_IDS.to_owned(), ids.schema(), vec![ids]))
}

pub(super) fn aggregate(name: &str, from: &str, expression: &str) -> PreparedTrait {
    let measure = PreparedMeasure::Aggregate { expression: expression.to_owned(), is_count: expression.starts_with("count(") };
    PreparedTrait { name: name.to_owned(), from: from.to_owned(), measure, window_ms: None }
}

/// Planning is recursive and in a debug build hungry: what a thread of the runtime that queries the lake has, too.
const STACK_BYTES: usize = 8 << 20;

/// The rows of a query as text, sorted: cells with `|` between, null as `-`.
pub(super) fn run(sql: &str, cases: &[Case]) -> Vec<String> {
    run_query(sql, None, Vec::new(), cases)
}

/// The members of segments, as [`run`] gives rows.
pub(super) fn run_segments(sql: &str, calls: Vec<CallPass>, cases: &[Case]) -> Vec<String> {
    run_query(sql, None, calls, cases)
}

/// The columns of a snapshot, as [`run`] gives rows.
pub(super) fn run_snapshot(columns: &str, snapshot: SnapshotQuery, cases: &[Case]) -> Vec<String> {
    run_query(&format!("SELECT {columns} FROM ({}) AS s", snapshot.sql), Some(snapshot), Vec::new(), cases)
}

fn run_query(sql: &str, snapshot: Option<SnapshotQuery>, calls: Vec<CallPass>, cases: &[Case]) -> Vec<String> {
    let memory: Vec<Table> = cases.iter().map(|case| case.table.clone()).collect();
    let sql = sql.to_owned();
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || rows_of(sql, snapshot, &calls, memory));
    let mut rows = thread.unwrap().join().unwrap();
    rows.sort_unstable();
    rows
}

/// One lake for all queries: its tables are in memory and come with each query, and what costs is to open it.
fn lake() -> &'static EmbeddedLake {
    static LAKE: OnceLock<(tempfile::TempDir, EmbeddedLake)> = OnceLock::new();
    let (_, lake) = LAKE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let options =
            LakeOptions { dir: dir.path().join("lake"), memory_bytes: 64 << 20, memory_bytes_max: 64 << 20, partitions: 2 };
        let lake = EmbeddedLake::open(options).unwrap();
        (dir, lake)
    });
    lake
}

fn rows_of(sql: String, snapshot: Option<SnapshotQuery>, calls: &[CallPass], mut memory: Vec<Table>) -> Vec<String> {
    let (mut lookups, ids) = given(&memory);
    let profiles = ids.2[0].num_rows();
    memory.push(ids);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let now_us = TODAY * DAY_US;
    for pass in snapshot.iter().flat_map(|snapshot| &snapshot.passes) {
        let (memory_now, lookups) = (memory.clone(), lookups.clone());
        let query = LakeQuery { memory: memory_now, lookups, ..LakeQuery::new(pass.sql.clone(), Vec::new(), now_us) };
        let mut table = PassTable::new(pass, profiles);
        runtime.block_on(lake().stream(query, &mut |rows| table.take(rows))).unwrap();
        let rows = table.finish().unwrap();
        memory.push((pass.table.clone(), rows.schema(), vec![rows]));
    }
    let stream = |sql: &str, take: &mut (dyn FnMut(RecordBatch) -> Result<()> + Send)| {
        let (memory, lookups) = (memory.clone(), given(&memory).0);
        let query = LakeQuery { memory, lookups, ..LakeQuery::new(sql.to_owned(), Vec::new(), now_us) };
        runtime.block_on(lake().stream(query, take)).unwrap();
    };
    let mut expiries = Expiries::new(profiles);
    for pass in calls {
        match pass {
            CallPass::Records { calls, sql } => {
                let mut counts = CallCounts::new(calls.iter().map(|(_, window_ms)| *window_ms).collect(), profiles);
                stream(sql, &mut |rows| counts.take(&rows, &mut expiries));
                let counts = calls.iter().zip(counts.finish());
                lookups.extend(counts.map(|((call, _), counts)| Lookup::numbers(&call_function(*call), Arc::new(counts))));
            }
            CallPass::Consent { call, kinds } => {
                let mut words = StrictestWords::new(profiles);
                for kind in kinds {
                    stream(&kind.said, &mut |rows| words.take_said(&rows));
                    stream(&kind.carriers, &mut |rows| words.take_carriers(&rows));
                    words.settle(&mut expiries);
                }
                lookups.push(Lookup::numbers(&call_function(*call), Arc::new(words.finish())));
            }
        }
    }
    let fold = snapshot.map(|snapshot| snapshot.survivors);
    let query = LakeQuery { memory, lookups, fold, ..LakeQuery::new(sql, Vec::new(), now_us) };
    let batches = runtime.block_on(lake().query(query)).unwrap();
    batches.iter().flat_map(text_rows).collect()
}

fn text_rows(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("-").with_timestamp_tz_format(Some("%j"));
    let formatters: Vec<ArrayFormatter<'_>> =
        batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
    (0..batch.num_rows())
        .map(|row| formatters.iter().map(|cells| cells.value(row).to_string()).collect::<Vec<_>>().join("|"))
        .collect()
}
