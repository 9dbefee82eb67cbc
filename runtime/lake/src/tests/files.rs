use std::collections::HashSet;
use std::fs::File;

use affluent_model::schema::{PII_KEY, SEALED_KEY};
use arrow::array::{Array as _, BinaryArray, ListArray, StringViewArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::concat_batches;
use parquet::basic::Compression;
use parquet::file::reader::{FileReader as _, SerializedFileReader};

use super::*;

fn names(dir: &tempfile::TempDir) -> Vec<String> {
    let entries = std::fs::read_dir(dir.path().join("lake")).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != "tmp");
    names.sort();
    names
}

#[test]
fn a_file_is_visible_only_when_it_is_finished() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(&dir);
    let columns = schema(&[("id", FieldType::Integer)]);

    let mut writer = lake.create_file("orders-1f", Arc::clone(&columns)).unwrap();
    writer.write(&batch(&columns, vec![integers(&[1, 2])])).unwrap();
    let before = names(&dir);
    let file = writer.finish().unwrap();

    assert_eq!(before, ["orders-1f.parquet.partial"]);
    assert_eq!(names(&dir), ["orders-1f.parquet"]);
    assert_eq!((file.name.as_str(), file.rows), ("orders-1f", 2));
    assert_eq!(file.bytes, std::fs::metadata(dir.path().join("lake/orders-1f.parquet")).unwrap().len());
}

#[test]
fn a_dropped_writer_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(&dir);
    let columns = schema(&[("id", FieldType::Integer)]);

    let mut writer = lake.create_file("orders-1f", Arc::clone(&columns)).unwrap();
    writer.write(&batch(&columns, vec![integers(&[1])])).unwrap();
    drop(writer);

    assert_eq!(names(&dir), Vec::<String>::new());
}

#[test]
fn a_name_is_taken_once_and_is_no_path() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(&dir);
    let columns = schema(&[("id", FieldType::Integer)]);
    write(&lake, "taken", &batch(&columns, vec![integers(&[1])]));

    let long = "a".repeat(200);
    for name in ["taken", "", "../x", "a/b", "A", "a.b", "a b", long.as_str()] {
        let error = lake.create_file(name, Arc::clone(&columns)).err().unwrap();
        assert_eq!(error.code, "E0730", "{name:?}");
    }
}

#[test]
fn a_batch_of_other_columns_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(&dir);
    let mut writer = lake.create_file("x", schema(&[("id", FieldType::Integer)])).unwrap();

    let other = schema(&[("id", FieldType::Text)]);
    let error = writer.write(&batch(&other, vec![texts(&[Some("1")])])).unwrap_err();

    assert_eq!(error.code, "E0001");
}

#[cfg(unix)]
#[test]
fn only_the_owner_may_look_into_the_lake() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(&dir);
    let columns = schema(&[("id", FieldType::Integer)]);
    write(&lake, "x", &batch(&columns, vec![integers(&[1])]));

    let mode = |path: &str| std::fs::metadata(dir.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("lake"), mode("lake/x.parquet")), (0o700, 0o600));
}

#[test]
fn sealed_columns_are_stored_plain_and_without_bounds_and_metadata_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(&dir);
    let mut fields: Vec<ArrowField> = customers().fields().iter().take(1).map(|field| field.as_ref().clone()).collect();
    fields.push(sealed("shop.email"));
    fields.push(customers().field_with_name("email").unwrap().clone());
    let columns: SchemaRef = Arc::new(Schema::new(fields));
    let ciphertext: ArrayRef = Arc::new(BinaryArray::from_vec(vec![b"ECF1"]));
    write(&lake, "x", &batch(&columns, vec![integers(&[7]), ciphertext, texts(&[Some("a@b.co")])]));

    let reader = SerializedFileReader::new(File::open(dir.path().join("lake/x.parquet")).unwrap()).unwrap();
    let group = reader.metadata().row_group(0);
    let stored: Vec<(Compression, bool)> =
        group.columns().iter().map(|column| (column.compression(), column.statistics().is_some())).collect();
    let arrow = parquet::arrow::parquet_to_arrow_schema(
        reader.metadata().file_metadata().schema_descr(),
        reader.metadata().file_metadata().key_value_metadata(),
    )
    .unwrap();

    assert_eq!(stored, [(Compression::LZ4_RAW, true), (Compression::UNCOMPRESSED, false), (Compression::LZ4_RAW, true)]);
    assert_eq!(arrow.field(1).metadata().get(SEALED_KEY).map(String::as_str), Some("text"));
    assert_eq!(arrow.field(2).metadata().get(PII_KEY).map(String::as_str), Some("email"));
}

#[test]
fn integers_that_differ_little_take_little_room_also_in_lists() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(&dir);
    let numbers: Vec<i64> = (1_000_000..1_100_000).collect();
    let records = StructArray::from(vec![(Arc::new(ArrowField::new("node", DataType::Int64, true)), integers(&numbers))]);
    let item = Arc::new(ArrowField::new_list_field(records.data_type().clone(), true));
    let lists = ListArray::new(item, OffsetBuffer::from_lengths(numbers.iter().map(|_| 1)), Arc::new(records), None);
    let list = ArrowField::new("_from", lists.data_type().clone(), true);
    let columns = Arc::new(Schema::new(vec![Field::new("id", FieldType::Integer).to_arrow(), list]));
    let rows = batch(&columns, vec![integers(&numbers), Arc::new(lists)]);
    write(&lake, "x", &rows);

    let reader = SerializedFileReader::new(File::open(dir.path().join("lake/x.parquet")).unwrap()).unwrap();
    let stored = reader.metadata().row_group(0).columns();
    assert!(stored.iter().all(|column| column.compressed_size() < 100_000), "of 800,000 bytes: {stored:?}");
    let mut found = Vec::new();
    lake.scan_file("x", &["id", "_from.list.item.node"], &mut |batch| {
        found.push(batch);
        Ok(())
    })
    .unwrap();
    assert_eq!(concat_batches(&columns, &found).unwrap(), rows);
}

#[test]
fn a_sweep_keeps_what_is_listed_and_what_is_young() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(&dir);
    let columns = schema(&[("id", FieldType::Integer)]);
    for name in ["listed", "orphan"] {
        write(&lake, name, &batch(&columns, vec![integers(&[1])]));
    }
    std::fs::write(dir.path().join("lake/crashed.parquet.partial"), b"PAR1").unwrap();
    std::fs::write(dir.path().join("lake/notes.txt"), b"not ours").unwrap();
    std::fs::create_dir_all(dir.path().join("lake/tmp/datafusion-1")).unwrap();
    let keep = HashSet::from(["listed".to_owned()]);

    let while_young = lake.sweep(&keep, 0).unwrap();
    let when_old = lake.sweep(&keep, i64::MAX).unwrap();

    assert_eq!((while_young, when_old), (0, 2));
    assert_eq!(names(&dir), ["listed.parquet", "notes.txt"]);
    assert!(!dir.path().join("lake/tmp/datafusion-1").exists());
}

#[test]
fn a_file_written_anew_has_the_wanted_rows_in_their_order_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(&dir);
    let columns = schema(&[("id", FieldType::Integer), ("name", FieldType::Text)]);
    let rows: Vec<i64> = (0..6).collect();
    let names: Vec<Option<&str>> = vec![Some("a"), None, Some("c"), Some("d"), None, Some("f")];
    write(&lake, "old", &batch(&columns, vec![integers(&rows), texts(&names)]));

    for wanted in 0..64_u32 {
        let is_wanted = |row: i64| wanted & (1 << row) != 0;
        let mut keep = |batch: &RecordBatch| {
            let ids = batch.column(0).as_any().downcast_ref::<arrow::array::Int64Array>().unwrap();
            Ok(ids.iter().map(|id| Some(is_wanted(id.unwrap()))).collect())
        };
        let name = format!("new-{wanted}");
        let file = lake.rewrite_file("old", &name, &mut keep).unwrap();

        let mut found: Vec<String> = Vec::new();
        let scanned = lake.scan_file(&name, &["id", "name", "lacking"], &mut |batch| {
            let ids = batch.column(0).as_any().downcast_ref::<arrow::array::Int64Array>().unwrap();
            let texts = batch.column(1).as_any().downcast_ref::<StringViewArray>().unwrap();
            found.extend(ids.iter().zip(texts.iter()).map(|(id, text)| format!("{} {text:?}", id.unwrap())));
            Ok(())
        });
        scanned.unwrap();
        let expected: Vec<String> =
            rows.iter().zip(&names).filter(|(id, _)| is_wanted(**id)).map(|(id, text)| format!("{id} {text:?}")).collect();
        assert_eq!((found, file.rows), (expected, u64::from(wanted.count_ones())), "{wanted:b}");
        assert_eq!(lake.file_schema(&name).unwrap(), lake.file_schema("old").unwrap());
    }
}
