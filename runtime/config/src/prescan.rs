//! What is refused before a YAML parser sees the bytes: size, encoding, hidden characters, deep flow nesting
//! (serde_yaml's scanner is quadratic in it), tags and too many aliases (security D-40 to D-42). It follows YAML's
//! quoting, comments and block scalars line by line; it is not a parser and builds nothing.

use affluent_model::limits::{YAML_ALIASES_MAX, YAML_BYTES_MAX, YAML_FLOW_DEPTH_MAX, YAML_FLOW_TOKENS_MAX};

use crate::mistake::{self, FileReport, is_forbidden};
use crate::node::Place;

/// Nested block sequences opened on one line (`- - - …`): the scanner is quadratic in them too.
const LINE_DASHES_MAX: usize = 64;
/// Hidden characters reported per file.
const CHARACTERS_REPORTED_MAX: usize = 10;

/// The text, when nothing in the bytes is refused; else the mistakes are in `report`.
pub(crate) fn scan<'a>(bytes: &'a [u8], report: &mut FileReport) -> Option<&'a str> {
    if bytes.len() > YAML_BYTES_MAX {
        report.add_help(
            mistake::TOO_BIG,
            Place::START,
            format!("larger than {YAML_BYTES_MAX} bytes"),
            "split it into several files",
        );
        return None;
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let place = place_after(&String::from_utf8_lossy(valid));
            report.add_help(mistake::CHARACTER, place, "not UTF-8", "save the file as UTF-8");
            return None;
        }
    };
    scan_characters(text, report);
    if !report.is_clean() {
        return None;
    }
    let mut scanner = Scanner::new(report);
    for (index, line) in text.lines().enumerate() {
        if !scanner.line(index + 1, line) {
            break;
        }
    }
    report.is_clean().then_some(text)
}

fn place_after(text: &str) -> Place {
    let line = text.lines().count().max(1);
    let column = text.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    Place { line, column, length: 1 }
}

fn scan_characters(text: &str, report: &mut FileReport) {
    let mut found = 0;
    for (index, line) in text.split('\n').enumerate() {
        let line = line.strip_suffix('\r').unwrap_or(line);
        for (column, character) in line.chars().enumerate() {
            if !is_forbidden(character) && character != '\r' {
                continue;
            }
            found += 1;
            if found > CHARACTERS_REPORTED_MAX {
                return;
            }
            let place = Place { line: index + 1, column: column + 1, length: 1 };
            let message = format!("hidden character U+{:04X}", u32::from(character));
            report.add_help(
                mistake::CHARACTER,
                place,
                message,
                "remove it; in a double-quoted text it can be written as an escape",
            );
        }
    }
}

/// `---` alone or before a value.
fn is_document_start(characters: &[char]) -> bool {
    matches!(characters, ['-', '-', '-']) || matches!(characters, ['-', '-', '-', after, ..] if after.is_whitespace())
}

/// Where the scanner is between two characters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// A value may start here.
    Start,
    /// Inside a plain scalar.
    Plain,
    /// After a quoted scalar or a closed collection.
    After,
    Single,
    Double,
}

struct Scanner<'a> {
    report: &'a mut FileReport,
    state: State,
    flow_depth: usize,
    flow_tokens: usize,
    /// Opening brackets in a row, whatever stands around them.
    openers: usize,
    aliases: usize,
    /// Indent of the line on which the running plain scalar began.
    plain_indent: usize,
    /// Inside a block scalar: indent of its content once known, and of the line that opened it.
    block: Option<(Option<usize>, usize)>,
}

impl<'a> Scanner<'a> {
    fn new(report: &'a mut FileReport) -> Self {
        Self { report, state: State::Start, flow_depth: 0, flow_tokens: 0, openers: 0, aliases: 0, plain_indent: 0, block: None }
    }

    /// False when a limit was passed and the rest is not looked at.
    fn line(&mut self, number: usize, line: &str) -> bool {
        let indent = line.chars().take_while(|character| *character == ' ').count();
        if line.trim().is_empty() || self.is_block_content(indent) {
            return self.count_openers(number, line);
        }
        let quoted = matches!(self.state, State::Single | State::Double);
        let continues = self.state == State::Plain && (self.flow_depth > 0 || indent > self.plain_indent);
        if !quoted && !continues {
            self.state = State::Start;
            self.plain_indent = indent;
        }
        let mut characters: Vec<char> = line.chars().collect();
        if is_document_start(&characters) {
            characters.iter_mut().take(3).for_each(|dash| *dash = ' ');
        }
        self.count_openers(number, line) && self.characters(number, &characters, indent)
    }

    fn is_block_content(&mut self, indent: usize) -> bool {
        let Some((content, opener)) = self.block else { return false };
        let inside = content.map_or(indent > opener, |content| indent >= content);
        self.block = inside.then_some((content.or(Some(indent)), opener));
        inside
    }

    /// A backstop that no quoting can hide from: brackets in a row.
    fn count_openers(&mut self, number: usize, line: &str) -> bool {
        for character in line.chars() {
            match character {
                '[' | '{' => self.openers += 1,
                _ if character.is_whitespace() => {}
                _ => self.openers = 0,
            }
            if self.openers > YAML_FLOW_DEPTH_MAX {
                return self.too_deep(number, 1);
            }
        }
        true
    }

    fn too_deep(&mut self, line: usize, column: usize) -> bool {
        let message = format!("brackets nest deeper than {YAML_FLOW_DEPTH_MAX}");
        self.report.add(mistake::TOO_BIG, Place { line, column, length: 1 }, message);
        false
    }

    fn characters(&mut self, number: usize, characters: &[char], indent: usize) -> bool {
        let mut index = 0;
        let mut dashes = 0;
        while let Some(&character) = characters.get(index) {
            let next = characters.get(index + 1).copied().unwrap_or(' ');
            let before = index.checked_sub(1).and_then(|before| characters.get(before)).copied().unwrap_or(' ');
            index += 1;
            match self.state {
                State::Double if character == '\\' => index += 1,
                State::Double if character == '"' => self.state = State::After,
                State::Single if character == '\'' && next == '\'' => index += 1,
                State::Single if character == '\'' => self.state = State::After,
                State::Double | State::Single => {}
                _ if character == '#' && before.is_whitespace() => break,
                State::Start if character == '-' && next.is_whitespace() && self.flow_depth == 0 => dashes += 1,
                _ => {
                    if !self.token(number, index, character, next) {
                        return false;
                    }
                    index += self.start(number, index, character, characters, indent);
                }
            }
            if dashes > LINE_DASHES_MAX {
                return self.too_deep(number, index);
            }
        }
        true
    }

    /// Flow indicators and the colon after a key.
    fn token(&mut self, line: usize, column: usize, character: char, next: char) -> bool {
        let opens = matches!(character, '[' | '{') && (self.state == State::Start || self.flow_depth > 0);
        let flow_indicator = self.flow_depth > 0 && matches!(character, ',' | ']' | '}');
        if opens || flow_indicator {
            self.flow_tokens += 1;
        }
        if opens {
            self.flow_depth += 1;
        } else if flow_indicator && character != ',' {
            self.flow_depth -= 1;
        }
        if self.flow_tokens > YAML_FLOW_TOKENS_MAX {
            let message = format!("more than {YAML_FLOW_TOKENS_MAX} brackets and commas");
            self.report.add_help(mistake::TOO_BIG, Place { line, column, length: 1 }, message, "split it into several files");
            return false;
        }
        if self.flow_depth > YAML_FLOW_DEPTH_MAX {
            return self.too_deep(line, column);
        }
        let ends_key = character == ':' && (next.is_whitespace() || (self.flow_depth > 0 && self.state == State::After));
        if opens || ends_key || (flow_indicator && character == ',') {
            self.state = State::Start;
        } else if flow_indicator {
            self.state = State::After;
        }
        true
    }

    /// What begins at a character where a value may start; returns how many more characters it took.
    fn start(&mut self, line: usize, column: usize, character: char, characters: &[char], indent: usize) -> usize {
        let is_indicator =
            matches!(character, '[' | '{' | ']' | '}' | ',') && (self.flow_depth > 0 || self.state == State::After);
        let is_key_end = character == ':' && self.state == State::Start;
        if self.state != State::Start || character.is_whitespace() || is_indicator || is_key_end {
            return 0;
        }
        let word = characters.iter().skip(column - 1).take_while(|c| !c.is_whitespace() && !matches!(c, ',' | ']' | '}')).count();
        let place = Place { line, column, length: word.max(1) };
        match character {
            '"' => self.state = State::Double,
            '\'' => self.state = State::Single,
            '?' if word == 1 => {}
            '|' | '>' if self.flow_depth == 0 => {
                let digit = characters.iter().skip(column).take(2).find_map(|digit| digit.to_digit(10));
                self.block = Some((digit.map(|digit| indent + digit as usize), indent));
                return characters.len();
            }
            '!' => {
                let tag: String = characters.iter().skip(column - 1).take(word).collect();
                self.report.add_help(mistake::TAG, place, format!("the tag `{tag}` is not supported"), "remove it");
                return word - 1;
            }
            '&' => return word - 1,
            '*' => {
                self.aliases += 1;
                if self.aliases == YAML_ALIASES_MAX + 1 {
                    self.report.add_help(
                        mistake::ALIASES,
                        place,
                        format!("more than {YAML_ALIASES_MAX} aliases"),
                        "write the values out",
                    );
                }
                self.state = State::After;
                return word - 1;
            }
            _ => self.state = State::Plain,
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::yaml;

    /// Codes of what the pre-scan refuses.
    fn refused(text: &str) -> Vec<&'static str> {
        let mut report = FileReport::new(Path::new("a.yaml"));
        scan(text.as_bytes(), &mut report);
        report.diagnostics.iter().map(|diagnostic| diagnostic.code).collect()
    }

    #[test]
    fn deep_brackets_are_refused_at_once_however_many_and_wherever() {
        let many = "[".repeat(900 << 10);
        let cases = [
            "[".repeat(16 << 10),
            many.clone(),
            format!("a: {many}"),
            format!("--- {many}"),
            format!("a: it\"s\n{many}"),
            format!("a: |\n  text\n{many}"),
            "{ a: ".repeat(65),
            "[\n".repeat(65),
            format!("--- {}", "[a, ".repeat(65)),
            format!("a: \"{many}\""),
            format!("- {}", "- ".repeat(100_000)),
        ];
        for case in cases {
            assert_eq!(refused(&case), [mistake::TOO_BIG], "{}", case.chars().take(20).collect::<String>());
        }
    }

    #[test]
    fn many_brackets_side_by_side_and_large_files_are_refused() {
        assert_eq!(refused(&format!("a: [{}]", "x, ".repeat(20_001))), [mistake::TOO_BIG]);
        assert_eq!(refused(&"# comment\n".repeat(120_000)), [mistake::TOO_BIG]);
    }

    #[test]
    fn brackets_tags_and_stars_inside_texts_and_comments_are_no_tokens() {
        let fine = [
            "where: a != b AND c * d > 0 # !not [a tag",
            "where: \"a[1] !tag *star &anchor\"",
            "where: 'it''s [fine] !x'",
            "where: |\n  [[[ !x *y\n  more\nnext: 1",
            "where: >-\n    a\n    !b\nnext: [1, 2]",
            "where: a\n  != b\n  *c",
            "map: { a: \"b|c\", d: x!y, e: 'f' }",
            "- |\n [x\n- 2",
            "a: |2\n    !more\n  !less\nb: 1",
        ];
        for text in fine {
            assert_eq!(refused(text), Vec::<&str>::new(), "{text}");
        }
    }

    #[test]
    fn tags_are_found_wherever_a_value_may_start() {
        for text in [
            "!a b",
            "a: !b c",
            "- !b c",
            "[!b c]",
            "{ a: !b c }",
            "a: &x !b c",
            "a:\n  !b\n  c: 1",
            "? !b c\n: d",
            "a: !!binary x",
        ] {
            assert_eq!(refused(text), [mistake::TAG], "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn no_text_makes_the_reader_panic(text in "[\\[\\]{}:,\\-#'\"|>&*!? \n\tab1é]{0,200}") {
            let mut report = FileReport::new(Path::new("a.yaml"));
            if let Some(text) = scan(text.as_bytes(), &mut report) {
                yaml::parse(text, &mut report);
            }
        }
    }
}
