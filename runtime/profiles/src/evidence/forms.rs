//! Normal forms of attributes: what is compared, never what is stored (`identity.md` §2.3).

use affluent_model::matching::{AttributeForm, DateOrder};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Words before and after a name that are none.
const TITLES: [&str; 24] = [
    "mr", "mrs", "ms", "miss", "mx", "dr", "prof", "sir", "dame", "rev", "mme", "mlle", "herr", "frau", "sr", "sra", "jr", "ii",
    "iii", "iv", "phd", "md", "esq", "dipl",
];
/// What people write where they leave a name out.
const NO_NAME: [&str; 10] =
    ["n a", "none", "unknown", "anonymous", "guest", "test", "xxx", "not provided", "no name", "customer"];
/// Days that systems write where they know none.
const NO_DATE: [&str; 3] = ["19000101", "19700101", "00010101"];
/// Long and short forms of what streets are called (USPS Publication 28 appendix C, La Poste): one of each pair is kept.
const STREET_WORDS: [(&str, &str); 45] = [
    ("street", "st"),
    ("str", "st"),
    ("strasse", "st"),
    ("avenue", "ave"),
    ("av", "ave"),
    ("road", "rd"),
    ("drive", "dr"),
    ("drv", "dr"),
    ("lane", "ln"),
    ("court", "ct"),
    ("crt", "ct"),
    ("place", "pl"),
    ("circle", "cir"),
    ("circuit", "cct"),
    ("way", "wy"),
    ("boulevard", "blvd"),
    ("bvd", "blvd"),
    ("bd", "blvd"),
    ("terrace", "ter"),
    ("tce", "ter"),
    ("highway", "hwy"),
    ("parkway", "pkwy"),
    ("crescent", "cres"),
    ("square", "sq"),
    ("close", "cl"),
    ("grove", "gr"),
    ("parade", "pde"),
    ("route", "rte"),
    ("trail", "trl"),
    ("mount", "mt"),
    ("saint", "st"),
    ("sainte", "ste"),
    ("chemin", "ch"),
    ("allee", "all"),
    ("impasse", "imp"),
    ("faubourg", "fbg"),
    ("north", "n"),
    ("south", "s"),
    ("east", "e"),
    ("west", "w"),
    ("northeast", "ne"),
    ("northwest", "nw"),
    ("southeast", "se"),
    ("southwest", "sw"),
    ("number", "no"),
];
/// Words after which a flat or an office is named.
const UNIT_WORDS: [&str; 9] = ["apt", "apartment", "unit", "suite", "ste", "flat", "appartement", "app", "lot"];
/// Letters that do not fall apart into a letter and a mark.
const LETTERS: [(char, &str); 8] =
    [('ß', "ss"), ('æ', "ae"), ('œ', "oe"), ('ø', "o"), ('ł', "l"), ('đ', "d"), ('ð', "d"), ('þ', "th")];

/// The normal form of a value; empty when it says nothing.
pub(crate) fn normal(form: AttributeForm, value: &str) -> String {
    if value.trim().is_empty() {
        return String::new();
    }
    match form {
        AttributeForm::GivenName | AttributeForm::FamilyName => name(value),
        AttributeForm::Date(order) => date(value, order),
        AttributeForm::Street => street(value),
        AttributeForm::Code => code(value),
        AttributeForm::Email => email(value),
        AttributeForm::Text => words(value),
    }
}

/// Where the street begins in the normal form of a street line: after the house number and a space.
pub(crate) fn street_start(normal: &str) -> usize {
    match normal.split_once(' ') {
        Some((number, _)) if is_house_number(number) => number.len() + 1,
        _ => 0,
    }
}

/// Letters without marks and case, digits; anything else separates words. Apostrophes vanish: `O'Brien` is `obrien`.
fn words(value: &str) -> String {
    let mut words = String::with_capacity(value.len());
    let mut is_between = false;
    let mut letter = |letter: char| {
        if letter.is_alphanumeric() {
            if is_between && !words.is_empty() {
                words.push(' ');
            }
            is_between = false;
            match LETTERS.iter().find(|(from, _)| *from == letter) {
                Some((_, to)) => words.push_str(to),
                None => words.push(letter),
            }
        } else if !matches!(letter, '\'' | '’' | '`') {
            is_between = true;
        }
    };
    if value.is_ascii() {
        value.chars().for_each(|one| letter(one.to_ascii_lowercase()));
    } else {
        value.nfkd().filter(|one| !is_combining_mark(*one)).flat_map(char::to_lowercase).for_each(letter);
    }
    words
}

fn name(value: &str) -> String {
    let words = words(value);
    if NO_NAME.contains(&words.as_str()) {
        return String::new();
    }
    if !words.split(' ').any(|word| TITLES.contains(&word)) {
        return words;
    }
    let named: Vec<&str> = words.split(' ').filter(|word| !TITLES.contains(word)).collect();
    if named.is_empty() { words } else { named.join(" ") }
}

/// Eight digits, year first. A date that cannot be keeps its digits: a slip of the hand still tells something.
fn date(value: &str, order: DateOrder) -> String {
    let day = value.trim().split(['T', ' ']).next().unwrap_or_default();
    let parts: Vec<&str> = day.split(|letter: char| !letter.is_ascii_digit()).filter(|part| !part.is_empty()).collect();
    let (year, month, day) = match parts.as_slice() {
        [eight] if eight.len() == 8 => return known_date((*eight).to_owned()),
        [year, month, day] if year.len() == 4 => (*year, *month, *day),
        [month, day, year] if year.len() == 4 && order == DateOrder::MonthFirst => (*year, *month, *day),
        [day, month, year] if year.len() == 4 && order == DateOrder::DayFirst => (*year, *month, *day),
        _ => return String::new(),
    };
    if month.len() > 2 || day.len() > 2 {
        return String::new();
    }
    known_date(format!("{year}{month:0>2}{day:0>2}"))
}

fn known_date(date: String) -> String {
    let first = date.bytes().next();
    if NO_DATE.contains(&date.as_str()) || date.bytes().all(|digit| Some(digit) == first) { String::new() } else { date }
}

/// House number first, then the street in short forms, without the flat, which may stand before or after.
fn street(value: &str) -> String {
    let words = words(value);
    let short = |word| STREET_WORDS.iter().find(|(long, _)| *long == word).map_or(word, |(_, short)| *short);
    let mut line: Vec<&str> = Vec::new();
    let mut rest = words.split(' ').peekable();
    while let Some(word) = rest.next() {
        // `rue Ste Anne` and `avenue du Lot` name no flat.
        if !UNIT_WORDS.contains(&word) || rest.peek().is_none_or(|next| !is_unit(next)) {
            line.push(short(word));
        } else if line.is_empty() && rest.next().is_some() && rest.peek().is_some() {
            continue;
        } else {
            break;
        }
    }
    if line.first().is_some_and(|word| !is_house_number(word)) && line.last().is_some_and(|word| is_house_number(word)) {
        line.rotate_right(1);
    }
    line.join(" ")
}

/// `5`, `3a`, `b`: what a flat is called.
fn is_unit(word: &str) -> bool {
    word.bytes().any(|byte| byte.is_ascii_digit()) || word.chars().nth(1).is_none()
}

/// `12`, `12b`: not `12th`.
fn is_house_number(word: &str) -> bool {
    let digits = word.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) && word.len() - digits.len() <= 1
}

fn code(value: &str) -> String {
    let code: String = value.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_uppercase).collect();
    if code.chars().all(|letter| letter == '0') { String::new() } else { code }
}

fn email(value: &str) -> String {
    let text = value.trim().to_lowercase();
    if text.contains('@') { text } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(form: AttributeForm, cases: &[(&str, &str)]) {
        for (value, expected) in cases {
            assert_eq!(normal(form, value), *expected, "{value:?}");
        }
    }

    #[test]
    fn a_name_is_compared_without_marks_case_titles_and_signs() {
        let cases = [
            (" Sàldànà ", "saldana"),
            ("O'Brien", "obrien"),
            ("Dr. Jean-Luc", "jean luc"),
            ("King Jr.", "king"),
            ("Mr", "mr"),
            ("Łukasz Groß", "lukasz gross"),
            ("de la Cruz", "de la cruz"),
            ("N/A", ""),
            ("", ""),
        ];
        check(AttributeForm::GivenName, &cases);
        check(AttributeForm::FamilyName, &cases);
    }

    #[test]
    fn a_date_is_read_in_the_order_of_its_source_alone() {
        let both = [("1982-08-22", "19820822"), ("19820822", "19820822"), ("1982-08-22T00:00:00Z", "19820822"), ("22.8.82", "")];
        check(AttributeForm::Date(DateOrder::MonthFirst), &both);
        check(AttributeForm::Date(DateOrder::MonthFirst), &[("08/22/1982", "19820822"), ("8/2/1982", "19820802")]);
        check(AttributeForm::Date(DateOrder::DayFirst), &[("22.08.1982", "19820822"), ("2/8/1982", "19820802")]);
        check(AttributeForm::Date(DateOrder::YearFirst), &[("08/02/1982", ""), ("1970-01-01", ""), ("00000000", "")]);
    }

    #[test]
    fn a_street_is_compared_in_short_forms_with_its_number_first() {
        let cases = [
            ("40 North 80th Str.", "40 n 80th st"),
            ("12095 northeast 2nd Avenue, Apt 5", "12095 ne 2nd ave"),
            ("rue de la Paix 12", "12 rue de la paix"),
            ("9151 College Ct", "9151 college ct"),
            ("Flat 3a, 12 High Street", "12 high st"),
            ("12 rue Sainte Anne", "12 rue ste anne"),
            ("12, rue Ste Anne", "12 rue ste anne"),
            ("500 Main Street Ste 200", "500 main st"),
            ("4 avenue du Lot", "4 ave du lot"),
            ("Apt 5", ""),
        ];
        check(AttributeForm::Street, &cases);
        assert_eq!(street_start("12 rue de la paix"), 3);
        assert_eq!(street_start("80th st"), 0);
    }

    #[test]
    fn a_code_is_its_letters_and_digits() {
        check(AttributeForm::Code, &[(" sw1a 1aa", "SW1A1AA"), ("12-34", "1234"), ("00000", ""), ("-", "")]);
    }
}
