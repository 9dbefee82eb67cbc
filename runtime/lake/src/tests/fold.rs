use std::collections::BTreeMap;

use affluent_model::fold::{Choose, Fold, KeyNames, Pick, Ranks, When};

use super::*;

fn pick(when: When, ranks: Option<Ranks>, take: &[(&str, &str)]) -> Pick {
    Pick {
        when,
        choose: Choose::First,
        ranks,
        take: take.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect(),
    }
}

fn folded(rows: &str, sql: &str, picks: Vec<Pick>) -> LakeQuery {
    let fold = Fold { table: "folded".to_owned(), sql: rows.to_owned(), key: "k".to_owned(), key_names: None, picks };
    LakeQuery { fold: Some(fold), ..select(sql, Vec::new()) }
}

async fn run(query: LakeQuery) -> Result<Vec<String>, affluent_model::Error> {
    let dir = tempfile::tempdir().unwrap();
    Ok(rows(&lake(&dir).query(query).await?))
}

#[tokio::test]
async fn the_first_row_that_qualifies_gives_its_columns_together() {
    let table = "SELECT * FROM (VALUES ('a', 1, NULL, 10), ('a', 2, 'x', 20), ('a', 3, 'y', 30), ('b', 4, NULL, 40)) AS t(k, n, v, at) ORDER BY k, n";
    let picks = vec![pick(When::NotNull("v".to_owned()), None, &[("v", "v"), ("at", "v_at")])];

    let found = run(folded(table, "SELECT * FROM folded ORDER BY k", picks)).await.unwrap();

    assert_eq!(found, ["a|x|20", "b||"]);
}

#[tokio::test]
async fn a_better_rank_wins_over_an_earlier_row_and_an_unknown_value_is_last() {
    let table = "SELECT * FROM (VALUES ('a', 1, 9), ('a', 2, 1), ('a', 3, 0), ('b', 1, 9), ('b', 2, 1), ('c', 1, 9)) AS t(k, n, s) ORDER BY k, n";
    let ranks = Ranks { column: "s".to_owned(), rank_of: BTreeMap::from([(0, 0), (1, 1)]) };
    let picks = vec![
        pick(When::NotNull("n".to_owned()), Some(ranks), &[("n", "best")]),
        pick(When::Equals("s".to_owned(), 1), None, &[("n", "one")]),
    ];

    let found = run(folded(table, "SELECT * FROM folded ORDER BY k", picks)).await.unwrap();

    assert_eq!(found, ["a|3|2", "b|2|2", "c|1|"]);
}

#[tokio::test]
async fn keys_go_on_over_batches_and_every_key_is_one_row() {
    let table = "SELECT lpad(CAST(value / 7 AS VARCHAR), 8, '0') AS k, value AS n FROM generate_series(0, 349999) ORDER BY k, n";
    let picks = vec![pick(When::NotNull("n".to_owned()), None, &[("n", "first")])];
    let sql = "SELECT count(*), count(DISTINCT k), sum(first) FROM folded";

    let found = run(folded(table, sql, picks)).await.unwrap();

    // 50,000 keys of seven rows; the first of key i is 7i.
    assert_eq!(found, [format!("50000|50000|{}", 7_i64 * (49_999 * 50_000 / 2))]);
}

#[tokio::test]
async fn every_name_of_a_number_has_a_row_and_what_is_known_beside() {
    let table = "SELECT * FROM (VALUES (0, 'x'), (2, 'y'), (2, 'z')) AS t(k, v) ORDER BY k, v";
    let picks = vec![pick(When::NotNull("v".to_owned()), None, &[("v", "v")])];
    let schema = Arc::new(Schema::new(vec![ArrowField::new("name", DataType::Utf8, false)]));
    let names = |names: Vec<&str>| RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(StringArray::from(names))]).unwrap();
    let ages = Arc::new(Schema::new(vec![ArrowField::new("age", DataType::Int64, true)]));
    let age =
        |ages_of: Vec<Option<i64>>| RecordBatch::try_new(Arc::clone(&ages), vec![Arc::new(Int64Array::from(ages_of))]).unwrap();
    let query = |rows: Vec<RecordBatch>| {
        let mut query = folded(table, "SELECT * FROM folded ORDER BY k", picks.clone());
        query.memory.push(("names".to_owned(), Arc::clone(&schema), rows));
        query.memory.push(("ages".to_owned(), Arc::clone(&ages), vec![age(vec![Some(7), None, Some(9)])]));
        let key_names = KeyNames { table: "names".to_owned(), column: "name".to_owned(), beside: vec!["ages".to_owned()] };
        query.fold = query.fold.map(|fold| Fold { key_names: Some(key_names), ..fold });
        query
    };

    assert_eq!(run(query(vec![names(vec!["ann", "bob"]), names(vec!["eve"])])).await.unwrap(), ["ann|x|7", "bob||", "eve|y|9"]);
    assert!(run(query(vec![names(vec!["ann", "bob"])])).await.is_err());
}

#[tokio::test]
async fn names_without_rows_come_in_parts_however_many_there_are() {
    let names = || {
        let names = StringArray::from_iter_values((0..200_000).map(|number| format!("{number:06}")));
        let schema = Arc::new(Schema::new(vec![ArrowField::new("name", DataType::Utf8, false)]));
        ("names".to_owned(), Arc::clone(&schema), vec![RecordBatch::try_new(schema, vec![Arc::new(names)]).unwrap()])
    };
    let picks = vec![pick(When::NotNull("v".to_owned()), None, &[("v", "v")])];
    let table = "SELECT * FROM (VALUES (120000, 'x'), (120001, 'y'), (199999, 'z')) AS t(k, v) ORDER BY k";
    let sql = "SELECT count(*), count(v), count(DISTINCT k), min(k) FILTER (WHERE v = 'x'), max(k) FROM folded";
    let mut query = folded(table, sql, picks);
    query.memory.push(names());
    let key_names = KeyNames { table: "names".to_owned(), column: "name".to_owned(), beside: Vec::new() };
    query.fold = query.fold.map(|fold| Fold { key_names: Some(key_names), ..fold });

    assert_eq!(run(query).await.unwrap(), ["200000|3|200000|120000|199999"]);
}

#[tokio::test]
async fn a_fold_of_no_rows_is_a_table_without_rows() {
    let picks = vec![pick(When::NotNull("n".to_owned()), None, &[("n", "n")])];

    let found = run(folded("SELECT 'a' AS k, 1 AS n WHERE false", "SELECT * FROM folded", picks)).await.unwrap();

    assert_eq!(found, Vec::<String>::new());
}

#[tokio::test]
async fn a_column_that_is_not_there_is_refused_when_planning() {
    let picks = vec![pick(When::NotNull("nope".to_owned()), None, &[])];

    let error = run(folded("SELECT 'a' AS k", "SELECT * FROM folded", picks)).await.unwrap_err();

    assert_eq!(error.code, "E0732");
}

#[tokio::test]
async fn a_row_is_chosen_by_its_value_and_ties_go_to_the_earlier_row() {
    let table = "SELECT * FROM (VALUES ('a', 1, 'be', 3), ('a', 2, 'cat', 1), ('a', 3, 'ant', 9), ('a', 4, 'be', 9), ('a', 5, NULL, 5), ('b', 6, NULL, 5)) AS t(k, n, v, s) ORDER BY k, n";
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

        let found = run(folded(table, "SELECT n FROM folded ORDER BY k LIMIT 1", picks)).await.unwrap();

        assert_eq!(found, [expected], "{choose:?} of {column}");
    }
}

#[tokio::test]
async fn a_better_rank_wins_whatever_the_value_says() {
    let table =
        "SELECT * FROM (VALUES ('a', 1, 'x', 9), ('a', 2, 'y', 0), ('a', 3, 'longest', 9)) AS t(k, n, v, s) ORDER BY k, n";
    let ranks = Ranks { column: "s".to_owned(), rank_of: BTreeMap::from([(0, 0)]) };
    let picks = vec![Pick { choose: Choose::Longest, ..pick(When::NotNull("v".to_owned()), Some(ranks), &[("n", "n")]) }];

    let found = run(folded(table, "SELECT n FROM folded", picks)).await.unwrap();

    assert_eq!(found, ["2"]);
}

#[tokio::test]
async fn what_cannot_be_weighed_is_refused_when_planning() {
    let picks = vec![Pick { choose: Choose::Longest, ..pick(When::NotNull("n".to_owned()), None, &[("n", "n")]) }];

    let error = run(folded("SELECT 'a' AS k, 1 AS n", "SELECT * FROM folded", picks)).await.unwrap_err();

    assert_eq!(error.code, "E0732");
}

#[tokio::test]
async fn sums_and_unions_are_made_of_the_rows_of_the_best_rank_and_keep_the_first_row_beside() {
    let table = "SELECT * FROM (VALUES
        ('a', 1, 'x', '[\"b\",1]', 1, 5), ('a', 2, ' w ', '\"b\"', 2, 5), ('a', 3, 'x', 'nope', 3, 5), ('a', 4, '', 'null', NULL, 5),
        ('a', 5, 'worse', '9', 100, 9), ('b', 6, NULL, NULL, NULL, 5), ('c', 7, 'worse', '9', 9223372036854775807, 9),
        ('c', 8, 'c', '[]', 9223372036854775807, 5), ('c', 9, 'c', NULL, 1, 5)) AS t(k, n, v, j, s, r) ORDER BY k, n";
    let cases = [
        (Choose::Union, "v", ["1|w, x", "|", "8|c"]),
        (Choose::UnionOfLists, "j", ["1|[\"b\",\"nope\",1]", "|", "8|"]),
        (Choose::Sum, "s", ["1|6", "|", "8|"]),
    ];
    for (choose, column, expected) in cases {
        let ranks = Ranks { column: "r".to_owned(), rank_of: BTreeMap::from([(5, 0)]) };
        let pick = pick(When::NotNull(column.to_owned()), Some(ranks), &[("n", "n"), (column, "made")]);

        let found = run(folded(table, "SELECT n, made FROM folded ORDER BY k", vec![Pick { choose, ..pick }])).await.unwrap();

        assert_eq!(found, expected, "{choose:?} of {column}");
    }
}

#[tokio::test]
async fn a_sum_keeps_its_type_and_leaves_out_what_has_no_place_in_it() {
    let cases = [("CAST(0.5 AS DOUBLE)", "1.0"), ("CAST(0.5 AS DECIMAL(38, 6))", "1.000000"), ("CAST(1e308 AS DOUBLE)", "")];
    for (value, expected) in cases {
        let table = format!("SELECT 'a' AS k, {value} AS v FROM generate_series(1, 2)");
        let picks = vec![Pick { choose: Choose::Sum, ..pick(When::NotNull("v".to_owned()), None, &[("v", "v")]) }];

        let found = run(folded(&table, "SELECT v FROM folded", picks)).await.unwrap();

        assert_eq!(found, [expected], "{value}");
    }
}

#[tokio::test]
async fn a_union_of_very_many_values_is_cut_where_its_limit_says() {
    let table = "SELECT 'a' AS k, lpad(CAST(value AS VARCHAR), 4, '0') AS v FROM generate_series(1, 3000) ORDER BY value DESC";
    let picks = vec![Pick { choose: Choose::Union, ..pick(When::NotNull("v".to_owned()), None, &[("v", "v")]) }];

    let found = run(folded(table, "SELECT substr(v, 1, 10), right(v, 4) FROM folded", picks)).await.unwrap();

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
        let table = format!("SELECT k, n, {value} AS v FROM (VALUES {}) AS t(k, n, w) ORDER BY k, n", rows.join(", "));
        let picks = vec![Pick { choose: Choose::Strictest, ..pick(When::NotNull("v".to_owned()), None, &[("n", "n")]) }];

        let found = run(folded(&table, "SELECT n FROM folded", picks)).await.unwrap();

        assert_eq!(found, [expected], "{words}");
    }
}
