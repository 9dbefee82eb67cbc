//! How alike two normal forms are.

use affluent_model::matching::AttributeForm;

use super::forms::street_start;

/// Jaro-Winkler similarity, 0 to 1.
pub(crate) fn jaro_winkler(a: &str, b: &str) -> f64 {
    strsim::jaro_winkler(a, b)
}

/// At most `edits` letters inserted, lost, changed or swapped with their neighbour.
pub(crate) fn is_within(a: &str, b: &str, edits: u32) -> bool {
    match edits {
        0 => a == b,
        1 => is_one_edit(a.as_bytes(), b.as_bytes()),
        _ => strsim::osa_distance(a, b) <= edits as usize,
    }
}

/// Equal but for one byte inserted, lost or changed, or two neighbours swapped: the test that is made most.
fn is_one_edit(a: &[u8], b: &[u8]) -> bool {
    if a.len().abs_diff(b.len()) > 1 {
        return false;
    }
    let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let (a, b) = (a.get(same..).unwrap_or(&[]), b.get(same..).unwrap_or(&[]));
    match (a, b) {
        ([], [] | [_]) | ([_], []) => true,
        ([a1, a2, a_rest @ ..], [b1, b2, b_rest @ ..]) if a1 == b2 && a2 == b1 && a_rest == b_rest => true,
        ([_, a_rest @ ..], [_, b_rest @ ..]) => a_rest == b_rest || a_rest == b || a == b_rest,
        _ => false,
    }
}

/// Two of year, month and day agree, or one slip of the hand, or day and month swapped.
pub(crate) fn are_dates_near(a: &str, b: &str) -> bool {
    is_one_edit(a.as_bytes(), b.as_bytes()) || is_day_month_swapped(a, b) || equal_date_parts(a, b) == 2
}

/// How many of year, month and day agree.
pub(crate) fn equal_date_parts(a: &str, b: &str) -> u32 {
    let same = |range: std::ops::Range<usize>| u32::from(a.get(range.clone()) == b.get(range));
    same(0..4) + same(4..6) + same(6..8)
}

pub(crate) fn is_day_month_swapped(a: &str, b: &str) -> bool {
    a.get(0..4) == b.get(0..4) && a.get(4..6) == b.get(6..8) && a.get(6..8) == b.get(4..6)
}

/// Days between two dates of eight digits; `None` when one cannot be.
pub(crate) fn days_between(a: &str, b: &str) -> Option<u32> {
    Some(day_number(a)?.abs_diff(day_number(b)?))
}

/// Days since the first of March of year 0 (Gregorian), by the usual count of years that begin in March.
fn day_number(date: &str) -> Option<u32> {
    let number = |range: std::ops::Range<usize>| date.get(range)?.parse::<u32>().ok();
    let (year, month, day) = (number(0..4)?, number(4..6)?, number(6..8)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let (year, month) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    Some(year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1)
}

/// Similarity of two streets, 0 where their house numbers differ.
pub(crate) fn street_similarity(a: &str, b: &str) -> f64 {
    let (a_number, a_street) = a.split_at_checked(street_start(a)).unwrap_or(("", a));
    let (b_number, b_street) = b.split_at_checked(street_start(b)).unwrap_or(("", b));
    if a_number == b_number { jaro_winkler(a_street, b_street) } else { 0.0 }
}

/// True when two values of an attribute cannot be slips of each other.
pub(crate) fn contradicts(form: AttributeForm, a: &str, b: &str) -> bool {
    match form {
        AttributeForm::Date(_) => !are_dates_near(a, b),
        AttributeForm::Code => !is_within(a, b, 1),
        AttributeForm::Street => street_similarity(a, b) < 0.85,
        AttributeForm::GivenName | AttributeForm::FamilyName | AttributeForm::Email | AttributeForm::Text => {
            jaro_winkler(a, b) < 0.85 && !is_within(a, b, 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_edit_is_an_insertion_a_loss_a_change_or_a_swap() {
        let near = [("abc", "abc"), ("abc", "ab"), ("abc", "xabc"), ("abc", "axc"), ("abc", "bac"), ("", "a"), ("ab", "ba")];
        let far = [("abc", "a"), ("abc", "cba"), ("abcd", "badc"), ("abc", "axxc"), ("", "ab")];
        for (a, b) in near {
            assert!(is_within(a, b, 1), "{a} {b}");
        }
        for (a, b) in far {
            assert!(!is_within(a, b, 1), "{a} {b}");
        }
    }

    #[test]
    fn days_are_counted_over_months_and_leap_years() {
        let cases = [("20240228", "20240301", Some(2)), ("20230228", "20230301", Some(1)), ("19991231", "20000101", Some(1))];
        for (a, b, expected) in cases {
            assert_eq!(days_between(a, b), expected, "{a} {b}");
        }
        assert_eq!(days_between("20241301", "20240101"), None);
    }

    #[test]
    fn streets_of_different_numbers_are_different() {
        assert!(street_similarity("12 gail blvd", "12 gale blvd") > 0.85);
        assert!(street_similarity("12 gail blvd", "13 gail blvd") < 0.01);
    }

    proptest! {
        #[test]
        fn one_edit_is_what_the_library_calls_one(a in "[ab]{0,6}", b in "[ab]{0,6}") {
            prop_assert_eq!(is_within(&a, &b, 1), strsim::osa_distance(&a, &b) <= 1);
        }
    }
}
