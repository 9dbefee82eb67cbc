use std::collections::BTreeMap;
use std::fs::File;

use affluent_model::fold::{Choose, Fold, KeyNames, Pick, Ranks, When};
use arrow::array::{AsArray as _, BinaryArray};
use parquet::basic::Compression;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{FileReader as _, SerializedFileReader};

use super::*;

fn pick(when: When, ranks: Option<Ranks>, take: &[(&str, &str)]) -> Pick {
    Pick {
        when,
        choose: Choose::First,
        ranks,
        take: take.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect(),
    }
}

/// Folds rows whose keys are letters, `a` and on to `last`; where `n` is less, a row is later.
fn folded(last: char, rows: &str, sql: &str, picks: Vec<Pick>) -> LakeQuery {
    let rows = format!("SELECT ascii(k) - 97 AS k, -n AS latest, * EXCEPT (k) FROM ({rows}) AS t");
    folded_as(('a'..=last).map(String::from).collect(), Vec::new(), rows, sql, picks)
}

/// Folds rows by the numbers of these names, of which the tables `beside` know more; where `latest` is greater, a row is later.
fn folded_as(
    names: Vec<String>,
    beside: Vec<(String, SchemaRef, Vec<RecordBatch>)>,
    rows: String,
    sql: &str,
    picks: Vec<Pick>,
) -> LakeQuery {
    let schema = Arc::new(Schema::new(vec![ArrowField::new("name", DataType::Utf8, false)]));
    let names = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(StringArray::from(names))]).unwrap();
    let key_names = KeyNames {
        table: "names".to_owned(),
        column: "name".to_owned(),
        beside: beside.iter().map(|(name, _, _)| name.clone()).collect(),
    };
    let fold = Fold {
        table: "folded".to_owned(),
        sql: rows,
        key: "k".to_owned(),
        latest_by: vec!["latest".to_owned()],
        names: key_names,
        picks,
        givers: None,
    };
    let memory = std::iter::once(("names".to_owned(), schema, vec![names])).chain(beside).collect();
    LakeQuery { fold: Some(fold), memory, ..select(sql, Vec::new()) }
}

async fn run(query: LakeQuery) -> Result<Vec<String>, affluent_model::Error> {
    let dir = tempfile::tempdir().unwrap();
    Ok(rows(&lake(&dir).query(query).await?))
}

#[tokio::test]
async fn the_first_row_that_qualifies_gives_its_columns_together() {
    let table =
        "SELECT * FROM (VALUES ('a', 1, NULL, 10), ('a', 2, 'x', 20), ('a', 3, 'y', 30), ('b', 4, NULL, 40)) AS t(k, n, v, at)";
    let picks = vec![pick(When::NotNull("v".to_owned()), None, &[("v", "v"), ("at", "v_at")])];

    let found = run(folded('b', table, "SELECT * FROM folded ORDER BY k", picks)).await.unwrap();

    assert_eq!(found, ["a|x|20", "b||"]);
}

#[tokio::test]
async fn a_better_rank_wins_over_an_earlier_row_and_an_unknown_value_is_last() {
    let table =
        "SELECT * FROM (VALUES ('a', 1, 9), ('a', 2, 1), ('a', 3, 0), ('b', 1, 9), ('b', 2, 1), ('c', 1, 9)) AS t(k, n, s)";
    let ranks = Ranks { column: "s".to_owned(), rank_of: BTreeMap::from([(0, 0), (1, 1)]) };
    let picks = vec![
        pick(When::NotNull("n".to_owned()), Some(ranks), &[("n", "best")]),
        pick(When::Equals("s".to_owned(), 1), None, &[("n", "one")]),
    ];

    let found = run(folded('c', table, "SELECT * FROM folded ORDER BY k", picks)).await.unwrap();

    assert_eq!(found, ["a|3|2", "b|2|2", "c|1|"]);
}

/// Files of a lake with sealed values: of each key two rows, whose values are as long as nothing else in their file.
fn sealed_rows(lake: &EmbeddedLake) -> Vec<LakeTable> {
    let fields = [Field::new("k", FieldType::Integer).to_arrow(), Field::new("latest", FieldType::Integer).to_arrow()];
    let with = |more: Option<ArrowField>| Arc::new(Schema::new(fields.iter().cloned().chain(more).collect::<Vec<_>>()));
    let keys: Vec<i64> = (0..SEALED_KEYS).chain(0..SEALED_KEYS).collect();
    let times: Vec<i64> = (0..SEALED_KEYS).map(|_| 1).chain((0..SEALED_KEYS).map(|_| 2)).collect();
    let values: BinaryArray = keys.iter().zip(&times).map(|(key, time)| sealed_value(*key, *time)).collect();
    let sealed = with(Some(sealed("v")));
    write(lake, "sealed", &batch(&sealed, vec![integers(&keys), integers(&times), Arc::new(values)]));
    let without = with(None);
    write(lake, "without", &batch(&without, vec![integers(&[0, 1]), integers(&[3, 3])]));
    vec![table("sealed", &sealed, &["sealed"]), table("without", &without, &["without"])]
}

const SEALED_KEYS: i64 = 30_000;

/// The last row of every third key has none.
fn sealed_value(key: i64, time: i64) -> Option<Vec<u8>> {
    let length = usize::try_from(key % 90).unwrap();
    (time == 1 || key % 3 != 0).then(|| format!("{key:06}/{time}").into_bytes().into_iter().cycle().take(length).collect())
}

#[tokio::test]
async fn sealed_values_come_through_a_fold_as_they_are_and_into_its_file() {
    // The second holds a third of the rows.
    for memory_bytes in [64 << 20, 2 << 20] {
        let dir = tempfile::tempdir().unwrap();
        let options = LakeOptions { dir: dir.path().join("lake"), memory_bytes, memory_bytes_max: memory_bytes, partitions: 2 };
        let lake = EmbeddedLake::open(options).unwrap();
        let tables = sealed_rows(&lake);
        let names = (0..SEALED_KEYS).map(|key| format!("{key:06}")).collect();
        let rows = "SELECT k, latest, v FROM sealed UNION ALL SELECT k, latest, arrow_cast(NULL, 'Binary') AS v FROM without";
        let picks = vec![pick(When::NotNull("v".to_owned()), None, &[("v", "v")])];
        let query =
            LakeQuery { tables, ..folded_as(names, Vec::new(), rows.to_owned(), "SELECT v, k AS key FROM folded", picks) };

        let asked = lake.query(query.clone()).await.unwrap();
        lake.materialize(query, "folded-1").await.unwrap();

        let of_time = |key: i64| sealed_value(key, 2).or_else(|| sealed_value(key, 1));
        let expected: Vec<Option<Vec<u8>>> = (0..SEALED_KEYS).map(of_time).collect();
        let mut stored: Vec<Option<Vec<u8>>> = Vec::new();
        lake.scan_file("folded-1", &["v"], &mut |batch| {
            stored.extend(batch.column(0).as_binary_view().iter().map(|value| value.map(<[u8]>::to_vec)));
            Ok(())
        })
        .unwrap();
        let asked = asked.iter().flat_map(|batch| batch.column(0).as_binary::<i32>().iter());
        let asked: Vec<Option<Vec<u8>>> = asked.map(|value| value.map(<[u8]>::to_vec)).collect();
        assert!([asked, stored].iter().all(|found| *found == expected), "in {memory_bytes} bytes");
        let columns = lake.file_schema("folded-1").unwrap();
        assert_eq!(*columns.field(0).data_type(), DataType::Binary);
        assert!(columns.field(1).metadata().is_empty());
        let reader = SerializedFileReader::new(File::open(dir.path().join("lake/folded-1.parquet")).unwrap()).unwrap();
        let stored: Vec<_> = reader.metadata().row_group(0).columns().iter().map(ColumnChunkMetaData::compression).collect();
        assert_eq!(stored, [Compression::UNCOMPRESSED; 2], "neither ciphertexts nor keys shrink");
    }
}

fn count_rows(memory_bytes: usize) -> (LakeQuery, LakeOptions, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let options = LakeOptions { dir: dir.path().join("lake"), memory_bytes, memory_bytes_max: memory_bytes, partitions: 2 };
    let names = (0..50_000).map(|number| format!("{number:06}")).collect();
    let rows = "SELECT value % 50000 AS k, -value AS latest, value AS n, lpad(CAST(value AS VARCHAR), 100, 'x') AS t FROM generate_series(0, 349999)";
    let take = [("n", "first"), ("t", "text")];
    let picks = vec![
        pick(When::NotNull("n".to_owned()), None, &take),
        Pick { choose: Choose::Last, ..pick(When::NotNull("n".to_owned()), None, &[("n", "last")]) },
    ];
    let sql = "SELECT count(*), count(DISTINCT k), count(*) FILTER (WHERE first = CAST(k AS BIGINT) AND text = lpad(CAST(first AS VARCHAR), 100, 'x') AND last = first + 300000) FROM folded";
    (folded_as(names, Vec::new(), rows.to_owned(), sql, picks), options, dir)
}

#[tokio::test]
async fn every_key_is_one_row_wherever_its_rows_are_and_however_little_memory_there_is() {
    // 50,000 keys, each with seven rows far from each other, 50 MB in all.
    for memory_bytes in [64 << 20, 10 << 20] {
        let (query, options, _dir) = count_rows(memory_bytes);

        let found = EmbeddedLake::open(options).unwrap().query(query).await.unwrap();

        assert_eq!(rows(&found), ["50000|50000|50000"], "in {memory_bytes} bytes");
    }
}

#[tokio::test]
async fn what_fits_into_memory_in_no_way_is_refused() {
    let (query, options, _dir) = count_rows(256 << 10);

    let error = EmbeddedLake::open(options).unwrap().query(query).await.unwrap_err();

    assert_eq!(error.code, "E0734");
}

#[tokio::test]
async fn every_name_has_a_row_and_what_is_known_beside() {
    let rows = "SELECT * FROM (VALUES (2, 0, 'y'), (0, 0, 'x'), (2, -1, 'z'), (NULL, 0, 'nobody')) AS t(k, latest, v)";
    let picks = vec![pick(When::NotNull("v".to_owned()), None, &[("v", "v")])];
    let ages = Arc::new(Schema::new(vec![ArrowField::new("age", DataType::Int64, true)]));
    let age = RecordBatch::try_new(Arc::clone(&ages), vec![Arc::new(Int64Array::from(vec![Some(7), None, Some(9)]))]).unwrap();
    let query = |names: &[&str]| {
        let names = names.iter().map(ToString::to_string).collect();
        let beside = vec![("ages".to_owned(), Arc::clone(&ages), vec![age.clone()])];
        folded_as(names, beside, rows.to_owned(), "SELECT * FROM folded ORDER BY k", picks.clone())
    };

    assert_eq!(run(query(&["ann", "bob", "eve"])).await.unwrap(), ["ann|x|7", "bob||", "eve|y|9"]);
    assert!(run(query(&["ann", "bob"])).await.is_err());
}

#[tokio::test]
async fn names_without_rows_come_in_parts_however_many_there_are() {
    let names = (0..200_000).map(|number| format!("{number:06}")).collect();
    let picks = vec![pick(When::NotNull("v".to_owned()), None, &[("v", "v")])];
    let rows = "SELECT * FROM (VALUES (199999, 0, 'z'), (120000, 0, 'x'), (120001, 0, 'y')) AS t(k, latest, v)";
    let sql = "SELECT count(*), count(v), count(DISTINCT k), min(k) FILTER (WHERE v = 'x'), max(k) FROM folded";

    let found = run(folded_as(names, Vec::new(), rows.to_owned(), sql, picks)).await.unwrap();

    assert_eq!(found, ["200000|3|200000|120000|199999"]);
}

#[tokio::test]
async fn times_put_rows_in_order_and_a_row_without_one_is_last() {
    let rows = "SELECT k, CAST(at AS TIMESTAMP) AS latest, v FROM (VALUES
        (0, '2026-01-02T00:00:00', 'b'), (0, NULL, 'x'), (0, '2026-01-03T00:00:00', 'c'), (1, NULL, 'y')) AS t(k, at, v)";
    let picks = [Choose::First, Choose::Last].map(|choose| Pick {
        choose,
        ..pick(When::NotNull("v".to_owned()), None, &[("v", if choose == Choose::First { "first" } else { "last" })])
    });
    let names = vec!["ann".to_owned(), "bob".to_owned()];

    let found = run(folded_as(names, Vec::new(), rows.to_owned(), "SELECT * FROM folded ORDER BY k", picks.to_vec())).await;

    assert_eq!(found.unwrap(), ["ann|c|x", "bob|y|y"]);
}

#[tokio::test]
async fn a_fold_of_no_names_is_a_table_without_rows() {
    let picks = vec![pick(When::NotNull("n".to_owned()), None, &[("n", "n")])];
    let rows = "SELECT CAST(NULL AS BIGINT) AS k, 1 AS latest, 1 AS n".to_owned();

    let found = run(folded_as(Vec::new(), Vec::new(), rows, "SELECT * FROM folded", picks)).await.unwrap();

    assert_eq!(found, Vec::<String>::new());
}

#[tokio::test]
async fn a_column_that_is_not_there_is_refused_when_planning() {
    let picks = vec![pick(When::NotNull("nope".to_owned()), None, &[])];

    let error = run(folded('a', "SELECT 'a' AS k, 1 AS n", "SELECT * FROM folded", picks)).await.unwrap_err();

    assert_eq!(error.code, "E0732");
}

#[tokio::test]
async fn a_row_is_chosen_by_its_value_and_ties_go_to_the_earlier_row() {
    let table = "SELECT * FROM (VALUES ('a', 1, 'be', 3), ('a', 2, 'cat', 1), ('a', 3, 'ant', 9), ('a', 4, 'be', 9), ('a', 5, NULL, 5), ('b', 6, NULL, 5)) AS t(k, n, v, s)";
    let cases = [
        (Choose::First, "v", "1"),
        (Choose::Last, "v", "4"),
        (Choose::Least, "v", "3"),
        (Choose::Most, "v", "2"),
        (Choose::Longest, "v", "2"),
        (Choose::MostFrequent, "v", "1"),
        (Choose::Least, "s", "2"),
        (Choose::Most, "s", "3"),
        (Choose::MostFrequent, "s", "3"),
    ];
    for (choose, column, expected) in cases {
        let picks = vec![Pick { choose, ..pick(When::NotNull(column.to_owned()), None, &[("n", "n")]) }];

        let found = run(folded('b', table, "SELECT n FROM folded ORDER BY k LIMIT 1", picks)).await.unwrap();

        assert_eq!(found, [expected], "{choose:?} of {column}");
    }
}

#[tokio::test]
async fn a_better_rank_wins_whatever_the_value_says() {
    let table = "SELECT * FROM (VALUES ('a', 1, 'x', 9), ('a', 2, 'y', 0), ('a', 3, 'longest', 9)) AS t(k, n, v, s)";
    let ranks = Ranks { column: "s".to_owned(), rank_of: BTreeMap::from([(0, 0)]) };
    let picks = vec![Pick { choose: Choose::Longest, ..pick(When::NotNull("v".to_owned()), Some(ranks), &[("n", "n")]) }];

    let found = run(folded('a', table, "SELECT n FROM folded", picks)).await.unwrap();

    assert_eq!(found, ["2"]);
}

#[tokio::test]
async fn what_cannot_be_weighed_is_refused_when_planning() {
    let picks = vec![Pick { choose: Choose::Longest, ..pick(When::NotNull("n".to_owned()), None, &[("n", "n")]) }];

    let error = run(folded('a', "SELECT 'a' AS k, 1 AS n", "SELECT * FROM folded", picks)).await.unwrap_err();

    assert_eq!(error.code, "E0732");
}

#[tokio::test]
async fn sums_and_unions_are_made_of_the_rows_of_the_best_rank_and_keep_the_first_row_beside() {
    let table = "SELECT * FROM (VALUES
        ('a', 1, 'x', '[\"b\",1]', 1, 5), ('a', 2, ' w ', '\"b\"', 2, 5), ('a', 3, 'x', 'nope', 3, 5), ('a', 4, '', 'null', NULL, 5),
        ('a', 5, 'worse', '9', 100, 9), ('b', 6, NULL, NULL, NULL, 5), ('c', 7, 'worse', '9', 9223372036854775807, 9),
        ('c', 8, 'c', '[]', 9223372036854775807, 5), ('c', 9, 'c', NULL, 1, 5)) AS t(k, n, v, j, s, r)";
    let cases = [
        (Choose::Union, "v", ["1|w, x", "|", "8|c"]),
        (Choose::UnionOfLists, "j", ["1|[\"b\",\"nope\",1]", "|", "8|"]),
        (Choose::Sum, "s", ["1|6", "|", "8|"]),
    ];
    for (choose, column, expected) in cases {
        let ranks = Ranks { column: "r".to_owned(), rank_of: BTreeMap::from([(5, 0)]) };
        let pick = pick(When::NotNull(column.to_owned()), Some(ranks), &[("n", "n"), (column, "made")]);

        let found =
            run(folded('c', table, "SELECT n, made FROM folded ORDER BY k", vec![Pick { choose, ..pick }])).await.unwrap();

        assert_eq!(found, expected, "{choose:?} of {column}");
    }
}

#[tokio::test]
async fn a_sum_keeps_its_type_and_leaves_out_what_has_no_place_in_it() {
    let cases = [("CAST(0.5 AS DOUBLE)", "1.0"), ("CAST(0.5 AS DECIMAL(38, 6))", "1.000000"), ("CAST(1e308 AS DOUBLE)", "")];
    for (value, expected) in cases {
        let table = format!("SELECT 'a' AS k, value AS n, {value} AS v FROM generate_series(1, 2)");
        let picks = vec![Pick { choose: Choose::Sum, ..pick(When::NotNull("v".to_owned()), None, &[("v", "v")]) }];

        let found = run(folded('a', &table, "SELECT v FROM folded", picks)).await.unwrap();

        assert_eq!(found, [expected], "{value}");
    }
}

#[tokio::test]
async fn a_union_of_very_many_values_is_cut_where_its_limit_says() {
    let table = "SELECT 'a' AS k, -value AS n, lpad(CAST(value AS VARCHAR), 4, '0') AS v FROM generate_series(1, 3000)";
    let picks = vec![Pick { choose: Choose::Union, ..pick(When::NotNull("v".to_owned()), None, &[("v", "v")]) }];

    let found = run(folded('a', table, "SELECT substr(v, 1, 10), right(v, 4) FROM folded", picks)).await.unwrap();

    assert_eq!(found, ["0001, 0002|1000"]);
}

#[tokio::test]
async fn a_single_no_wins_whatever_others_say() {
    let cases = [
        ("true false true", "CAST(w AS BOOLEAN)", "2"),
        ("true true", "CAST(w AS BOOLEAN)", "1"),
        ("granted denied granted", "w", "2"),
        ("granted Pending granted", "w", "2"),
        ("pending granted unsubscribed revoked", "w", "3"),
        ("granted expired", "w", "2"),
        ("GRANTED granted", "w", "1"),
    ];
    for (words, value, expected) in cases {
        let rows: Vec<String> =
            (1..).zip(words.split(' ')).map(|(n, word): (i64, &str)| format!("('a', {n}, '{word}')")).collect();
        let table = format!("SELECT k, n, {value} AS v FROM (VALUES {}) AS t(k, n, w)", rows.join(", "));
        let picks = vec![Pick { choose: Choose::Strictest, ..pick(When::NotNull("v".to_owned()), None, &[("n", "n")]) }];

        let found = run(folded('a', &table, "SELECT n FROM folded", picks)).await.unwrap();

        assert_eq!(found, [expected], "{words}");
    }
}
