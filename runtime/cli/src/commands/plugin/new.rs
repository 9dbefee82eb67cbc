//! `affluent plugin new KIND NAME`: a folder with a plugin that works, a project around it to try it in, and everything
//! that its build needs but the language's own tools and registry.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use affluent_model::Error;

use crate::arguments::{Language, NewPluginArguments, NewPluginKind};
use crate::failure::{Exit, Failure, Outcome};
use crate::render::screen::Screen;

include!(concat!(env!("OUT_DIR"), "/plugin_files.rs"));

/// What stands for the plugin's name in templates, as the name, an identifier and a type.
const NAME: &str = "my-plugin";
const IDENTIFIER: &str = "my_plugin";
const TYPE: &str = "MyPlugin";
/// A connection's and a plugin's name, characters.
const NAME_CHARACTERS_MAX: usize = 63;
/// The token that the service to try against wants.
const EXAMPLE_TOKEN: &str = "example-token\n";

pub(crate) fn run(screen: &Screen, arguments: &NewPluginArguments) -> Outcome {
    let NewPluginArguments { kind, name, lang } = arguments;
    check_name(name)?;
    let folder = Path::new(name);
    if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) || folder.is_file() {
        return Err(Error::configuration("E0902", format!("`{name}` exists already"))
            .help("choose another name, or remove it first")
            .into());
    }
    for layer in layers(*lang, *kind) {
        for (path, text) in TEMPLATES {
            if let Some(inner) = path.strip_prefix(&layer) {
                write(&folder.join(renamed(inner, name)), &filled(text, name), 0o644)?;
            }
        }
    }
    for (path, text) in WIT {
        write(&folder.join("wit").join(path), text, 0o644)?;
    }
    if *lang == Language::Rust {
        for (path, text) in SDK {
            write(&folder.join("sdk").join(path), text, 0o644)?;
        }
    }
    if *kind != NewPluginKind::Transform {
        write(&folder.join("secrets").join(name).join("token"), EXAMPLE_TOKEN, 0o600)?;
    }
    screen.say(&format!("made {name}: a {} in {}, with tests and a project to try it in", word(*kind), language(*lang)));
    screen.say(&format!("next: cd {name}, then affluent plugin build; {name}/README.md says the rest"));
    Ok(Exit::Done)
}

/// Folders of templates that make up a plugin, later ones on top.
fn layers(lang: Language, kind: NewPluginKind) -> Vec<String> {
    let (lang, kind) = (language(lang).to_lowercase(), word(kind));
    let service = if kind == "transform" { None } else { Some(format!("{lang}/service/")) };
    [Some(format!("{lang}/common/")), service, Some(format!("{lang}/{kind}/")), Some(format!("project/{kind}/"))]
        .into_iter()
        .flatten()
        .collect()
}

fn word(kind: NewPluginKind) -> &'static str {
    match kind {
        NewPluginKind::Source => "source",
        NewPluginKind::Transform => "transform",
        NewPluginKind::Destination => "destination",
    }
}

fn language(lang: Language) -> &'static str {
    match lang {
        Language::Rust => "Rust",
        Language::Javascript => "JavaScript",
        Language::Python => "Python",
    }
}

/// A name that is a folder, a crate, a package and a plugin.
fn check_name(name: &str) -> Result<(), Error> {
    let is_word = |word: &str| !word.is_empty() && word.chars().all(|one| one.is_ascii_lowercase() || one.is_ascii_digit());
    let begins_well = name.starts_with(|first: char| first.is_ascii_lowercase());
    if begins_well && name.len() <= NAME_CHARACTERS_MAX && name.split('-').all(is_word) {
        return Ok(());
    }
    Err(Error::configuration("E0901", format!("`{name}` cannot be the name of a plugin"))
        .help("use small letters, digits and single dashes, beginning with a letter: `acme-crm`"))
}

fn filled(text: &str, name: &str) -> String {
    text.replace(NAME, name).replace(IDENTIFIER, &name.replace('-', "_")).replace(TYPE, &type_name(name))
}

/// A template's path in the new folder; a leading dot would hide the file in the repository.
fn renamed(path: &str, name: &str) -> String {
    let path = if path == "gitignore" { ".gitignore" } else { path };
    filled(path, name)
}

/// `acme-crm` → `AcmeCrm`.
fn type_name(name: &str) -> String {
    let capitalised = |word: &str| {
        let mut characters = word.chars();
        characters.next().map(|first| first.to_ascii_uppercase().to_string() + characters.as_str()).unwrap_or_default()
    };
    name.split('-').map(capitalised).collect()
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    let made = path.parent().map_or(Ok(()), fs::create_dir_all);
    let opened = made.and_then(|()| OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path));
    let written = opened.and_then(|mut file| file.write_all(text.as_bytes()));
    Ok(written.map_err(|error| Error::external("E0814", format!("`{}` cannot be written: {error}", path.display())))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words_joined_by_dashes() {
        for name in ["crm", "acme-crm", "a1-2b"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "Acme", "1a", "-a", "a-", "a--b", "a_b", "../a", "a/b", "é", &"a".repeat(64)] {
            assert_eq!(check_name(name).map_err(|error| error.code), Err("E0901"), "{name}");
        }
    }

    #[test]
    fn a_template_takes_the_name_in_its_three_forms() {
        assert_eq!(filled("my-plugin my_plugin MyPlugin", "acme-crm"), "acme-crm acme_crm AcmeCrm");
    }

    #[test]
    fn every_language_has_every_kind() {
        use clap::ValueEnum;
        for lang in Language::value_variants() {
            for kind in NewPluginKind::value_variants() {
                for layer in layers(*lang, *kind) {
                    assert!(TEMPLATES.iter().any(|(path, _)| path.starts_with(&layer)), "{layer}");
                }
            }
        }
    }

    #[test]
    fn the_sdk_that_is_written_stands_alone() {
        let manifest = SDK.iter().find(|(path, _)| *path == "Cargo.toml").unwrap().1;

        for line in manifest.lines() {
            let is_outside = line.contains("workspace = true") || line.contains("dev-dependencies");
            assert!(!is_outside, "{line}");
        }
        assert!(SDK.iter().any(|(path, _)| *path == "src/lib.rs"));
    }
}
