//! That an erased person is in no file of the lake: neither a value in the clear nor a blind index, listed or not.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use libtest_mimic::{Failed, Trial};

use crate::support::{Project, RESUME, files_below, holds, killed_while_erasing, rule, same};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        rule("erasure files: no file holds a clear value or a blind index of the person, nor after three full syncs", in_no_file),
        rule("erasure files: killed anywhere and resumed, no file holds them either", killed_anywhere),
    ]
}

/// Stands in the clear in a column of the person's records.
const NOTE: &str = "zebra clear seventy-seven";

/// The example with a column that is nobody's personal datum, run twice: there are several files and a former snapshot.
fn project() -> Result<Project, Failed> {
    let project = Project::copy_of("lifecycle");
    for (file, place) in [("exports/customers.csv", 0), ("exports/orders.csv", 1)] {
        let text = project.read(file);
        let noted = text.lines().map(|line| match line.split(',').nth(place) {
            Some("customer_id") => format!("{line},remark\n"),
            Some("2") => format!("{line},{NOTE}\n"),
            _ => format!("{line},nothing\n"),
        });
        project.write(file, &noted.collect::<String>());
    }
    project.affluent(&["run", "--quiet"]).expect(0)?;
    project.affluent(&["run", "--full", "--quiet"]).expect(0)?;
    Ok(project)
}

fn lake_files(project: &Project) -> Vec<PathBuf> {
    let files = files_below(&project.path().join(".affluent"));
    files.into_iter().filter(|path| path.extension().is_some_and(|end| end == "parquet" || end == "partial")).collect()
}

fn batches(path: &Path) -> Result<Vec<RecordBatch>, Failed> {
    let mut batches = Vec::new();
    affluent_lake::read_parquet(path, &mut |_, batch| {
        batches.push(batch);
        Ok(())
    })?;
    Ok(batches)
}

/// The binary values of a row, and all its values as text.
fn row_of(batch: &RecordBatch, row: usize) -> Result<(Vec<Vec<u8>>, String), Failed> {
    let (mut binaries, mut text) = (Vec::new(), String::new());
    for column in batch.columns() {
        if *column.data_type() == DataType::Binary {
            binaries.extend(column.is_valid(row).then(|| column.as_binary::<i32>().value(row).to_vec()));
        } else {
            let options = FormatOptions::default();
            text.push_str(&ArrayFormatter::try_new(column.as_ref(), &options)?.value(row).to_string());
            text.push('|');
        }
    }
    Ok((binaries, text))
}

/// Rows of all files that hold the note or one of the blind indexes, and the blind indexes of the rows with the note.
fn found(project: &Project, indexes: &BTreeSet<Vec<u8>>) -> Result<(usize, BTreeSet<Vec<u8>>), Failed> {
    let (mut rows, mut of_person) = (0, BTreeSet::new());
    for path in lake_files(project) {
        for batch in batches(&path)? {
            for row in 0..batch.num_rows() {
                let (binaries, text) = row_of(&batch, row)?;
                if text.contains(NOTE) {
                    of_person.extend(binaries.iter().filter(|value| value.len() == 17).cloned());
                }
                rows += usize::from(text.contains(NOTE) || binaries.iter().any(|value| indexes.contains(value)));
            }
        }
    }
    Ok((rows, of_person))
}

fn in_no_file() -> Result<(), Failed> {
    let project = project()?;
    let (before, indexes) = found(&project, &BTreeSet::new())?;
    holds(before > 1 && indexes.len() == 2, format!("{before} rows with the note, {} blind indexes", indexes.len()))?;

    project.affluent(&["profile", "erase", "email:bo@x.test", "--yes", "--quiet"]).expect(0)?;

    same("rows after the erasure", found(&project, &indexes)?.0, 0)?;
    project.affluent(&["profile", "show", "email:ann@x.test"]).expect(0)?;
    for _ in 0..3 {
        project.affluent(&["run", "--full", "--quiet"]).expect(0)?;
        same("rows after a full sync", found(&project, &indexes)?.0, 0)?;
    }
    Ok(())
}

fn killed_anywhere() -> Result<(), Failed> {
    let fresh = project()?;
    let (_, indexes) = found(&fresh, &BTreeSet::new())?;
    let rows_left = |project: &Project| {
        let (rows, _) = found(project, &indexes)?;
        same("rows left", rows, 0)
    };
    killed_while_erasing(&fresh, 4, &[&RESUME], || {}, rows_left)
}
