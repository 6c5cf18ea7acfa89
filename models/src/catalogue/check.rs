//! Whether an entry is sound: nothing in it may name a file outside its folder or become an option of a command.

use std::collections::BTreeSet;

use super::entry::{Model, Source};

pub(super) fn check(model: &Model) -> Result<(), String> {
    if !is_plain_name(&model.id) {
        return Err("its id must be letters, digits, '.', '-', '_', and not begin with '.'".into());
    }
    if model.sources.is_empty() {
        return Err("it has no source".into());
    }
    if model.quality > 100 {
        return Err(format!("quality {} is over 100", model.quality));
    }
    let mut names = BTreeSet::new();
    for file in &model.files {
        if !is_plain_name(&file.name) {
            return Err(format!("'{}' is no plain file name", file.name));
        }
        if !names.insert(file.name.as_str()) {
            return Err(format!("file '{}' is there twice", file.name));
        }
        if file.size == 0 {
            return Err(format!("file '{}' has no size", file.name));
        }
        if file.sha256.as_deref().is_some_and(|hash| !is_sha256(hash)) {
            return Err(format!("the sha256 of '{}' is not 64 lower-case hex digits", file.name));
        }
    }
    model.sources.iter().try_for_each(|source| check_source(model, source, &names))
}

fn check_source(model: &Model, source: &Source, names: &BTreeSet<&str>) -> Result<(), String> {
    match source {
        Source::Hub(hub) => {
            let parts = [&hub.repo, &hub.revision].into_iter().chain(hub.paths.values());
            if let Some(bad) = parts.into_iter().find(|part| !is_relative_path(part)) {
                return Err(format!("'{bad}' is no plain path in a hub"));
            }
            if let Some(stray) = hub.paths.keys().find(|name| !names.contains(name.as_str())) {
                return Err(format!("the hub path for '{stray}' belongs to no file"));
            }
        }
        Source::Wheel(wheel) => {
            let given: BTreeSet<&str> = wheel.members.keys().map(String::as_str).collect();
            if given != *names {
                return Err(format!("wheel {} must give each file, and no other", wheel.package));
            }
            if let Some(loose) = model.files.iter().find(|file| file.sha256.is_none()) {
                return Err(format!("'{}' comes out of a wheel and so must have a sha256", loose.name));
            }
            if wheel.platforms.is_empty() || wheel.size == 0 {
                return Err(format!("wheel {} must have platforms and a size", wheel.package));
            }
            // They become arguments of a command.
            let arguments = [&wheel.package, &wheel.version, &wheel.python];
            if arguments.into_iter().chain(&wheel.platforms).any(|text| !is_plain_name(text)) {
                return Err(format!("wheel {} has a strange name, version or tag", wheel.package));
            }
        }
        Source::Apt(package) => {
            if !model.files.is_empty() || model.sources.len() > 1 {
                return Err("what the system provides has no files and no other source".into());
            }
            if package.libraries.is_empty() && package.programs.is_empty() && package.paths.is_empty() {
                return Err("nothing says how to see that the package is there".into());
            }
        }
    }
    if model.files.is_empty() && !matches!(source, Source::Apt(_)) {
        return Err("it has no files".into());
    }
    Ok(())
}

/// One component of a path that can only name something inside its folder, and never an option or a hidden file.
fn is_plain_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 128
        && !text.starts_with(['.', '-'])
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

fn is_relative_path(text: &str) -> bool {
    text.split('/').all(is_plain_name)
}

pub(crate) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
