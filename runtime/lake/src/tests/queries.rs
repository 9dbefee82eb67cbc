use affluent_model::Error;
use arrow::array::BinaryArray;

use super::*;
use crate::Lookup;

fn orders() -> SchemaRef {
    let fields =
        [("_pk", FieldType::Text), ("_seq", FieldType::Integer), ("_deleted", FieldType::Boolean), ("net", FieldType::Decimal)];
    schema(&fields)
}

fn order(pk: &str, seq: i64, deleted: bool, net: i128) -> RecordBatch {
    batch(&orders(), vec![texts(&[Some(pk)]), integers(&[seq]), booleans(&[deleted]), decimals(&[net])])
}

async fn run(lake: &EmbeddedLake, sql: &str, tables: Vec<LakeTable>) -> Result<Vec<String>, Error> {
    lake.query(select(sql, tables)).await.map(|batches| rows(&batches))
}

#[tokio::test]
async fn a_file_without_a_column_reads_as_null_there() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(&dir);
    let old = schema(&[("id", FieldType::Integer)]);
    let new = schema(&[("tier", FieldType::Text), ("id", FieldType::Integer)]);
    write(&lake, "old", &batch(&old, vec![integers(&[1])]));
    write(&lake, "new", &batch(&new, vec![texts(&[Some("gold")]), integers(&[2])]));

    let tables = || vec![table("shop.customers", &new, &["old", "new"])];
    let found = run(&lake, r#"SELECT id, tier FROM "shop.customers" ORDER BY id"#, tables()).await;
    let gold = run(&lake, r#"SELECT id FROM "shop.customers" WHERE tier = 'gold'"#, tables()).await;
    let none = run(&lake, r#"SELECT id FROM "shop.customers" WHERE tier IS NULL"#, tables()).await;

    assert_eq!(found.unwrap(), ["1|", "2|gold"]);
    assert_eq!((gold.unwrap(), none.unwrap()), (vec!["2".to_owned()], vec!["1".to_owned()]));
}

#[tokio::test]
async fn a_column_whose_type_changed_reads_in_the_type_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(&dir);
    let (old, new) = (schema(&[("code", FieldType::Integer)]), schema(&[("code", FieldType::Text)]));
    write(&lake, "old", &batch(&old, vec![integers(&[1])]));
    write(&lake, "new", &batch(&new, vec![texts(&[Some("2b")])]));

    let tables = |schema| vec![table("t", schema, &["old", "new"])];
    let as_text = run(&lake, r#"SELECT code FROM "t" ORDER BY code"#, tables(&new)).await;
    let as_number = run(&lake, r#"SELECT code FROM "t" ORDER BY code"#, tables(&old)).await;

    assert_eq!(as_text.unwrap(), ["1", "2b"]);
    assert_eq!(as_number.unwrap_err().code, "E0733");
}

#[tokio::test]
async fn tables_that_differ_only_in_metadata_go_together() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(&dir);
    let marked = customers().project(&[1, 7]).unwrap();
    let plain =
        Schema::new(marked.fields().iter().map(|field| field.as_ref().clone().with_metadata([].into())).collect::<Vec<_>>());
    let (marked, plain): (SchemaRef, SchemaRef) = (Arc::new(marked), Arc::new(plain));
    write(&lake, "a", &batch(&marked, vec![texts(&[Some("a@b.co")]), decimals(&[1_000_000])]));
    write(&lake, "b", &batch(&plain, vec![texts(&[Some("a@b.co")]), decimals(&[2_000_000])]));
    let sql = r#"SELECT u.email, sum(u.net), max(m.net) FROM
                 (SELECT email, net FROM "marked" UNION ALL SELECT email, net FROM "plain") u
                 JOIN "memory" m ON m.email = u.email GROUP BY u.email"#;

    let tables = [("marked", &marked), ("plain", &plain)].map(|(name, schema)| table(name, schema, &["a", "b"]));
    let mut query = select(sql, tables.to_vec());
    let kept = batch(&plain, vec![texts(&[Some("a@b.co")]), decimals(&[5_000_000])]);
    query.memory = vec![("memory".to_owned(), marked, vec![kept])];

    assert_eq!(rows(&lake.query(query).await.unwrap()), ["a@b.co|6.000000|5.000000"]);
}

#[tokio::test]
async fn the_newest_version_of_each_record_is_found_across_files() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(&dir);
    write(&lake, "a", &order("1", 10, false, 5_000_000));
    write(&lake, "b", &order("2", 11, false, 7_000_000));
    write(&lake, "c", &order("1", 20, false, 6_000_000));
    write(&lake, "d", &order("2", 21, true, 0));
    let sql = r#"
        WITH base AS (SELECT * FROM "base"), delta AS (
            SELECT d.* FROM "delta" d JOIN (SELECT _pk, max(_seq) AS newest FROM "delta" GROUP BY _pk) n
            ON d._pk = n._pk AND d._seq = n.newest)
        SELECT _pk, net FROM base b WHERE NOT EXISTS (SELECT 1 FROM delta d WHERE d._pk = b._pk)
        UNION ALL SELECT _pk, net FROM delta WHERE NOT _deleted"#;

    let tables = vec![table("base", &orders(), &["a", "b"]), table("delta", &orders(), &["c", "d"])];

    assert_eq!(run(&lake, sql, tables).await.unwrap(), ["1|6.000000"]);
}

#[tokio::test]
async fn a_table_without_files_has_no_rows() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(&dir);

    let sql = r#"SELECT count(*), sum(net) FROM "shop.orders""#;
    let found = run(&lake, sql, vec![table("shop.orders", &orders(), &[])]).await;

    assert_eq!(found.unwrap(), ["0|"]);
}

#[tokio::test]
async fn now_is_the_time_that_was_given() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(&dir);
    let sql = "SELECT now(), current_timestamp, current_date, now() - INTERVAL '1 day', \
               date_trunc('month', now()), now() > CAST('2026-11-24T02:59:59Z' AS TIMESTAMP)";

    let found = run(&lake, sql, Vec::new()).await.unwrap();

    let expected = "2026-11-24T03:00:00Z|2026-11-24T03:00:00Z|2026-11-24|2026-11-23T03:00:00Z|2026-11-01T00:00:00Z|true";
    assert_eq!(found, [expected]);
}

#[tokio::test]
async fn results_have_the_types_of_the_model() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(&dir);
    write(&lake, "a", &order("1", 1, false, 10_000_000));
    write(&lake, "b", &order("2", 2, false, 5_000_000));
    let sql = r#"SELECT sum(net), avg(net), sum(net) / count(*), count(*), round(sum(net), 1), CAST(2 AS INT), now()
                 FROM "o""#;

    let found = lake.query(select(sql, vec![table("o", &orders(), &["a", "b"])])).await.unwrap();

    let kinds: Vec<_> = found[0].schema().fields().iter().map(|field| FieldType::from_arrow(field.data_type())).collect();
    let stored: Vec<_> = kinds.iter().map(|kind| kind.unwrap().to_arrow()).collect();
    let types: Vec<_> = found[0].schema().fields().iter().map(|field| field.data_type().clone()).collect();
    assert_eq!(types, stored);
    assert_eq!(rows(&found), ["15.000000|7.500000|7.500000|2|15.000000|2|2026-11-24T03:00:00Z"]);
}

#[tokio::test]
async fn the_sum_of_great_amounts_does_not_overflow() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(&dir);
    let great = 10_i128.pow(30);
    write(&lake, "a", &order("1", 1, false, great));
    write(&lake, "b", &order("2", 2, false, great));

    let sql = r#"SELECT sum(net), avg(net) FROM "o""#;
    let found = run(&lake, sql, vec![table("o", &orders(), &["a", "b"])]).await.unwrap();

    let amount = "1000000000000000000000000.000000";
    assert_eq!(found, [format!("{}|{amount}", amount.replacen('1', "2", 1))]);
}

#[tokio::test]
async fn rows_in_memory_join_files() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(&dir);
    let records = schema(&[("_node", FieldType::Integer), ("net", FieldType::Decimal)]);
    write(&lake, "a", &batch(&records, vec![integers(&[1, 1, 2]), decimals(&[1_000_000, 2_000_000, 4_000_000])]));
    let assignments = schema(&[("node", FieldType::Integer), ("profile", FieldType::Text)]);
    let known = batch(&assignments, vec![integers(&[1, 2]), texts(&[Some("p"), Some("q")])]);
    let sql = r#"SELECT profile, sum(net) FROM "shop.orders" JOIN assignments ON _node = node GROUP BY profile ORDER BY 1"#;

    let mut query = select(sql, vec![table("shop.orders", &records, &["a"])]);
    query.memory = vec![("assignments".to_owned(), assignments, vec![known])];

    assert_eq!(rows(&lake.query(query).await.unwrap()), ["p|3.000000", "q|4.000000"]);
}

#[tokio::test]
async fn a_result_becomes_a_file_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(&dir);
    write(&lake, "a", &order("1", 1, false, 10_000_000));
    let sql = r#"SELECT _pk AS profile, named_struct('table', 'shop.orders', 'record', _pk) AS net__from FROM "o""#;

    let file = lake.materialize(select(sql, vec![table("o", &orders(), &["a"])]), "snapshot-1").await.unwrap();
    let fields = [ArrowField::new("table", DataType::Utf8, true), ArrowField::new("record", DataType::Utf8, true)];
    let lineage = ArrowField::new("net__from", DataType::Struct(fields.to_vec().into()), true);
    let snapshot = Arc::new(Schema::new(vec![ArrowField::new("profile", DataType::Utf8, true), lineage]));
    let sql = r#"SELECT profile, get_field(net__from, 'record') FROM "profiles""#;
    let read = run(&lake, sql, vec![table("profiles", &snapshot, &["snapshot-1"])]).await;

    assert_eq!((file.name.as_str(), file.rows), ("snapshot-1", 1));
    assert_eq!(read.unwrap(), ["1|1"]);
}

#[tokio::test]
async fn a_visitor_that_fails_ends_the_query_and_a_failed_file_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(&dir);
    let mut seen = 0;

    let mut visit = |rows: RecordBatch| {
        seen += rows.num_rows();
        Err(Error::held("E0999", "enough"))
    };
    let ended = lake.stream(select("SELECT 1 UNION ALL SELECT 2", Vec::new()), &mut visit).await;
    let failed = lake.materialize(select("SELECT 1 / (1 - column1) FROM (VALUES (1))", Vec::new()), "x").await;

    assert_eq!((ended.unwrap_err().code, seen > 0), ("E0999", true));
    assert_eq!(failed.unwrap_err().code, "E0733");
    assert!(std::fs::read_dir(dir.path().join("lake")).unwrap().all(|entry| entry.unwrap().file_name() == "tmp"));
}

#[tokio::test]
async fn anything_but_one_select_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(&dir);
    let statements = [
        "DROP TABLE o",
        "SELECT 1; SELECT 2",
        "CREATE TABLE x AS SELECT 1",
        "INSERT INTO o SELECT 1",
        "COPY (SELECT 1) TO '/tmp/x.parquet'",
        "CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '/etc'",
        "SET datafusion.execution.batch_size = 1",
        "EXPLAIN SELECT 1",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM information_schema.tables",
        "SELECT random()",
        "SELECT uuid()",
        "not sql",
    ];
    for sql in statements {
        let error = run(&lake, sql, vec![table("o", &orders(), &[])]).await.unwrap_err();
        assert_eq!(error.code, "E0732", "{sql}: {error}");
    }
}

#[tokio::test]
async fn a_failure_never_tells_a_value() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(&dir);
    write(&lake, "a", &order("zoe@x.test", 1, false, 0));

    let error = run(&lake, r#"SELECT CAST(_pk AS BIGINT) FROM "o""#, vec![table("o", &orders(), &["a"])]).await;

    let error = error.unwrap_err();
    assert_eq!(error.code, "E0733");
    assert!(!error.to_string().contains("zoe"), "{error}");
}

#[tokio::test]
async fn a_missing_or_broken_file_is_said_and_not_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(&dir);
    std::fs::write(dir.path().join("lake/broken.parquet"), b"not parquet at all").unwrap();

    for file in ["missing", "broken"] {
        let found = run(&lake, r#"SELECT count(*) FROM "o""#, vec![table("o", &orders(), &[file])]).await;
        assert_eq!(found.unwrap_err().code, "E0735", "{file}");
    }
    let outside = run(&lake, r#"SELECT 1 FROM "o""#, vec![table("o", &orders(), &["../x"])]).await;
    assert_eq!(outside.unwrap_err().code, "E0730");
}

#[tokio::test]
async fn a_query_that_needs_too_much_memory_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let options = LakeOptions { dir: dir.path().join("lake"), memory_bytes: 200_000, memory_bytes_max: 200_000, partitions: 1 };
    let lake = EmbeddedLake::open(options).unwrap();

    let sql = "SELECT count(*) FROM generate_series(1, 300000) a(x) JOIN generate_series(1, 300000) b(y) ON x = y";
    let error = lake.query(select(sql, Vec::new())).await.unwrap_err();

    assert_eq!(error.code, "E0734", "{error}");
}

#[tokio::test]
async fn a_sort_that_does_not_fit_into_memory_is_spilled_and_its_traces_removed() {
    let dir = tempfile::tempdir().unwrap();
    let options = LakeOptions { dir: dir.path().join("lake"), memory_bytes: 64 << 20, memory_bytes_max: 64 << 20, partitions: 2 };
    let lake = EmbeddedLake::open(options).unwrap();
    let mut last = i64::MAX;
    let mut spilled = false;

    let sql = "SELECT value AS x, lpad('', 100, CAST(value AS VARCHAR)) AS y FROM generate_series(1, 800000) ORDER BY value DESC";
    let mut visit = |rows: RecordBatch| {
        for value in arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(rows.column(0)).values() {
            assert!(*value < last);
            last = *value;
        }
        spilled |= dir
            .path()
            .join("lake/tmp")
            .read_dir()
            .unwrap()
            .any(|entry| entry.unwrap().path().read_dir().unwrap().next().is_some());
        Ok(())
    };
    let count = lake.stream(select(sql, Vec::new()), &mut visit).await.unwrap();

    assert_eq!((count, last, spilled), (800_000, 1, true));
    assert_eq!(dir.path().join("lake/tmp").read_dir().unwrap().count(), 0);
}

#[tokio::test]
async fn a_sort_too_wide_for_the_share_of_a_partition_has_the_memory_of_all() {
    let dir = tempfile::tempdir().unwrap();
    let options = LakeOptions { dir: dir.path().join("lake"), memory_bytes: 64 << 20, memory_bytes_max: 64 << 20, partitions: 2 };
    let lake = EmbeddedLake::open(options).unwrap();
    let sql = "SELECT value AS x, lpad('', 1200, CAST(value AS VARCHAR)) AS y FROM generate_series(1, 60000) ORDER BY value DESC";

    let count = lake.stream(select(sql, Vec::new()), &mut |_| Ok(())).await.unwrap();

    assert_eq!(count, 60_000);
}

#[tokio::test]
async fn a_join_that_outgrows_the_memory_is_given_more_once() {
    let dir = tempfile::tempdir().unwrap();
    let options = LakeOptions { dir: dir.path().join("lake"), memory_bytes: 200_000, memory_bytes_max: 64 << 20, partitions: 1 };
    let lake = EmbeddedLake::open(options).unwrap();
    let sql = "SELECT count(*) FROM generate_series(1, 300000) a(x) JOIN generate_series(1, 300000) b(y) ON x = y";

    assert_eq!(rows(&lake.query(select(sql, Vec::new())).await.unwrap()), ["300000"]);
}

#[tokio::test]
async fn views_say_what_columns_say() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(&dir);
    let columns = Arc::new(Schema::new(vec![Field::new("name", FieldType::Text).to_arrow(), sealed("phone")]));
    let phones: ArrayRef = Arc::new(BinaryArray::from(vec![Some(&b"ECF1 longer than a view"[..]), None, Some(b"")]));
    write(&lake, "a", &batch(&columns, vec![texts(&[Some("longer than a view is"), Some("b"), None]), phones]));
    let known = Lookup::texts("known", Arc::new(|name| name.starts_with("longer").then_some(7)));

    let mut found = Vec::new();
    for with_views in [false, true] {
        let sql = r#"SELECT "name", "phone", known("name") AS "known" FROM "people""#;
        let query = select(sql, vec![table("people", &columns, &["a"])]);
        let rows = lake.query(LakeQuery { with_views, lookups: vec![known.clone()], ..query }).await.unwrap();
        let kinds: Vec<DataType> = rows[0].columns().iter().map(|column| column.data_type().clone()).collect();
        found.push((super::rows(&rows), kinds));
    }

    let [(rows, kinds), (rows_of_views, views)] = found.try_into().unwrap();
    assert_eq!(rows, ["longer than a view is|45434631206c6f6e676572207468616e20612076696577|7", "b||", "||"]);
    assert_eq!(rows_of_views, rows);
    assert_eq!(kinds, [DataType::Utf8, DataType::Binary, DataType::Int64]);
    assert_eq!(views, [DataType::Utf8View, DataType::BinaryView, DataType::Int64]);
}
