//! The files as they were read: texts for underlining, and trees that tell where a part of the plan stands.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use affluent_model::diagnostic::Location;
use affluent_model::plan::Expression;

use crate::node::{Node, Place};

/// A thing with a tree of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    Connection(String),
    Pipeline(String),
    Identity,
    Traits,
    Segments,
}

/// Texts and trees of a project's files; needed again when [`crate::check()`] reports mistakes.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    pub(crate) texts: BTreeMap<PathBuf, String>,
    pub(crate) trees: BTreeMap<Subject, (PathBuf, Node)>,
    /// Values that came from the environment: no message shows them.
    pub(crate) hidden: Vec<String>,
}

impl Sources {
    /// The text of a file, by its path relative to the project's folder.
    #[must_use]
    pub fn text(&self, file: &Path) -> Option<&str> {
        self.texts.get(file).map(String::as_str)
    }

    /// The text with every value from the environment left out. Values of one or two characters say nothing, and leaving
    /// them out would garble every word.
    pub(crate) fn without_hidden(&self, text: &str) -> String {
        let worth_hiding = self.hidden.iter().filter(|value| value.chars().count() > 2);
        worth_hiding.fold(text.to_owned(), |text, value| text.replace(value.as_str(), "‹hidden›"))
    }

    /// Where the value at `path` stands, or what of the path exists.
    pub(crate) fn locate<'a>(&self, subject: &Subject, path: impl IntoIterator<Item = &'a str>) -> Location {
        self.place(subject, |node| node.deepest(path).place)
    }

    /// Where the key `key` of the map at `path` stands.
    pub(crate) fn locate_key(&self, subject: &Subject, path: &[&str], key: &str) -> Location {
        self.place(subject, |node| {
            let map = node.deepest(path.iter().copied());
            map.key_place(key).unwrap_or(map.place)
        })
    }

    /// Where `name` stands: an item of the list, or a key of the map, at `path`.
    pub(crate) fn locate_name(&self, subject: &Subject, path: &[&str], name: &str) -> Location {
        self.place(subject, |node| {
            let list = node.deepest(path.iter().copied());
            list.names().into_iter().find(|(item, _)| *item == name).map_or(list.place, |(_, place)| place)
        })
    }

    fn place(&self, subject: &Subject, find: impl FnOnce(&Node) -> Place) -> Location {
        match self.trees.get(subject) {
            Some((file, node)) => find(node).in_file(file),
            None => Location::file_start("affluent.yaml"),
        }
    }

    /// Where a part of an expression stands: `offset` and `length` in characters. The whole expression when its
    /// text is not written out as it is (escapes, folded lines).
    pub(crate) fn inside(&self, expression: &Expression, offset: Option<usize>, length: usize) -> Location {
        let narrowed = || {
            let line = self.text(&expression.at.file)?.lines().nth(expression.at.line.checked_sub(1)?)?;
            let raw: String = line.chars().skip(expression.at.column - 1).collect();
            let offset = offset?;
            if raw.starts_with('|') {
                return self.inside_block(expression, offset, length);
            }
            let quotes = usize::from(raw.starts_with(['"', '\'']));
            let written: String = raw.chars().skip(quotes).collect();
            if !written.starts_with(&expression.text) || expression.text.chars().count() < offset {
                return None;
            }
            let column = expression.at.column + quotes + offset;
            Some(Location { column, length: length.max(1), ..expression.at.clone() })
        };
        narrowed().unwrap_or_else(|| expression.at.clone())
    }

    /// The same in a literal block scalar, whose lines stand as they are below the `|`.
    fn inside_block(&self, expression: &Expression, offset: usize, length: usize) -> Option<Location> {
        let before: String = expression.text.chars().take(offset).collect();
        let lines_down = before.matches('\n').count();
        let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count());
        let line = expression.at.line + 1 + lines_down;
        let text = self.text(&expression.at.file)?.lines().nth(line - 1)?;
        let content = expression.text.lines().nth(lines_down)?;
        let indent = text.chars().count().checked_sub(content.chars().count())?;
        let written: String = text.chars().skip(indent).collect();
        let room = content.chars().count().saturating_sub(column).max(1);
        (written == content).then(|| Location {
            file: expression.at.file.clone(),
            line,
            column: indent + column + 1,
            length: length.clamp(1, room),
        })
    }
}
