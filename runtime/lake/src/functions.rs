//! The functions that SQL has here besides DataFusion's: identifier forms, a digest, the pinned clock. Registered
//! once for row programs and lake queries, so that an expression means the same everywhere. They work on whole
//! columns; the rules of each form are those of `model::normalize`.

use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use affluent_model::normalize;
use affluent_model::schema::FieldType;
use arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_err, internal_err};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use sha2::{Digest, Sha256};

/// Name of the clock function, which row programs replace by a column.
pub(crate) const NOW: &str = "now";
/// Name of the date function, which row programs replace by a column.
pub(crate) const TODAY: &str = "current_date";
/// Name of the function that says "this result is not personal".
pub(crate) const NOT_PERSONAL: &str = "not_personal";

/// Functions of DataFusion that are replaced or left out: they read the machine's clock or zone.
pub(crate) const REPLACED: [&str; 3] = [NOW, TODAY, "current_time"];

/// Every function of this file.
pub(crate) fn all() -> Vec<Arc<ScalarUDF>> {
    let text = |name, work, arguments: &[usize]| Arc::new(ScalarUDF::new_from_impl(TextFunction::new(name, work, arguments)));
    vec![
        text("normalize_email", Work::NormalizeEmail, &[1]),
        text("e164", Work::E164, &[1, 2]),
        text("sha256_hex", Work::Sha256Hex, &[1]),
        text("digits", Work::Digits, &[1]),
        Arc::new(ScalarUDF::new_from_impl(NotPersonal { signature: Signature::any(1, Volatility::Immutable) })),
        Arc::new(ScalarUDF::new_from_impl(Clock::new(NOW, "current_timestamp"))),
        Arc::new(ScalarUDF::new_from_impl(Clock::new(TODAY, "today"))),
    ]
}

/// What a text function does to each value; null stays null.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Work {
    /// `normalize_email(text)`: the form under which emails are compared; null when it is not an email.
    NormalizeEmail,
    /// `e164(text[, region])`: the international form of a phone number; null when it is not one.
    E164,
    /// `sha256_hex(text)`: 64 lower-case hex digits of the UTF-8 bytes as they are.
    Sha256Hex,
    /// `digits(text)`: only its ASCII digits.
    Digits,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TextFunction {
    name: &'static str,
    work: Work,
    signature: Signature,
}

impl TextFunction {
    fn new(name: &'static str, work: Work, arguments: &[usize]) -> Self {
        let forms = arguments.iter().map(|count| TypeSignature::Uniform(*count, vec![DataType::Utf8])).collect();
        Self { name, work, signature: Signature::one_of(forms, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for TextFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let values = arguments.args;
        let is_scalar = values.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let rows = if is_scalar { 1 } else { arguments.number_rows };
        let Some(first) = values.first() else { return internal_err!("`{}` without arguments", self.name) };
        let text = text_column(first, rows)?;
        let result = match self.work {
            Work::NormalizeEmail => normalize_emails(&text),
            Work::E164 => international_numbers(&text, &Regions::of(values.get(1), rows)?),
            Work::Sha256Hex => digests(&text)?,
            Work::Digits => only_digits(&text),
        };
        if is_scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?));
        }
        Ok(ColumnarValue::Array(Arc::new(result)))
    }
}

fn text_column(value: &ColumnarValue, rows: usize) -> Result<StringArray> {
    let array: ArrayRef = value.to_array(rows)?;
    let array = if *array.data_type() == DataType::Utf8 { array } else { cast(&array, &DataType::Utf8)? };
    array.as_string_opt::<i32>().cloned().map_or_else(|| internal_err!("text was asked for"), Ok)
}

fn normalize_emails(text: &StringArray) -> StringArray {
    let mut out = builder_for(text);
    for value in text {
        match value {
            Some(value) if is_normal_email(value) => out.append_value(value),
            Some(value) => out.append_option(normalize::email(value)),
            None => out.append_null(),
        }
    }
    out.finish()
}

/// True for most emails as they come: plain ASCII, already lower-case, one `@`, a dotted domain. Only a shortcut past
/// the allocations of [`normalize::email`], which returns such a value unchanged.
fn is_normal_email(value: &str) -> bool {
    let Some((local, domain)) = value.split_once('@') else { return false };
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let mut dots = 0;
    let mut label_bytes = 0;
    for byte in domain.bytes() {
        if byte == b'.' {
            if label_bytes == 0 {
                return false;
            }
            dots += 1;
            label_bytes = 0;
        } else if is_plain(byte) {
            label_bytes += 1;
        } else {
            return false;
        }
    }
    dots > 0
        && label_bytes > 0
        && !local.is_empty()
        && local.bytes().all(|byte| is_plain(byte) || matches!(byte, b'.' | b'_' | b'+'))
}

/// The region of each row of an `e164` call.
enum Regions {
    None,
    Same(String),
    Each(StringArray),
}

impl Regions {
    fn of(argument: Option<&ColumnarValue>, rows: usize) -> Result<Self> {
        match argument {
            None => Ok(Self::None),
            Some(ColumnarValue::Scalar(scalar)) => {
                let region = scalar.try_as_str().flatten().unwrap_or_default();
                Ok(if region.is_empty() { Self::None } else { Self::Same(region.to_owned()) })
            }
            Some(array) => text_column(array, rows).map(Self::Each),
        }
    }

    fn at(&self, row: usize) -> &str {
        match self {
            Self::None => "",
            Self::Same(region) => region,
            Self::Each(regions) if regions.is_valid(row) => regions.value(row),
            Self::Each(_) => "",
        }
    }
}

fn international_numbers(text: &StringArray, regions: &Regions) -> StringArray {
    let mut out = builder_for(text);
    for (row, value) in text.iter().enumerate() {
        out.append_option(value.and_then(|value| normalize::e164(value, regions.at(row))));
    }
    out.finish()
}

fn digests(text: &StringArray) -> Result<StringArray> {
    const DIGEST_HEX_BYTES: usize = 64;
    let mut out = StringBuilder::with_capacity(text.len(), text.len() * DIGEST_HEX_BYTES);
    let mut hex = [0_u8; DIGEST_HEX_BYTES];
    for value in text {
        let Some(value) = value else {
            out.append_null();
            continue;
        };
        let digest = Sha256::digest(value.as_bytes());
        for (pair, byte) in hex.as_chunks_mut::<2>().0.iter_mut().zip(digest) {
            *pair = HEX_PAIRS.get(usize::from(byte)).copied().unwrap_or_default();
        }
        let Ok(written) = std::str::from_utf8(&hex) else { return internal_err!("hex digits are ASCII") };
        out.append_value(written);
    }
    Ok(out.finish())
}

/// The two hex digits of every byte.
static HEX_PAIRS: LazyLock<[[u8; 2]; 256]> = LazyLock::new(|| {
    let digit = |nibble: usize| b"0123456789abcdef".get(nibble).copied().unwrap_or_default();
    std::array::from_fn(|byte| [digit(byte >> 4), digit(byte & 15)])
});

fn only_digits(text: &StringArray) -> StringArray {
    let mut out = builder_for(text);
    for value in text {
        let Some(value) = value else {
            out.append_null();
            continue;
        };
        for digit in value.chars().filter(char::is_ascii_digit) {
            // Writing to a builder grows a buffer; it has no way to fail.
            let _ = out.write_char(digit);
        }
        out.append_value("");
    }
    out.finish()
}

fn builder_for(text: &StringArray) -> StringBuilder {
    StringBuilder::with_capacity(text.len(), text.value_data().len())
}

/// `not_personal(value)`: the value itself; says in the open that a result made from personal columns is not personal
/// (an email's domain, a birth year), so that it is kept in the clear.
#[derive(Debug, PartialEq, Eq, Hash)]
struct NotPersonal {
    signature: Signature,
}

impl ScalarUDFImpl for NotPersonal {
    fn name(&self) -> &str {
        NOT_PERSONAL
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        arg_types.first().cloned().map_or_else(|| exec_err!("`not_personal` takes one value"), Ok)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        arguments.args.into_iter().next().map_or_else(|| exec_err!("`not_personal` takes one value"), Ok)
    }
}

/// `now()` and `current_date`: the time that the query was given, never the machine's. Instants are microseconds UTC
/// like every timestamp here, so that comparing with a column converts nothing.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Clock {
    name: &'static str,
    aliases: Vec<String>,
    signature: Signature,
}

impl Clock {
    fn new(name: &'static str, alias: &str) -> Self {
        Self { name, aliases: vec![alias.to_owned()], signature: Signature::nullary(Volatility::Stable) }
    }
}

impl ScalarUDFImpl for Clock {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        let kind = if self.name == NOW { FieldType::Timestamp } else { FieldType::Date };
        Ok(kind.to_arrow())
    }

    fn simplify(&self, arguments: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let Some(now) = info.query_execution_start_time() else {
            return Ok(ExprSimplifyResult::Original(arguments));
        };
        let instant = ScalarValue::TimestampMicrosecond(Some(now.timestamp_micros()), Some("UTC".into()));
        let literal = if self.name == NOW { instant } else { instant.cast_to(&DataType::Date32)? };
        Ok(ExprSimplifyResult::Simplified(Expr::Literal(literal, None)))
    }

    fn invoke_with_args(&self, _arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        internal_err!("`{}` is replaced by the given time before execution", self.name)
    }
}
