//! One field on its way through all records.

use std::collections::{HashMap, HashSet};

use affluent_model::pii::PiiClass;
use affluent_model::schema::FieldType;

use super::distinct::{Distinct, Place, VALUES_MAX};
use super::look::{Look, Signs, first_look, shape, whole_look};

/// Shapes that are told apart in one field.
const SHAPES_MAX: usize = 2_000;
/// Values of a field that may be shown at all, when it turns out that they may.
pub(crate) const SHOWN_VALUES_MAX: usize = 20;
/// Letters of such a value.
const SHOWN_LETTERS_MAX: usize = 40;
/// Records in which pairs of fields are tried as keys.
pub(crate) const PAIR_RECORDS_MAX: usize = 20_000;

/// What a source says about a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    pub name: String,
    /// `None` where the source has only text.
    pub kind: Option<FieldType>,
    pub pii: Option<PiiClass>,
}

impl Declared {
    /// A field of which only the name is known.
    #[must_use]
    pub fn text(name: &str) -> Self {
        Self { name: name.to_owned(), kind: None, pii: None }
    }
}

/// Counts the values of one field.
pub(crate) struct ColumnCount {
    pub(crate) declared: Declared,
    pub(crate) nulls: u64,
    pub(crate) empty: u64,
    /// Records with a value.
    pub(crate) filled: u64,
    /// Those of them with space before or after it.
    pub(crate) padded: u64,
    pub(crate) distinct: Distinct,
    /// What all values but junk could be.
    pub(crate) common: Option<Signs>,
    pub(crate) numbers: Option<(f64, f64)>,
    /// First and last day, `YYYYMMDD`.
    pub(crate) days: Option<(u32, u32)>,
    /// Years of dates that occur, from 1850.
    pub(crate) years: HashSet<u16>,
    pub(crate) shapes: Vec<String>,
    shape_numbers: HashMap<String, u16>,
    /// Few values, by hash; `None` once they were many or long.
    pub(crate) few: Option<Vec<(u64, String, u64)>>,
    /// Hashes of the first records, 0 where there was no value.
    pub(crate) first: Vec<u64>,
}

impl ColumnCount {
    pub(crate) fn new(declared: Declared) -> Self {
        Self {
            declared,
            nulls: 0,
            empty: 0,
            filled: 0,
            padded: 0,
            distinct: Distinct::new(VALUES_MAX),
            common: None,
            numbers: None,
            days: None,
            years: HashSet::new(),
            shapes: vec![String::new()],
            shape_numbers: HashMap::new(),
            few: Some(Vec::new()),
            first: Vec::new(),
        }
    }

    /// Counts the value of the next record.
    pub(crate) fn see(&mut self, value: Option<&str>, given_names: &HashSet<&'static str>) {
        let hash = self.count(value, given_names);
        if self.first.len() < PAIR_RECORDS_MAX {
            self.first.push(hash);
        }
    }

    fn count(&mut self, value: Option<&str>, given_names: &HashSet<&'static str>) -> u64 {
        let Some(text) = value else {
            self.nulls += 1;
            return 0;
        };
        let trimmed = text.trim();
        if trimmed.is_empty() {
            self.empty += 1;
            return 0;
        }
        self.filled += 1;
        self.padded += u64::from(trimmed.len() != text.len());
        let hash = self.distinct.hash(trimmed);
        match self.distinct.place(hash) {
            Place::Known => {}
            Place::New(seen) => {
                let look = whole_look(trimmed, given_names);
                seen.signs = look.signs;
                seen.shape = number_of(shape(trimmed), &mut self.shapes, &mut self.shape_numbers);
                self.take(&look);
            }
            Place::Outside => {
                let look = first_look(trimmed);
                self.distinct.outside += 1;
                self.distinct.junk_outside += u64::from(look.signs.has(Signs::JUNK));
                self.take(&look);
            }
        }
        self.keep_few(hash, trimmed);
        hash
    }

    fn take(&mut self, look: &Look) {
        if look.signs.has(Signs::JUNK) {
            return;
        }
        self.common = Some(self.common.map_or(look.signs, |common| common.and(look.signs)));
        if let Some(number) = look.number {
            let (least, most) = self.numbers.unwrap_or((number, number));
            self.numbers = Some((least.min(number), most.max(number)));
        }
        if let Some(moment) = look.moment {
            self.years.insert(moment.year);
            if let Some(day) = moment.day {
                let (first, last) = self.days.unwrap_or((day, day));
                self.days = Some((first.min(day), last.max(day)));
            }
        }
    }

    fn keep_few(&mut self, hash: u64, text: &str) {
        let Some(few) = &mut self.few else { return };
        if let Some((_, _, records)) = few.iter_mut().find(|(known, _, _)| *known == hash) {
            *records += 1;
        } else if few.len() < SHOWN_VALUES_MAX && text.chars().count() <= SHOWN_LETTERS_MAX {
            few.push((hash, text.to_owned(), 1));
        } else {
            self.few = None;
        }
    }

    /// All records.
    pub(crate) fn records(&self) -> u64 {
        self.nulls + self.empty + self.filled
    }
}

/// The number of a shape; 0 for all shapes beyond the limit.
fn number_of(shape: String, shapes: &mut Vec<String>, numbers: &mut HashMap<String, u16>) -> u16 {
    if let Some(number) = numbers.get(&shape) {
        return *number;
    }
    if shapes.len() >= SHAPES_MAX {
        return 0;
    }
    let number = u16::try_from(shapes.len()).unwrap_or(0);
    shapes.push(shape.clone());
    numbers.insert(shape, number);
    number
}
