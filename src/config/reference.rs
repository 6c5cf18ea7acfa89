//! `docs/configuration.md`, made from the doc comments of the settings.

use std::fmt::Write as _;

use toml::Value;

use super::settings::{Config, Field, Key, SECTIONS, about, keys};

const HEAD: &str = "\
# Configuration

Made from the doc comments in `src/config/settings.rs`; `UPDATE_DOCS=1 cargo test -p avatar reference` writes it anew.

Settings are read from `avatar.toml` in the working directory (or the file given with `--config`), then from environment variables,
then from flags; the last one wins. Every setting has a variable, and `--set KEY=VALUE` sets any of them. A key that does not exist
is an error. `avatar doctor` shows what comes of them.
";

/// The whole page.
pub fn reference() -> String {
    let defaults = Value::try_from(Config::default()).ok();
    let mut page = HEAD.to_owned();
    let keys = keys();
    write_table(&mut page, "General", "", keys.iter().filter(|key| !key.path.contains('.')), defaults.as_ref());
    for (section, _) in SECTIONS {
        let inside = keys.iter().filter(|key| key.path.rsplit_once('.').is_some_and(|(outer, _)| outer == *section));
        let title = format!("`[{section}]`");
        let about = about(section).as_ref().map(prose).unwrap_or_default();
        write_table(&mut page, &title, &about, inside, defaults.as_ref());
    }
    page
}

fn write_table<'a>(
    page: &mut String,
    title: &str,
    about: &str,
    keys: impl Iterator<Item = &'a Key>,
    defaults: Option<&Value>,
) {
    // Writing to a String cannot fail.
    let about = if about.is_empty() { String::new() } else { format!("{about}\n\n") };
    let _ = write!(page, "\n## {title}\n\n{about}| key | default | variable | |\n|---|---|---|---|\n");
    for key in keys {
        let default = default_of(key, defaults).map_or_else(|| "not set".to_owned(), |value| format!("`{value}`"));
        let doc = prose(&key.field);
        let _ = writeln!(page, "| `{}` | {default} | `{}` | {doc} |", key.path, key.variable());
    }
}

fn prose(field: &Field) -> String {
    field.doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn default_of(key: &Key, defaults: Option<&Value>) -> Option<Value> {
    key.path.split('.').try_fold(defaults?, |value, part| value.get(part)).cloned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn the_reference_is_what_the_settings_say() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, reference()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(written == reference(), "docs/configuration.md is out of date; UPDATE_DOCS=1 writes it anew");
    }

    #[test]
    fn every_setting_is_a_known_key_and_says_its_cost() {
        // All fields the struct really has, optional ones included, against the list that names are checked by.
        let mut full = Value::try_from(Config::default()).unwrap();
        for path in [
            "models_dir",
            "data_key_file",
            "public_address",
            "tls.cert",
            "tls.key",
            "session.language",
            "remote.ca_file",
            "remote.llm.url",
            "remote.llm.api_key",
            "remote.stt.url",
            "remote.stt.api_key",
            "remote.tts.url",
            "remote.tts.api_key",
        ] {
            let (sections, key) = path.rsplit_once('.').unwrap_or(("", path));
            let mut table = full.as_table_mut().unwrap();
            for section in sections.split('.').filter(|section| !section.is_empty()) {
                table = table[section].as_table_mut().unwrap();
            }
            assert!(table.insert(key.into(), Value::String(String::new())).is_none(), "{path} is not optional");
        }
        let mut real = Vec::new();
        let mut tables = vec![(String::new(), full.as_table().unwrap())];
        while let Some((prefix, table)) = tables.pop() {
            for (name, value) in table {
                match value {
                    Value::Table(inner) => tables.push((format!("{prefix}{name}."), inner)),
                    _ => real.push(format!("{prefix}{name}")),
                }
            }
        }
        let mut listed: Vec<String> = keys().iter().map(|key| key.path.clone()).collect();
        real.sort();
        listed.sort();
        assert_eq!(real, listed);
        for key in keys() {
            assert!(prose(&key.field).contains("Cost: "), "{} does not say its cost", key.path);
        }
    }
}
