//! How long conversations are kept: by age and by size, where the configuration says so.
//!
//! Whole conversations go, the ones that were gone on with longest ago first; never one of the last hour, which may still be going
//! on. One at a time on the writing thread, their files elsewhere, so that a turn waits for one small transaction at most.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rusqlite::OptionalExtension;
use tracing::{info, warn};

use super::viewer::Viewer;
use super::{History, HistoryError, files};

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(600);
/// What was said within this is never removed.
const GRACE: Duration = Duration::from_secs(3_600);

/// What is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Conversations that were not gone on with for this long are removed.
    pub longest: Option<Duration>,
    /// When recordings take more bytes than this, the oldest conversations are removed.
    pub most_bytes: Option<u64>,
}

/// What one round removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    pub conversations: usize,
    /// Of recordings, as the rows had it.
    pub bytes: u64,
}

impl Retention {
    /// As the configuration says it: days and MiB, 0 for no bound.
    pub fn of(days: u32, mib: u64) -> Self {
        let longest = (days > 0).then(|| Duration::from_secs(u64::from(days) * 86_400));
        let most_bytes = (mib > 0).then(|| mib.saturating_mul(1 << 20));
        Self { longest, most_bytes }
    }

    pub fn is_off(&self) -> bool {
        self.longest.is_none() && self.most_bytes.is_none()
    }

    /// Whether a conversation last gone on with at `updated_at` is to go, when all recordings take `bytes`. Times in milliseconds
    /// since 1970.
    fn is_due(&self, now: i64, updated_at: i64, bytes: u64) -> bool {
        let age = now.saturating_sub(updated_at);
        let older_than = |limit: Duration| age > i64::try_from(limit.as_millis()).unwrap_or(i64::MAX);
        older_than(GRACE) && (self.longest.is_some_and(older_than) || self.most_bytes.is_some_and(|most| bytes > most))
    }
}

/// Keeps to it for as long as the server runs.
pub async fn run(history: Arc<History>, retention: Retention) {
    if retention.is_off() {
        return;
    }
    loop {
        match history.retain(retention, SystemTime::now()).await {
            Ok(removed) if removed.conversations > 0 => {
                info!(
                    conversations = removed.conversations,
                    bytes = removed.bytes,
                    "removed what was kept long enough"
                );
            }
            Ok(_) => {}
            Err(error) => warn!(%error, "old conversations could not be removed; it is tried again"),
        }
        tokio::time::sleep(EVERY).await;
    }
}

impl History {
    /// Removes what is not to be kept any longer at `now`.
    pub async fn retain(self: &Arc<Self>, retention: Retention, now: SystemTime) -> Result<Removed, HistoryError> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
        let mut removed = Removed::default();
        let history = Arc::clone(self);
        let size = blocking(move || history.size(&Viewer::Everyone)).await?;
        let mut bytes = u64::try_from(size.bytes).unwrap_or(0);
        loop {
            let history = Arc::clone(self);
            let Some((id, updated_at, its_bytes)) = blocking(move || history.stalest()).await? else { break };
            if !retention.is_due(now, updated_at, bytes) {
                break;
            }
            let taken = id.clone();
            let names = self
                .writer
                // It may have been gone on with meanwhile.
                .submit(move |scribe| match scribe.updated_at(&taken)? == Some(updated_at) {
                    true => scribe.take_out(&Viewer::Everyone, &taken),
                    false => Ok(None),
                })
                .await?;
            let Some(names) = names else { continue };
            let audio = self.audio_folder();
            let (_, left) = tokio::task::spawn_blocking(move || files::remove(&audio, names))
                .await
                .map_err(|error| HistoryError::Write(error.to_string()))?;
            if let Err(error) = left {
                warn!(%error, "recordings of a removed conversation are left; `avatar doctor --repair` removes them");
            }
            bytes = bytes.saturating_sub(its_bytes);
            removed.conversations += 1;
            removed.bytes += its_bytes;
        }
        Ok(removed)
    }

    /// The conversation that was gone on with longest ago, when that was, and what its recordings take.
    fn stalest(&self) -> Result<Option<(String, i64, u64)>, HistoryError> {
        self.read(|connection| {
            connection
                .prepare_cached("SELECT id, updated_at, audio_bytes FROM conversations ORDER BY updated_at LIMIT 1")?
                .query_row([], |row| Ok((row.get(0)?, row.get(1)?, u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0))))
                .optional()
        })
    }
}

impl super::write::Scribe {
    fn updated_at(&self, id: &str) -> Result<Option<i64>, HistoryError> {
        let mut statement = self.connection.prepare_cached("SELECT updated_at FROM conversations WHERE id = ?1")?;
        Ok(statement.query_row([id], |row| row.get(0)).optional()?)
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, HistoryError> + Send + 'static,
) -> Result<T, HistoryError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| HistoryError::Write(error.to_string()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    #[test]
    fn nothing_goes_where_nothing_is_said_and_nothing_of_the_last_hour() {
        assert!(!Retention::default().is_due(1_000 * HOUR, 0, u64::MAX));
        let all = Retention { longest: Some(Duration::ZERO), most_bytes: Some(0) };
        assert!(!all.is_due(10 * HOUR, 9 * HOUR, 1));
        assert!(all.is_due(10 * HOUR, 9 * HOUR - 1, 1));
    }

    #[test]
    fn what_is_too_old_goes_and_what_is_too_much() {
        let days = Retention { longest: Some(Duration::from_secs(30 * 86_400)), most_bytes: None };
        assert!(!days.is_due(720 * HOUR, 0, u64::MAX));
        assert!(days.is_due(720 * HOUR + 1, 0, 0));
        let size = Retention { longest: None, most_bytes: Some(1_000) };
        assert!(!size.is_due(720 * HOUR, 0, 1_000));
        assert!(size.is_due(720 * HOUR, 0, 1_001));
    }
}
