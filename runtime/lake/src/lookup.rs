//! Functions that one query is given beside its tables: looking a number up in memory. A join would hash both of its sides
//! for what is one access to a list.

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, BooleanArray, Int64Array};
use arrow::buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use crate::canonical::type_as_view;

/// Text → a number, or none.
pub type Find = Arc<dyn Fn(&str) -> Option<i64> + Send + Sync>;

/// A function of one column; null for null.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Lookup {
    name: String,
    values: Values,
    signature: Signature,
}

#[derive(Clone)]
enum Values {
    Numbers(Arc<Vec<u32>>),
    Marks(Arc<Marks>),
    Texts(Find),
}

impl Lookup {
    /// Integer n → the number at place n; null beyond the list and where the list has [`Lookup::NONE`].
    #[must_use]
    pub fn numbers(name: &str, numbers: Arc<Vec<u32>>) -> Self {
        Self::new(name, Values::Numbers(numbers), DataType::Int64)
    }

    /// Integer → whether it is among these; for many that lie close together.
    #[must_use]
    pub fn among(name: &str, integers: &[i64]) -> Self {
        Self::new(name, Values::Marks(Arc::new(Marks::of(integers))), DataType::Int64)
    }

    /// Text → the number that `find` finds; null where it finds none.
    #[must_use]
    pub fn texts(name: &str, find: Find) -> Self {
        Self::new(name, Values::Texts(find), DataType::Utf8)
    }

    /// In a list of numbers: there is none.
    pub const NONE: u32 = u32::MAX;

    fn new(name: &str, values: Values, argument: DataType) -> Self {
        let arguments = BTreeSet::from([type_as_view(&argument), argument]);
        let signatures = arguments.into_iter().map(|argument| TypeSignature::Exact(vec![argument])).collect();
        Self { name: name.to_owned(), values, signature: Signature::one_of(signatures, Volatility::Immutable) }
    }

    pub(crate) fn function(&self) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::new_from_impl(self.clone()))
    }
}

impl Values {
    fn address(&self) -> usize {
        match self {
            Self::Numbers(list) => Arc::as_ptr(list).addr(),
            Self::Marks(marks) => Arc::as_ptr(marks).addr(),
            Self::Texts(find) => Arc::as_ptr(find).cast::<()>().addr(),
        }
    }
}

/// The lists themselves are not compared: a query has one of a name.
impl PartialEq for Values {
    fn eq(&self, other: &Self) -> bool {
        self.address() == other.address()
    }
}

impl Eq for Values {}

impl Hash for Values {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.address().hash(state);
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup").field("name", &self.name).finish_non_exhaustive()
    }
}

impl ScalarUDFImpl for Lookup {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(match self.values {
            Values::Marks(_) => DataType::Boolean,
            Values::Numbers(_) | Values::Texts(_) => DataType::Int64,
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(argument) = arguments.args.first() else { return internal_err!("`{}` without an argument", self.name) };
        let column = argument.to_array(arguments.number_rows)?;
        let found: Option<ArrayRef> = match &self.values {
            Values::Numbers(list) => column.as_primitive_opt::<Int64Type>().map(|column| numbers(list, column)),
            Values::Marks(marks) => column.as_primitive_opt::<Int64Type>().map(|column| marks.answer(column)),
            Values::Texts(find) => {
                let find = |text: Option<&str>| find(text?);
                let found = column.as_string_opt::<i32>().map(|column| column.iter().map(find).collect::<Int64Array>());
                let found = found.or_else(|| Some(column.as_string_view_opt()?.iter().map(find).collect()));
                found.map(|found| Arc::new(found) as ArrayRef)
            }
        };
        found.map_or_else(|| internal_err!("`{}` was given another type than it asks for", self.name), |found| Ok(found.into()))
    }
}

fn numbers(list: &[u32], column: &Int64Array) -> ArrayRef {
    let number = |place: i64| usize::try_from(place).ok().and_then(|place| list.get(place)).copied().unwrap_or(Lookup::NONE);
    let found: Vec<u32> = column.values().iter().map(|place| number(*place)).collect();
    let has_number = BooleanBuffer::collect_bool(found.len(), |row| found.get(row).is_some_and(|found| *found != Lookup::NONE));
    let is_valid = NullBuffer::union(column.nulls(), Some(&NullBuffer::new(has_number)));
    let found = found.into_iter().map(i64::from).collect::<ScalarBuffer<i64>>();
    Arc::new(Int64Array::new(found, is_valid))
}

/// Integers of one page.
const PAGE: i64 = 1 << 12;
const WORDS: usize = 1 << 6;

/// Integers as bits, in pages of those that lie close together.
struct Marks {
    /// (number of the page, its bits), sorted.
    pages: Vec<(i64, Box<[u64; WORDS]>)>,
}

impl Marks {
    fn of(integers: &[i64]) -> Self {
        let mut sorted = integers.to_vec();
        sorted.sort_unstable();
        let mut pages: Vec<(i64, Box<[u64; WORDS]>)> = Vec::new();
        for integer in sorted {
            let page = integer.div_euclid(PAGE);
            if pages.last().is_none_or(|(last, _)| *last != page) {
                pages.push((page, Box::new([0; WORDS])));
            }
            let (word, bit) = Self::bit(integer);
            if let Some(word) = pages.last_mut().and_then(|(_, words)| words.get_mut(word)) {
                *word |= bit;
            }
        }
        Self { pages }
    }

    fn bit(integer: i64) -> (usize, u64) {
        let within = integer.rem_euclid(PAGE);
        (usize::try_from(within / 64).unwrap_or_default(), 1 << (within % 64))
    }

    fn answer(&self, column: &Int64Array) -> ArrayRef {
        let mut open: Option<&(i64, Box<[u64; WORDS]>)> = None;
        let mut is_marked = |integer: i64| {
            let page = integer.div_euclid(PAGE);
            if open.is_none_or(|(number, _)| *number != page) {
                open = self.pages.binary_search_by_key(&page, |(number, _)| *number).ok().and_then(|at| self.pages.get(at));
            }
            let (word, bit) = Self::bit(integer);
            open.and_then(|(_, words)| words.get(word)).is_some_and(|word| word & bit != 0)
        };
        let marked: BooleanArray = column.iter().map(|integer| integer.map(&mut is_marked)).collect();
        Arc::new(marked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_wherever_they_lie() {
        let marked = [i64::MIN, -PAGE - 1, -1, 0, 1, 63, 64, PAGE, 10 * PAGE + 7, i64::MAX];
        let marks = Marks::of(&marked);
        let asked: Vec<i64> = marked.iter().flat_map(|one| [one.saturating_sub(1), *one, one.saturating_add(1)]).collect();

        let answer = marks.answer(&asked.iter().copied().map(Some).chain([None]).collect());

        let expected: Vec<Option<bool>> = asked.iter().map(|one| Some(marked.contains(one))).chain([None]).collect();
        assert_eq!(answer.as_boolean().iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_number_is_found_by_its_place_and_nothing_beyond_the_list() {
        let found = numbers(&[7, Lookup::NONE, 0], &Int64Array::from(vec![Some(0), Some(1), Some(2), Some(3), Some(-1), None]));

        let expected = [Some(7), None, Some(0), None, None, None];
        assert_eq!(found.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), expected);
    }
}
