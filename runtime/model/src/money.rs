//! Money in several currencies: what others are worth in the one that values are told in, day by day.

use std::collections::BTreeMap;

/// Places of a rate after the point.
pub const RATE_PLACES: usize = 12;
/// One, in the smallest steps of a rate.
const ONE: i128 = 1_000_000_000_000;

/// In which currency values are told, and the rates of others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Money {
    /// ISO 4217: `EUR`.
    pub currency: String,
    /// Currency → first day (since 1970-01-01 UTC) → what one unit is worth from then on, in 10^-12 of [`Self::currency`].
    pub rates: BTreeMap<String, BTreeMap<i32, i128>>,
}

impl Money {
    /// Millionths of a currency on a day as millionths of [`Self::currency`], rounded half away from zero; `None` where the
    /// currency has no rate yet on that day, or the value has no room.
    #[must_use]
    pub fn convert(&self, currency: &str, day: i32, micros: i64) -> Option<i64> {
        if currency.trim().eq_ignore_ascii_case(&self.currency) {
            return Some(micros);
        }
        let rates = self.rates.get(&currency.trim().to_ascii_uppercase())?;
        let (_, rate) = rates.range(..=day).next_back()?;
        let exact = i128::from(micros).checked_mul(*rate)?;
        let half = if exact < 0 { -ONE / 2 } else { ONE / 2 };
        i64::try_from((exact + half) / ONE).ok()
    }

    /// True when orders in a currency can have a value.
    #[must_use]
    pub fn knows(&self, currency: &str) -> bool {
        let code = currency.trim().to_ascii_uppercase();
        code == self.currency || self.rates.contains_key(&code)
    }
}

/// A rate as it is written: a positive decimal number with at most [`RATE_PLACES`] places; in 10^-12.
#[must_use]
pub fn rate_of(text: &str) -> Option<i128> {
    let (whole, part) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > RATE_PLACES || part.len() > RATE_PLACES || !is_number(whole) || !is_number(part) {
        return None;
    }
    format!("{whole}{part:0<RATE_PLACES$}").parse().ok().filter(|rate| *rate > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money() -> Money {
        let dollars = BTreeMap::from([(100, rate_of("0.9").unwrap()), (200, rate_of("0.123456789012").unwrap())]);
        Money { currency: "EUR".to_owned(), rates: BTreeMap::from([("USD".to_owned(), dollars)]) }
    }

    #[test]
    fn a_value_is_converted_at_the_rate_of_its_day() {
        let cases = [
            ("EUR", 0, 5_000_000, Some(5_000_000)),
            ("usd ", 100, 10_000_000, Some(9_000_000)),
            ("USD", 199, -10_000_000, Some(-9_000_000)),
            ("USD", 200, 1_000_000, Some(123_457)),
            ("USD", 200, -1_000_000, Some(-123_457)),
            ("USD", 99, 1_000_000, None),
            ("GBP", 500, 1_000_000, None),
            ("", 500, 1_000_000, None),
        ];
        for (currency, day, micros, expected) in cases {
            assert_eq!(money().convert(currency, day, micros), expected, "{currency} {day}");
        }
    }

    #[test]
    fn a_rate_is_a_positive_decimal_number() {
        assert_eq!(rate_of(" 1.0852 "), Some(1_085_200_000_000));
        assert_eq!(rate_of("0.000000000001"), Some(1));
        for wrong in ["", "0", "0.0", "-1", "1,08", "1e3", ".5", "1.0000000000001", "x"] {
            assert_eq!(rate_of(wrong), None, "{wrong}");
        }
    }
}
