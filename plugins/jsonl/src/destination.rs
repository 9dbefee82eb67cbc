//! Writes batches as lines. With `{batch}` in the path each batch is a file of its own, named by its key and there as
//! soon as the write returns: the same batch again makes the same file. Without it there is one file for the run, which
//! appears whole when the run ends, or not at all.

use std::collections::BTreeSet;

use affluent_sdk::files::Writer;
use affluent_sdk::manifest::{DestinationInfo, Durable, Idempotence, Target, TargetSchema, WriteMode};
use affluent_sdk::{Batch, Destination, Error, Outcome, Report, Result, RowOp};

use crate::config::{Config, check_path};
use crate::write::{Shape, write_lines};

/// Characters of the idempotency key in a file's name.
const KEY_CHARACTERS: usize = 16;

/// The one object there is.
const OBJECT: &str = "file";

/// One open output.
#[derive(Debug)]
pub struct JsonlDestination {
    path: String,
    mode: WriteMode,
    match_fields: Vec<String>,
    /// The file of the run; `None` when each batch has its own.
    writer: Option<Writer>,
    /// Keys of the batches that are written: one that comes again is not written twice.
    written: BTreeSet<String>,
    /// A write failed half-way: the file of the run cannot be completed.
    is_damaged: bool,
    buffer: Vec<u8>,
}

impl Destination for JsonlDestination {
    type Config = Config;

    fn discover(_config: &Config) -> Result<Vec<TargetSchema>> {
        Ok(vec![TargetSchema {
            name: OBJECT.to_owned(),
            fields: Vec::new(),
            any_fields: true,
            open_fields: Vec::new(),
            match_fields: Vec::new(),
            modes: vec![WriteMode::Append, WriteMode::Upsert, WriteMode::Mirror],
            lists: false,
            plaintext: Vec::new(),
            max_rows: None,
        }])
    }

    fn open(config: Config, target: Target) -> Result<(Self, DestinationInfo)> {
        let path = config.path.ok_or_else(|| Error::config("no `path` to write is given"))?;
        check_path(&path)?;
        let path = path.replace("{run}", &safe_name(&target.run));
        let is_per_batch = path.contains("{batch}");
        let destination = Self {
            writer: if is_per_batch { None } else { Some(Writer::open(&path)?) },
            path,
            mode: target.mode,
            match_fields: target.match_fields,
            written: BTreeSet::new(),
            is_damaged: false,
            buffer: Vec::new(),
        };
        let durable = if is_per_batch { Durable::Write } else { Durable::Close };
        Ok((destination, DestinationInfo::new(durable, Idempotence::ByKey).removes(true)))
    }

    fn write(&mut self, batch: Batch) -> Result<Outcome> {
        let columns = batch.columns()?;
        self.buffer.clear();
        let is_plain = !matches!(self.mode, WriteMode::Upsert | WriteMode::Mirror);
        match batch.op {
            RowOp::Delete => write_lines(columns, &self.match_fields, Shape::Operation("delete"), &mut self.buffer)?,
            RowOp::Upsert if is_plain => write_lines(columns, &[], Shape::Plain, &mut self.buffer)?,
            RowOp::Upsert => write_lines(columns, &[], Shape::Operation("upsert"), &mut self.buffer)?,
        }
        let rows = columns.rows;
        self.put(&batch.idempotency_key)?;
        Ok(Report::accepted(rows).into())
    }

    fn close(&mut self) -> Result<()> {
        if self.is_damaged {
            return Err(damaged());
        }
        self.writer.take().map_or(Ok(()), Writer::commit)
    }
}

impl JsonlDestination {
    /// Writes the buffer as the batch of this key.
    fn put(&mut self, key: &str) -> Result<()> {
        let Some(writer) = &self.writer else {
            let short: String = safe_name(key).chars().take(KEY_CHARACTERS).collect();
            let writer = Writer::open(&self.path.replace("{batch}", &short))?;
            writer.write(&self.buffer)?;
            return writer.commit();
        };
        if self.is_damaged {
            return Err(damaged());
        }
        if self.written.contains(key) {
            return Ok(());
        }
        if let Err(error) = writer.write(&self.buffer) {
            self.is_damaged = true;
            return Err(error);
        }
        self.written.insert(key.to_owned());
        Ok(())
    }
}

fn damaged() -> Error {
    Error::internal("an earlier write failed half-way, so the file of this run cannot be completed").code("jsonl.damaged")
}

/// Letters, digits, `-` and `_` stay; everything else becomes `_`.
fn safe_name(name: &str) -> String {
    let safe = |letter: char| if letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_') { letter } else { '_' };
    name.chars().map(safe).collect()
}

#[cfg(test)]
mod tests {
    use affluent_sdk::{ColumnsBuilder, Field, FieldType, Payload, testing};

    use super::*;

    fn open(path: &str, mode: WriteMode) -> (JsonlDestination, DestinationInfo) {
        testing::reset();
        let config = Config { path: Some(path.to_owned()), ..Config::default() };
        let target = Target {
            object: OBJECT.to_owned(),
            mode,
            match_fields: vec!["id".to_owned()],
            list: None,
            fields: Vec::new(),
            run: "r/1".to_owned(),
        };
        JsonlDestination::open(config, target).unwrap()
    }

    fn batch(key: &str, op: RowOp, id: i64) -> Batch {
        let mut rows = ColumnsBuilder::new(&[Field::new("id", FieldType::Integer), Field::new("p.x", FieldType::Text)]);
        rows.set("id", id).unwrap();
        rows.end_row();
        Batch { idempotency_key: key.to_owned(), op, payload: Payload::Columns(rows.finish()) }
    }

    fn output(name: &str) -> String {
        String::from_utf8(testing::output(name).unwrap()).unwrap()
    }

    #[test]
    fn a_batch_has_its_own_file_at_once_and_again_the_same() {
        let (mut destination, info) = open("out/{run}-{batch}.jsonl", WriteMode::Mirror);

        destination.write(batch("0123456789abcdefXYZ", RowOp::Upsert, 1)).unwrap();
        destination.write(batch("0123456789abcdefXYZ", RowOp::Upsert, 1)).unwrap();

        assert_eq!(info, DestinationInfo::new(Durable::Write, Idempotence::ByKey).removes(true));
        assert_eq!(testing::output_names(), ["out/r_1-0123456789abcdef.jsonl"]);
        assert_eq!(output("out/r_1-0123456789abcdef.jsonl"), "{\"_op\":\"upsert\",\"id\":1,\"p\":{\"x\":null}}\n");
    }

    #[test]
    fn the_file_of_a_run_appears_when_it_is_closed() {
        let (mut destination, info) = open("out.jsonl", WriteMode::Append);
        destination.write(batch("a", RowOp::Upsert, 1)).unwrap();
        destination.write(batch("a", RowOp::Upsert, 1)).unwrap();
        destination.write(batch("b", RowOp::Upsert, 2)).unwrap();
        assert_eq!(testing::output("out.jsonl"), None);

        destination.close().unwrap();

        assert_eq!(info.durable, Durable::Close);
        assert_eq!(output("out.jsonl"), "{\"id\":1,\"p.x\":null}\n{\"id\":2,\"p.x\":null}\n");
    }

    #[test]
    fn a_deletion_names_what_is_gone() {
        let (mut destination, _) = open("{batch}.jsonl", WriteMode::Mirror);

        destination.write(batch("k", RowOp::Delete, 7)).unwrap();

        assert_eq!(output("k.jsonl"), "{\"_op\":\"delete\",\"id\":7}\n");
    }

    #[test]
    fn only_known_placeholders_are_allowed() {
        let config = Config { path: Some("out/{day}.jsonl".to_owned()), ..Config::default() };
        let target = Target {
            object: OBJECT.to_owned(),
            mode: WriteMode::Append,
            match_fields: Vec::new(),
            list: None,
            fields: Vec::new(),
            run: String::new(),
        };

        assert!(JsonlDestination::open(config, target).is_err());
    }
}
