//! `avatar keys`: keys for others, made, listed and revoked. A running server heeds it at its next request.

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};

use crate::call::allowance::{Good, Meter, Share};
use crate::config::{Config, Span};
use crate::keys::{KeyStore, Wanted, rfc3339};

#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a key and print it; it cannot be shown again
    Create(Create),
    /// List all that were ever made
    List,
    /// End a key, and the client secrets made with it
    Revoke {
        /// As `avatar keys list` shows it
        id: String,
    },
}

#[derive(Debug, Args)]
pub struct Create {
    /// Whose it is, or what for: to tell it from others
    name: String,
    /// How long it is valid, as 8h or 30d; for ever unless given
    #[arg(long, value_name = "TIME")]
    expires: Option<Span>,
    /// Most calls at once; `limits.calls` unless given
    #[arg(long, value_name = "N")]
    calls: Option<u16>,
    /// `limits.requests_per_minute` unless given
    #[arg(long, value_name = "N")]
    requests_per_minute: Option<u32>,
    /// `limits.talk_minutes_per_day` unless given
    #[arg(long, value_name = "N")]
    talk_minutes_per_day: Option<u32>,
    /// `limits.speech_characters_per_day` unless given
    #[arg(long, value_name = "N")]
    speech_characters_per_day: Option<u32>,
    /// `limits.transcribed_minutes_per_day` unless given
    #[arg(long, value_name = "N")]
    transcribed_minutes_per_day: Option<u32>,
    /// `limits.tokens_per_day` unless given
    #[arg(long, value_name = "N")]
    tokens_per_day: Option<u32>,
}

/// `out` is given what programs read, `aside` what people do.
pub fn run(
    command: &KeysCommand,
    config: &Config,
    out: &mut impl Write,
    aside: &mut impl Write,
) -> anyhow::Result<ExitCode> {
    let keys = KeyStore::open(&config.data_folder()?)?;
    let now = SystemTime::now();
    match command {
        KeysCommand::Create(asked) => create(&keys, asked, config, now, out, aside)?,
        KeysCommand::List => list(&keys, &Share::of(&config.limits), now, out)?,
        KeysCommand::Revoke { id } => {
            let revoked = keys.revoke(id, now)?;
            writeln!(aside, "the key {} ({}) opens nothing any more", revoked.grant.key, revoked.name)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn create(
    keys: &KeyStore,
    asked: &Create,
    config: &Config,
    now: SystemTime,
    out: &mut impl Write,
    aside: &mut impl Write,
) -> anyhow::Result<()> {
    let is_first = keys.list()?.is_empty();
    let wanted = Wanted {
        name: asked.name.clone(),
        valid: asked.expires.map(|Span(valid)| valid),
        calls: asked.calls,
        requests_per_minute: asked.requests_per_minute,
        talk_minutes_per_day: asked.talk_minutes_per_day,
        speech_characters_per_day: asked.speech_characters_per_day,
        transcribed_minutes_per_day: asked.transcribed_minutes_per_day,
        tokens_per_day: asked.tokens_per_day,
    };
    let (id, key) = keys.create(&wanted, now)?;
    writeln!(out, "{}", key.reveal())?;
    writeln!(
        aside,
        "keep it safe: only its hash is stored, it cannot be shown again; `avatar keys revoke {id}` ends it"
    )?;
    if is_first && config.api_keys.is_empty() {
        writeln!(
            aside,
            "from now on nobody uses this server without a key; set AVATAR_API_KEYS for one that sees everything"
        )?;
    }
    Ok(())
}

/// What the columns of each good say: how much was used today, of how much.
const HEAD: [&str; 12] = [
    "id",
    "name",
    "state",
    "created",
    "expires",
    "last used",
    "calls",
    "requests/min",
    "talk min/day",
    "speech chars/day",
    "heard min/day",
    "tokens/day",
];

fn list(keys: &KeyStore, share: &Share, now: SystemTime, out: &mut impl Write) -> anyhow::Result<()> {
    let listed = keys.list()?;
    if listed.is_empty() {
        return Ok(writeln!(out, "no key was given out yet; `avatar keys create NAME` makes one")?);
    }
    let time = |at: Option<i64>| at.and_then(rfc3339).unwrap_or_else(|| "never".to_owned());
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(listed.iter().map(|key| {
        let used = keys.used(&key.grant.key, now);
        let of = |used: String, good: Good| match share.daily(&key.grant, good) {
            0 => format!("{used} of any"),
            most => format!("{used} of {most}"),
        };
        let minutes = |time: Duration| format!("{:.1}", time.as_secs_f64() / 60.0);
        let state = match (key.revoked_at, key.is_valid(now)) {
            (Some(_), _) => "revoked",
            (None, true) => "valid",
            (None, false) => "expired",
        };
        let limit = |limit: Option<u32>| limit.map_or_else(|| "-".to_owned(), |limit| limit.to_string());
        [
            key.grant.key.clone(),
            key.name.clone(),
            state.to_owned(),
            time(Some(key.created_at)),
            time(key.expires_at),
            time(key.last_used_at),
            limit(key.grant.calls.map(u32::from)),
            limit(key.grant.requests_per_minute),
            of(minutes(used.talk), Good::Talk),
            of(used.speech_characters.to_string(), Good::Speech),
            of(minutes(used.transcribed), Good::Transcription),
            of(used.tokens.to_string(), Good::Tokens),
        ]
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; HEAD.len()] = std::array::from_fn(width);
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| {
            let pad = width.saturating_sub(cell.chars().count());
            format!("{cell}{}", " ".repeat(pad))
        });
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::call::allowance::Usage;

    fn told(config: &Config, command: &KeysCommand) -> anyhow::Result<(String, String)> {
        let (mut out, mut aside) = (Vec::new(), Vec::new());
        run(command, config, &mut out, &mut aside)?;
        Ok((String::from_utf8(out)?, String::from_utf8(aside)?))
    }

    fn nameless() -> Create {
        Create {
            name: String::new(),
            expires: None,
            calls: None,
            requests_per_minute: None,
            talk_minutes_per_day: None,
            speech_characters_per_day: None,
            transcribed_minutes_per_day: None,
            tokens_per_day: None,
        }
    }

    fn create(name: &str) -> KeysCommand {
        KeysCommand::Create(Create {
            name: name.to_owned(),
            expires: Some("30d".parse().unwrap()),
            calls: Some(2),
            ..nameless()
        })
    }

    #[test]
    fn a_key_is_shown_once_then_listed_without_itself_and_ended_by_its_id() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { data_dir: folder.path().to_owned(), ..Config::default() };
        assert!(told(&config, &KeysCommand::List).unwrap().0.contains("avatar keys create"));
        let (key, aside) = told(&config, &create("the shop")).unwrap();
        let key = key.trim_end();
        assert!(key.starts_with("sk-avatar-") && key.lines().count() == 1 && key.len() > 70, "{key}");
        assert!(aside.contains("AVATAR_API_KEYS"), "{aside}");
        assert!(!told(&config, &create("the other")).unwrap().1.contains("AVATAR_API_KEYS"));

        let listed = told(&config, &KeysCommand::List).unwrap().0;
        let row: Vec<_> = listed.lines().find(|line| line.contains("the shop")).unwrap().split("  ").collect();
        assert!(listed.contains("valid") && !listed.contains(key) && row.contains(&"never"), "{listed}");
        let id = row[0].to_owned();
        assert!(told(&config, &KeysCommand::Revoke { id: id.clone() }).unwrap().1.contains("the shop"));
        assert!(told(&config, &KeysCommand::List).unwrap().0.contains("revoked"));
        let unknown = told(&config, &KeysCommand::Revoke { id: "0123".to_owned() }).unwrap_err().to_string();
        assert!(unknown.contains("`0123`") && unknown.contains("avatar keys list"), "{unknown}");
    }

    #[test]
    fn a_key_without_a_name_or_with_nothing_to_use_is_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { data_dir: folder.path().to_owned(), ..Config::default() };
        for name in ["", "  ", "a\nb", &"x".repeat(61)] {
            assert!(told(&config, &create(name)).unwrap_err().to_string().contains("name"), "{name:?}");
        }
        let useless = KeysCommand::Create(Create { name: "x".to_owned(), calls: Some(0), ..nameless() });
        assert!(told(&config, &useless).unwrap_err().to_string().contains("calls"));
        assert!(told(&config, &KeysCommand::List).unwrap().0.contains("no key"));
    }

    #[test]
    fn what_each_key_used_today_is_listed_beside_what_it_may_use() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config { data_dir: folder.path().to_owned(), ..Config::default() };
        config.limits.tokens_per_day = 700;
        let asked = Create { name: "the shop".to_owned(), speech_characters_per_day: Some(4_000), ..nameless() };
        told(&config, &KeysCommand::Create(asked)).unwrap();
        let keys = KeyStore::open(folder.path()).unwrap();
        let id = keys.list().unwrap()[0].grant.key.clone();
        let used = Usage {
            talk: Duration::from_secs(90),
            speech_characters: 123,
            transcribed: Duration::from_secs(30),
            tokens: 45,
        };
        // Over midnight the test would see yesterday's as gone.
        let now = SystemTime::now();
        keys.add(&id, now, used);
        drop(keys);
        let (mut out, keys) = (Vec::new(), KeyStore::open(folder.path()).unwrap());
        list(&keys, &Share::of(&config.limits), now, &mut out).unwrap();
        let listed = String::from_utf8(out).unwrap();
        let row = listed.lines().find(|line| line.contains("the shop")).unwrap();
        for cell in ["1.5 of any", "123 of 4000", "0.5 of any", "45 of 700"] {
            assert!(row.contains(cell), "{cell}: {listed}");
        }
    }
}
