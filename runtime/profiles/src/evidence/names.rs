//! Whether two people may have the same name: nicknames, initials, slips, several given names, given and family name
//! swapped. The table of nicknames ships with the program (`presets/nicknames.csv`).

use std::collections::{HashMap, HashSet};

use super::alike::{is_within, jaro_winkler};

/// English nicknames, one row per name: from `pseudopeople` 1.3.1, BSD-3-Clause (`presets/README.md`).
const NICKNAMES: &str = include_str!("../../presets/nicknames.csv");
/// Similarity from which two names may be slips of each other.
const SLIP_MIN: f64 = 0.88;

/// How far two names agree: negative = they are of two persons, 0 = one of them says nothing, else two points for each
/// of given and family name that agrees and one where an initial does.
pub(crate) type NamesVerdict = i8;

/// Points of a name that agrees.
const AGREES: NamesVerdict = 2;
/// Points of an initial.
const INITIAL: NamesVerdict = 1;
const CONTRADICTS: NamesVerdict = -1;

/// Judges pairs of names.
pub(crate) struct NameJudge {
    /// Name → its nicknames, and nickname → its names.
    nicknames: HashMap<&'static str, Vec<&'static str>>,
}

impl NameJudge {
    pub(crate) fn new() -> Self {
        let mut nicknames: HashMap<&str, Vec<&str>> = HashMap::new();
        for row in NICKNAMES.lines().skip(1) {
            let mut names = row.split(',').map(str::trim).filter(|name| !name.is_empty());
            let Some(name) = names.next() else { continue };
            for nickname in names {
                nicknames.entry(name).or_default().push(nickname);
                nicknames.entry(nickname).or_default().push(name);
            }
        }
        Self { nicknames }
    }

    pub(crate) fn is_nickname(&self, a: &str, b: &str) -> bool {
        self.nicknames.get(a).is_some_and(|names| names.contains(&b))
    }

    /// Compares (given, family) of two; empty texts say nothing.
    pub(crate) fn compare(&self, one: (&str, &str), other: (&str, &str)) -> NamesVerdict {
        let is_nameless = |name: (&str, &str)| name.0.is_empty() && name.1.is_empty();
        if is_nameless(one) || is_nameless(other) {
            return 0;
        }
        self.straight(one, other).max(self.straight(one, (other.1, other.0)))
    }

    /// Compares (given, family) with (given, family) and never given with family.
    pub(crate) fn straight(&self, one: (&str, &str), other: (&str, &str)) -> NamesVerdict {
        let (given, family) = (self.part(one.0, other.0), self.part(one.1, other.1));
        if given < 0 || family < 0 { CONTRADICTS } else { given + family }
    }

    /// Compares two given names or two family names.
    pub(crate) fn part(&self, a: &str, b: &str) -> NamesVerdict {
        if a.is_empty() || b.is_empty() {
            return 0;
        }
        if a == b {
            return AGREES;
        }
        self.judge(a, b)
    }

    fn judge(&self, a: &str, b: &str) -> NamesVerdict {
        let (a_words, b_words): (Vec<&str>, Vec<&str>) = (a.split(' ').collect(), b.split(' ').collect());
        if a_words.len() == 1 && b_words.len() == 1 {
            return self.word(a, b);
        }
        if a.replace(' ', "") == b.replace(' ', "") {
            return AGREES;
        }
        let (few, many) = if a_words.len() <= b_words.len() { (a_words, b_words) } else { (b_words, a_words) };
        // `Mary Ann` and `Ann`, `de la Cruz` and `Cruz`: every word of the shorter name is found in the longer.
        few.iter().map(|word| many.iter().map(|other| self.word(word, other)).max().unwrap_or(0)).min().unwrap_or(0)
    }

    fn word(&self, a: &str, b: &str) -> NamesVerdict {
        if a == b || self.is_nickname(a, b) {
            return AGREES;
        }
        if is_initial(a) || is_initial(b) {
            return if a.chars().next() == b.chars().next() { INITIAL } else { CONTRADICTS };
        }
        if is_within(a, b, 1) || jaro_winkler(a, b) >= SLIP_MIN { AGREES } else { CONTRADICTS }
    }
}

/// Every name of the table, in lower case.
pub(crate) fn given_names() -> HashSet<&'static str> {
    NICKNAMES.lines().skip(1).flat_map(|row| row.split(',')).map(str::trim).filter(|name| !name.is_empty()).collect()
}

pub(crate) fn is_initial(name: &str) -> bool {
    name.chars().nth(1).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_agree_over_nicknames_initials_slips_and_swaps() {
        let judge = NameJudge::new();
        let cases = [
            (("robert", "allen"), ("robert", "allen"), 4),
            (("robert", "allen"), ("rob", "allen"), 4),
            (("robert", "allen"), ("r", "allen"), 3),
            (("robert", "allen"), ("allen", "robert"), 4),
            (("esmeralda", "pigford"), ("smeralda", "pigford"), 4),
            (("mary ann", "de la cruz"), ("ann", "cruz"), 4),
            (("jean luc", "roy"), ("jeanluc", "roy"), 4),
            (("robert", ""), ("robert", "allen"), 2),
            (("r", ""), ("robert", "allen"), 1),
        ];
        for (one, other, expected) in cases {
            assert_eq!(judge.compare(one, other), expected, "{one:?} {other:?}");
            assert_eq!(judge.compare(other, one), expected, "{other:?} {one:?}");
        }
    }

    #[test]
    fn names_of_two_persons_contradict_and_missing_names_say_nothing() {
        let judge = NameJudge::new();

        assert!(judge.compare(("anna", "allen"), ("robert", "allen")) < 0);
        assert!(judge.compare(("anna", "allen"), ("anna", "smith")) < 0);
        assert!(judge.compare(("j", "allen"), ("robert", "allen")) < 0);
        assert_eq!(judge.compare(("", ""), ("robert", "allen")), 0);
    }
}
