//! Values that are made of those of all rows of a key instead of being taken from one: sums and unions. Only picks that ask
//! for it pay for it.

use std::collections::BTreeSet;
use std::sync::Arc;

use affluent_model::fold::{Choose, UNION_SEPARATOR, elements_of};
use affluent_model::limits::UNION_VALUES_MAX;
use arrow::array::{Array as _, ArrayRef, AsArray as _, Decimal128Array, Float64Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type};
use datafusion::common::{Result, internal_err};

/// What was combined of a key so far, and what came of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Combined {
    /// Of integers and decimals; `None` once it left the range.
    Sum(Option<i128>),
    SumOfFloats(f64),
    Texts(BTreeSet<String>),
    /// JSON texts.
    Elements(BTreeSet<String>),
}

/// True when values of this type can be combined so.
pub(super) fn can_combine(choose: Choose, kind: &DataType) -> bool {
    match choose {
        Choose::Sum => matches!(kind, DataType::Int64 | DataType::Float64 | DataType::Decimal128(_, _)),
        _ => *kind == DataType::Utf8,
    }
}

impl Combined {
    /// Adds the value of a row, which is not null, to what was combined before.
    pub(super) fn with(before: Option<Self>, choose: Choose, values: &ArrayRef, row: usize) -> Self {
        match choose {
            Choose::Sum if *values.data_type() == DataType::Float64 => {
                let known = if let Some(Self::SumOfFloats(known)) = before { known } else { 0.0 };
                Self::SumOfFloats(known + values.as_primitive::<Float64Type>().value(row))
            }
            Choose::Sum => {
                let known = if let Some(Self::Sum(known)) = before { known } else { Some(0) };
                let value = match values.data_type() {
                    DataType::Int64 => i128::from(values.as_primitive::<Int64Type>().value(row)),
                    _ => values.as_primitive::<Decimal128Type>().value(row),
                };
                Self::Sum(known.and_then(|known| known.checked_add(value)))
            }
            Choose::UnionOfLists => {
                let known = if let Some(Self::Elements(known)) = before { known } else { BTreeSet::new() };
                Self::Elements(with_values(known, elements_of(values.as_string::<i32>().value(row))))
            }
            _ => {
                let known = if let Some(Self::Texts(known)) = before { known } else { BTreeSet::new() };
                let text = values.as_string::<i32>().value(row).trim();
                Self::Texts(with_values(known, (!text.is_empty()).then(|| text.to_owned())))
            }
        }
    }

    /// The text of a union; `None` where it has no value.
    fn text(&self) -> Option<String> {
        match self {
            Self::Texts(texts) if !texts.is_empty() => {
                Some(texts.iter().map(String::as_str).collect::<Vec<_>>().join(UNION_SEPARATOR))
            }
            Self::Elements(elements) if !elements.is_empty() => {
                Some(format!("[{}]", elements.iter().map(String::as_str).collect::<Vec<_>>().join(",")))
            }
            _ => None,
        }
    }

    fn sum(&self) -> Option<i128> {
        if let Self::Sum(sum) = self { *sum } else { None }
    }

    fn sum_of_floats(&self) -> Option<f64> {
        if let Self::SumOfFloats(sum) = self { Some(*sum).filter(|sum| sum.is_finite()) } else { None }
    }
}

fn with_values(mut known: BTreeSet<String>, values: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    known.extend(values);
    while known.len() > UNION_VALUES_MAX {
        known.pop_last();
    }
    known
}

/// The column of what was combined, key by key, in the type of the values; null where a sum has no place in it.
///
/// # Errors
/// For a type that nothing is combined to.
pub(super) fn column(combined: &[Option<Combined>], kind: &DataType) -> Result<ArrayRef> {
    let each = || combined.iter().map(Option::as_ref);
    let sums = || each().map(|one| one.and_then(Combined::sum));
    Ok(match kind {
        DataType::Utf8 => Arc::new(each().map(|one| one.and_then(Combined::text)).collect::<StringArray>()),
        DataType::Float64 => Arc::new(each().map(|one| one.and_then(Combined::sum_of_floats)).collect::<Float64Array>()),
        DataType::Int64 => Arc::new(sums().map(|sum| i64::try_from(sum?).ok()).collect::<Int64Array>()),
        DataType::Decimal128(precision, scale) => {
            let limit = 10_i128.checked_pow(u32::from(*precision)).unwrap_or(i128::MAX);
            let fitting = sums().map(|sum| sum.filter(|sum| sum.unsigned_abs() < limit.unsigned_abs()));
            Arc::new(fitting.collect::<Decimal128Array>().with_precision_and_scale(*precision, *scale)?)
        }
        _ => return internal_err!("values of type {kind} are not combined"),
    })
}
