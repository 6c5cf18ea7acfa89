//! Titles that the language model finds for conversations, when it has nothing else to do.
//!
//! [`Titler`] decides and is pure; [`run`] carries out. One conversation at a time, only while no call is up; a call that comes
//! cancels at once. What comes out is made fit to be a title or thrown away, and a conversation that gets none is left alone for
//! longer each time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use models::error::EngineError;
use models::llm::{GenerateRequest, LanguageModel, Message, Piece, Sampling, Speaker};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::debug;
use uuid::Uuid;

use super::read::Side;
use super::{History, HistoryError};

/// No call for this long is idle: a call that was cut off often comes again.
const QUIET: Duration = Duration::from_secs(10);
/// How often it is looked again when nothing happens.
const EVERY: Duration = Duration::from_secs(300);
/// How long one title may take.
const PATIENCE: Duration = Duration::from_secs(120);
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(6 * 3_600);
/// Failures that are remembered; more and all are forgotten, and tried again.
const FAILURES_BOUND: usize = 1_000;
/// Characters of a title.
const LONGEST: usize = 60;
/// Characters of the talk that the model is shown.
const SHOWN: usize = 1_200;
/// Conversations looked at in a round.
const CANDIDATES: usize = 500;

/// Which conversations are left alone, and until when.
#[derive(Debug, Default)]
pub struct Titler {
    failed: HashMap<String, (u32, Instant)>,
}

impl Titler {
    /// The first of those without a title that may be tried.
    pub fn choose(&self, now: Instant, candidates: &[String]) -> Option<String> {
        let may = |id: &&String| self.failed.get(*id).is_none_or(|(_, again)| *again <= now);
        candidates.iter().find(may).cloned()
    }

    /// There came nothing of it: twice as long a pause as last time.
    pub fn failed(&mut self, now: Instant, id: &str) {
        if self.failed.len() >= FAILURES_BOUND {
            self.failed.clear();
        }
        let (times, again) = self.failed.entry(id.to_owned()).or_insert((0, now));
        *again = now + FIRST_PAUSE.saturating_mul(1 << (*times).min(16)).min(LONGEST_PAUSE);
        *times += 1;
    }

    pub fn succeeded(&mut self, id: &str) {
        self.failed.remove(id);
    }
}

/// Finds titles for as long as the server runs. `active` is how many calls are up; `llm` gives the language model once it is there.
pub async fn run(
    history: Arc<History>,
    mut active: watch::Receiver<usize>,
    llm: impl Fn() -> Option<Arc<dyn LanguageModel>>,
) {
    let mut titler = Titler::default();
    loop {
        if active.wait_for(|active| *active == 0).await.is_err() {
            return;
        }
        let mut busy = active.clone();
        let work = async {
            tokio::time::sleep(QUIET).await;
            while let Some(llm) = llm() {
                if !find_one(&history, &mut titler, llm.as_ref()).await {
                    break;
                }
            }
            tokio::time::sleep(EVERY).await;
        };
        tokio::select! {
            biased;
            // Dropping the work cancels the generation.
            called = busy.wait_for(|active| *active > 0) => if called.is_err() { return },
            () = work => {}
        }
    }
}

/// Tries one conversation; says whether there was one to try.
async fn find_one(history: &Arc<History>, titler: &mut Titler, llm: &dyn LanguageModel) -> bool {
    let reading = Arc::clone(history);
    let candidates = tokio::task::spawn_blocking(move || reading.without_title(CANDIDATES)).await;
    let Ok(Ok(candidates)) = candidates else { return false };
    let Some(id) = titler.choose(Instant::now(), &candidates) else { return false };
    let (reading, wanted) = (Arc::clone(history), id.clone());
    let Ok(Ok(talk)) = tokio::task::spawn_blocking(move || reading.opening(&wanted)).await else { return false };
    let title = match tokio::time::timeout(PATIENCE, ask(llm, &talk)).await {
        Ok(Ok(text)) => title_of(&text),
        Ok(Err(error)) => {
            debug!(%error, "no title could be found");
            None
        }
        Err(_) => None,
    };
    let named = match title {
        Some(title) => history.name(id.clone(), title).await.is_ok(),
        None => false,
    };
    match named {
        true => titler.succeeded(&id),
        false => titler.failed(Instant::now(), &id),
    }
    true
}

/// The model's cache for one title; given back also where the work is dropped.
struct Cache<'a> {
    llm: &'a dyn LanguageModel,
    name: String,
}

impl Drop for Cache<'_> {
    fn drop(&mut self) {
        self.llm.forget(&self.name);
    }
}

async fn ask(llm: &dyn LanguageModel, talk: &[(Side, String)]) -> Result<String, EngineError> {
    let cache = Cache { llm, name: format!("title_{}", Uuid::new_v4().simple()) };
    let sampling = Sampling { temperature: 0.0, repeat_penalty: 1.1, max_tokens: 32, ..Sampling::default() };
    let request = GenerateRequest { conversation: cache.name.clone(), messages: messages(talk), sampling };
    // Declared after the cache: cancelled before the cache is given back.
    let mut generation = llm.generate_when_idle(request)?;
    let mut text = String::new();
    while let Some(piece) = generation.next().await {
        match piece? {
            Piece::Text(more) => text.push_str(&more),
            Piece::Done { .. } => return Ok(text),
        }
        // Nothing after the first line is used.
        if text.trim_start().contains('\n') {
            return Ok(text);
        }
    }
    Err(EngineError::Stopped { engine: "language model" })
}

fn messages(talk: &[(Side, String)]) -> Vec<Message> {
    let mut told = String::new();
    for (side, text) in talk {
        let who = match side {
            Side::User => "User",
            Side::Assistant => "Assistant",
        };
        told.push_str(&format!("{who}: {}\n", text.split_whitespace().collect::<Vec<_>>().join(" ")));
    }
    let told: String = told.chars().take(SHOWN).collect();
    let system = "You name conversations. Answer with a title of at most six words, in the language of the conversation, \
                  and with nothing else.";
    let message = |speaker, text: String| Message { speaker, text };
    vec![
        message(Speaker::System, system.to_owned()),
        message(Speaker::User, format!("{told}\nWhat is a short title of this conversation?")),
    ]
}

/// What a model wrote as a title: one line without its wrapping, of at most 60 characters; `None` if there is none in it.
pub fn title_of(written: &str) -> Option<String> {
    let line = written.lines().map(str::trim).find(|line| line.chars().any(char::is_alphanumeric))?;
    let wrapping = |c: char| c.is_whitespace() || "\"'`“”‘’«»「」『』《》*_#".contains(c);
    let mut line = line.trim_matches(wrapping);
    for label in ["Title:", "title:", "TITLE:", "標題：", "標題:", "标题：", "标题:"] {
        if let Some(rest) = line.strip_prefix(label) {
            line = rest.trim_matches(wrapping);
        }
    }
    let line = line.trim_end_matches(|c: char| wrapping(c) || ".。,，:：;；".contains(c));
    let plain: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    let title = match (words.char_indices().nth(LONGEST - 1), words.char_indices().nth(LONGEST)) {
        // At a space, where there is one in the second half.
        (Some((end, _)), Some(_)) => {
            let cut = words.get(..end).unwrap_or_default();
            let at = cut.rfind(' ').filter(|at| *at > cut.len() / 2).unwrap_or(cut.len());
            format!("{}…", cut.get(..at).unwrap_or_default().trim_end())
        }
        _ => words,
    };
    title.chars().any(char::is_alphanumeric).then_some(title)
}

impl History {
    /// Conversations without a title in which something was answered, newest first.
    fn without_title(&self, limit: usize) -> Result<Vec<String>, HistoryError> {
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT id FROM conversations c WHERE title IS NULL AND EXISTS (
                         SELECT 1 FROM turns WHERE conversation = c.id AND user_text <> '' AND reply_heard <> '')
                     ORDER BY seq DESC LIMIT ?1",
                )?
                .query_map([limit as i64], |row| row.get(0))?
                .collect()
        })
    }

    /// The first of what was said.
    fn opening(&self, conversation: &str) -> Result<Vec<(Side, String)>, HistoryError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT coalesce(user_edit, user_text), coalesce(reply_edit, reply_heard) FROM turns
                 WHERE conversation = ?1 ORDER BY number LIMIT 4",
            )?;
            let mut said = Vec::new();
            let mut rows = statement.query([conversation])?;
            while let Some(row) = rows.next()? {
                for (side, at) in [(Side::User, 0), (Side::Assistant, 1)] {
                    let text = row.get::<_, Option<String>>(at)?.filter(|text| !text.trim().is_empty());
                    said.extend(text.map(|text| (side, text)));
                }
            }
            Ok(said)
        })
    }

    /// Gives a title to a conversation that still has none; says whether it was taken.
    pub async fn name(&self, conversation: String, title: String) -> Result<bool, HistoryError> {
        self.writer.submit(move |scribe| scribe.name(&conversation, &title)).await
    }
}

#[cfg(test)]
mod tests;
