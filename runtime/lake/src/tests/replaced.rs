//! Tables whose later files replace rows of earlier ones.

use arrow::datatypes::{DataType, Field as ArrowField, Schema};

use super::*;
use crate::Replaces;

fn shown() -> SchemaRef {
    schema(&[("profile", FieldType::Text), ("orders", FieldType::Integer)])
}

fn later() -> SchemaRef {
    let fields = shown().fields().iter().map(|field| field.as_ref().clone()).collect::<Vec<_>>();
    Arc::new(Schema::new([fields, vec![ArrowField::new("_gone", DataType::Boolean, true)]].concat()))
}

/// Rows of a file: key, number; a minus before the key: it is gone.
type Rows<'a> = &'a [(&'a str, i64)];

fn snapshot(lake: &EmbeddedLake, files: &[Rows<'_>]) -> LakeTable {
    let names: Vec<String> = (0..files.len()).map(|place| format!("f{place}")).collect();
    for ((place, name), rows) in names.iter().enumerate().zip(files) {
        let keys = texts(&rows.iter().map(|(key, _)| Some(key.trim_start_matches('-'))).collect::<Vec<_>>());
        let numbers = integers(&rows.iter().map(|(_, number)| *number).collect::<Vec<_>>());
        let gone = booleans(&rows.iter().map(|(key, _)| key.starts_with('-')).collect::<Vec<_>>());
        let rows = match place {
            0 => batch(&shown(), vec![keys, numbers]),
            _ => batch(&later(), vec![keys, numbers, gone]),
        };
        write(lake, name, &rows);
    }
    let replaces = Replaces { key: "profile".to_owned(), gone: "_gone".to_owned() };
    LakeTable { replaces: Some(replaces), ..LakeTable::new("profiles".to_owned(), shown(), names) }
}

#[tokio::test]
async fn of_each_key_the_row_of_the_last_file_is_there_unless_the_key_is_gone() {
    let cases: [(&[Rows<'_>], &[&str]); 6] = [
        (&[], &[]),
        (&[&[("a", 1), ("b", 1)]], &["a|1", "b|1"]),
        (&[&[("a", 1), ("b", 1)], &[("b", 2), ("c", 2)]], &["a|1", "b|2", "c|2"]),
        (&[&[("a", 1), ("b", 1)], &[("-a", 0)]], &["b|1"]),
        (&[&[("a", 1)], &[("-a", 0), ("b", 2)], &[("a", 3)]], &["a|3", "b|2"]),
        (&[&[("a", 1)], &[("a", 2), ("b", 2)], &[("-b", 0), ("a", 3)]], &["a|3"]),
    ];
    for (files, expected) in cases {
        let dir = tempfile::tempdir().unwrap();
        let lake = lake(&dir);
        let table = snapshot(&lake, files);

        for with_views in [false, true] {
            let select = |sql| LakeQuery { with_views, ..select(sql, vec![table.clone()]) };
            let found = lake.query(select(r#"SELECT * FROM "profiles" ORDER BY "profile""#)).await.unwrap();
            let one = lake.query(select(r#"SELECT "orders" FROM "profiles" WHERE "profile" = 'a'"#)).await.unwrap();

            assert_eq!(rows(&found), expected, "{files:?}");
            let of_a = expected.iter().filter_map(|row| row.strip_prefix("a|")).collect::<Vec<_>>();
            assert_eq!(rows(&one), of_a, "{files:?}");
        }
    }
}
