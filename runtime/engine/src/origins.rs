//! Where the values of a snapshot come from: of each profile the list of its records that give anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use affluent_model::identity::NodeId;
use affluent_model::schema::FieldType;
use affluent_model::{Error, Result};
use affluent_profiles::lineage::givers::{FROM, GIVERS_KEY, GIVES, Givers};
use arrow::array::{Array, ArrayRef, AsArray, StringArray, StructArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;

use crate::rows;

/// How a snapshot tells where its values come from.
pub(crate) struct Origins {
    /// `None` for a snapshot that has a column for each attribute, as up to version 0.1: `<attribute>__from`.
    givers: Option<Givers>,
}

/// Of the values of one column, row by row, the record that each comes from.
pub(crate) struct Lineage {
    records: ArrayRef,
    nodes: ArrayRef,
    times: Option<ArrayRef>,
    /// Row → place in `fields`.
    numbers: Vec<usize>,
    /// Table and column.
    fields: Vec<(String, String)>,
}

impl Origins {
    /// # Errors
    /// `E0001` when the snapshot has another shape.
    pub(crate) fn of(snapshot: &Schema) -> Result<Self> {
        let Ok(field) = snapshot.field_with_name(FROM) else { return Ok(Self { givers: None }) };
        let givers = field.metadata().get(GIVERS_KEY).and_then(|text| Givers::from_text(text)).ok_or_else(other_shape)?;
        Ok(Self { givers: Some(givers) })
    }

    /// The column that tells it of an attribute.
    pub(crate) fn column(&self, attribute: &str) -> String {
        if self.givers.is_some() { FROM.to_owned() } else { format!("{attribute}{COLUMN_OF_ATTRIBUTE}") }
    }

    /// Of the values of an attribute; `None` for what is no attribute.
    ///
    /// # Errors
    /// `E0001` when the snapshot has another shape.
    pub(crate) fn lineage(&self, rows: &RecordBatch, attribute: &str) -> Result<Option<Lineage>> {
        let Some(column) = rows.column_by_name(&self.column(attribute)) else { return Ok(None) };
        match &self.givers {
            None => Lineage::of_columns(column.as_struct_opt().ok_or_else(other_shape)?).map(Some),
            Some(givers) => givers.place_of(attribute).map(|place| Lineage::of_list(column, givers, place)).transpose(),
        }
    }
}

/// What the name of a column ends with that tells it of one attribute.
const COLUMN_OF_ATTRIBUTE: &str = "__from";

/// True for a column that tells of others; a value may have such a name too.
pub(crate) fn is_origin(column: &Field) -> bool {
    let is_of_attribute = || matches!(column.data_type(), DataType::Struct(_)) && column.name().ends_with(COLUMN_OF_ATTRIBUTE);
    column.name() == FROM || is_of_attribute()
}

fn other_shape() -> Error {
    Error::bug("a snapshot tells where its values come from, yet not in the shape that it is written in")
}

impl Lineage {
    /// Of a column of a lake table, whose records have these keys and persons.
    ///
    /// # Errors
    /// `E0001` when keys or persons have another type.
    pub(crate) fn of_records(table: &str, field: &str, records: &ArrayRef, nodes: &ArrayRef) -> Result<Self> {
        Ok(Self {
            records: rows::as_text(records)?,
            nodes: rows::cast_to(nodes, &DataType::Int64)?,
            times: None,
            numbers: vec![0; records.len()],
            fields: vec![(table.to_owned(), field.to_owned())],
        })
    }

    /// Of the attribute at a place, from the records that give something.
    fn of_list(column: &ArrayRef, givers: &Givers, place: usize) -> Result<Self> {
        let lists = column.as_list_opt::<i32>().ok_or_else(other_shape)?;
        let records = lists.values().as_struct_opt().ok_or_else(other_shape)?;
        let gives = rows::cast_to(part(records, GIVES)?, &DataType::Binary)?;
        let gives = gives.as_binary::<i32>();
        let gives_it = |record: &usize| gives.value(*record).get(place / 8).is_some_and(|bits| bits >> (place % 8) & 1 == 1);
        let giver = |bounds: &[i32]| {
            let [start, end] = bounds else { return None };
            (usize::try_from(*start).ok()?..usize::try_from(*end).ok()?).find(gives_it)
        };
        let chosen: Vec<Option<usize>> = lists.value_offsets().windows(2).map(giver).collect();
        let places: UInt32Array = chosen.iter().map(|record| record.and_then(|record| u32::try_from(record).ok())).collect();
        let taken = |name: &str| take(part(records, name)?, &places, None).map_err(|error| Error::bug(error.to_string()));
        let sources = rows::cast_to(part(records, "source")?, &DataType::Int64)?;
        let sources = sources.as_primitive::<Int64Type>();
        let number = |record: Option<usize>| record.and_then(|record| usize::try_from(sources.value(record)).ok());
        Ok(Self {
            records: rows::as_text(&taken("record")?)?,
            nodes: rows::cast_to(&taken("node")?, &DataType::Int64)?,
            times: Some(rows::cast_to(&taken("at")?, &FieldType::Timestamp.to_arrow())?),
            numbers: chosen.into_iter().map(|record| number(record).unwrap_or(usize::MAX)).collect(),
            fields: givers.fields_of(place),
        })
    }

    /// From a column of the attribute's own.
    fn of_columns(from: &StructArray) -> Result<Self> {
        let (tables, columns) = (rows::as_text(part(from, "table")?)?, rows::as_text(part(from, "field")?)?);
        let (tables, columns): (&StringArray, &StringArray) = (tables.as_string(), columns.as_string());
        let mut known: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        let mut number = |row: usize| {
            let next = known.len();
            *known.entry((tables.value(row), columns.value(row))).or_insert(next)
        };
        let numbers = (0..from.len()).map(|row| if from.is_valid(row) { number(row) } else { usize::MAX }).collect();
        let mut fields = vec![(String::new(), String::new()); known.len()];
        for ((table, column), number) in known {
            if let Some(slot) = fields.get_mut(number) {
                *slot = (table.to_owned(), column.to_owned());
            }
        }
        let nulls = from.nulls();
        let nodes = rows::cast_to(part(from, "node")?, &DataType::Int64)?;
        let nodes = nodes.as_primitive::<Int64Type>().clone();
        let nulls = arrow::buffer::NullBuffer::union(nodes.nulls(), nulls);
        let nodes = arrow::array::Int64Array::new(nodes.values().clone(), nulls);
        Ok(Self {
            records: rows::as_text(part(from, "record")?)?,
            nodes: Arc::new(nodes),
            times: Some(rows::cast_to(part(from, "at")?, &FieldType::Timestamp.to_arrow())?),
            numbers,
            fields,
        })
    }

    fn field(&self, row: usize) -> (&str, &str) {
        let field = self.numbers.get(row).and_then(|number| self.fields.get(*number));
        field.map_or(("", ""), |(table, column)| (table, column))
    }

    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }

    pub(crate) fn table(&self, row: usize) -> &str {
        self.field(row).0
    }

    /// The column of the table.
    pub(crate) fn column(&self, row: usize) -> &str {
        self.field(row).1
    }

    /// The record's key at the source.
    pub(crate) fn record(&self, row: usize) -> &str {
        let records: &StringArray = self.records.as_string();
        if records.is_valid(row) { records.value(row) } else { "" }
    }

    /// `None` where there is no value.
    pub(crate) fn node(&self, row: usize) -> Option<NodeId> {
        self.nodes.is_valid(row).then(|| NodeId(self.nodes.as_primitive::<Int64Type>().value(row)))
    }

    /// When the source says that it was so, microseconds UTC.
    pub(crate) fn at_us(&self, row: usize) -> Option<i64> {
        let times = self.times.as_ref()?.as_primitive::<TimestampMicrosecondType>();
        times.is_valid(row).then(|| times.value(row))
    }
}

fn part<'a>(records: &'a StructArray, name: &str) -> Result<&'a ArrayRef> {
    records.column_by_name(name).ok_or_else(other_shape)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use affluent_profiles::lineage::givers::GivingTable;
    use arrow::array::{BinaryArray, Int64Array, ListArray, TimestampMicrosecondArray};
    use arrow::buffer::OffsetBuffer;

    use super::*;

    fn texts(values: &[&str]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    fn structs(columns: Vec<(&str, ArrayRef)>, nulls: Option<Vec<bool>>) -> StructArray {
        let fields: Vec<Field> =
            columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
        StructArray::new(fields.into(), columns.into_iter().map(|(_, column)| column).collect(), nulls.map(Into::into))
    }

    fn told(nodes: [i64; 3]) -> [(&'static str, ArrayRef); 2] {
        let times = TimestampMicrosecondArray::from(nodes.map(|node| node * 10).to_vec()).with_timezone("UTC");
        [("node", Arc::new(Int64Array::from(nodes.to_vec()))), ("at", Arc::new(times))]
    }

    /// What is told of an attribute, row by row: table, column, record, node, time.
    fn told_of(schema: &Schema, rows: &RecordBatch, attribute: &str) -> Vec<String> {
        let lineage = Origins::of(schema).unwrap().lineage(rows, attribute).unwrap().unwrap();
        let row = |row: usize| match (lineage.node(row), lineage.at_us(row)) {
            (Some(node), Some(at_us)) => {
                format!("{} {} {} {} {at_us}", lineage.table(row), lineage.column(row), lineage.record(row), node.0)
            }
            _ => "nobody".to_owned(),
        };
        (0..lineage.len()).map(row).collect()
    }

    #[test]
    fn each_attribute_comes_from_the_record_that_gives_it() {
        let giving = |table: &str, columns: &[(&str, &str)]| GivingTable {
            table: table.to_owned(),
            columns: columns.iter().map(|(name, column)| ((*name).to_owned(), (*column).to_owned())).collect(),
        };
        let attributes = (0..9).map(|number| format!("a{number}")).collect();
        let tables =
            vec![giving("crm.people", &[("a0", "first")]), giving("shop.customers", &[("a0", "name"), ("a8", "_attr_a8")])];
        let metadata = HashMap::from([(GIVERS_KEY.to_owned(), serde_json::to_string(&Givers { attributes, tables }).unwrap())]);
        let gives: ArrayRef = Arc::new(BinaryArray::from_vec(vec![&[0b01, 0b1], &[0b01, 0b0], &[0b10, 0b1]]));
        let sources: ArrayRef = Arc::new(Int64Array::from(vec![1, 0, 1]));
        let mut columns = vec![("source", sources), ("record", texts(&["x", "y", "z"]))];
        columns.extend(told([7, 8, 9]));
        columns.push((GIVES, gives));
        let records = structs(columns, None);
        let item = Arc::new(Field::new_list_field(records.data_type().clone(), true));
        let lists = ListArray::new(item, OffsetBuffer::from_lengths([1, 0, 2]), Arc::new(records), None);
        let schema = Schema::new(vec![Field::new(FROM, lists.data_type().clone(), true).with_metadata(metadata)]);
        let rows = RecordBatch::try_new(Arc::new(schema.clone()), vec![Arc::new(lists)]).unwrap();

        assert_eq!(told_of(&schema, &rows, "a0"), ["shop.customers name x 7 70", "nobody", "crm.people first y 8 80"]);
        assert_eq!(told_of(&schema, &rows, "a8"), ["shop.customers _attr_a8 x 7 70", "nobody", "shop.customers _attr_a8 z 9 90"]);
        assert_eq!(told_of(&schema, &rows.slice(2, 1), "a0"), ["crm.people first y 8 80"]);
        assert!(Origins::of(&schema).unwrap().lineage(&rows, "a trait").unwrap().is_none());
    }

    #[test]
    fn a_value_may_be_named_as_what_tells_of_others() {
        let cases = [
            (FROM, DataType::Utf8, true),
            ("sent__from", DataType::Utf8, false),
            ("sent__from", DataType::Struct(Vec::<Field>::new().into()), true),
            ("sent", DataType::Utf8, false),
        ];
        for (name, kind, expected) in cases {
            assert_eq!(is_origin(&Field::new(name, kind.clone(), true)), expected, "{name}: {kind}");
        }
    }

    #[test]
    fn a_snapshot_of_before_tells_it_of_each_attribute_in_a_column_of_its_own() {
        let mut columns = vec![
            ("table", texts(&["shop.customers", "", "crm.people"])),
            ("record", texts(&["x", "", "y"])),
            ("field", texts(&["name", "", "first"])),
        ];
        columns.extend(told([7, 0, 8]));
        let from = structs(columns, Some(vec![true, false, true]));
        let schema = Schema::new(vec![Field::new("a0__from", from.data_type().clone(), true)]);
        let rows = RecordBatch::try_new(Arc::new(schema.clone()), vec![Arc::new(from)]).unwrap();

        assert_eq!(told_of(&schema, &rows, "a0"), ["shop.customers name x 7 70", "nobody", "crm.people first y 8 80"]);
    }
}
