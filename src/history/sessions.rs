//! Sessions that can be gone on with when their call has ended, by conversation. Of a token only the hash is here.

use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OptionalExtension, params};
use signaling::line::ConversationId;

use super::HistoryError;
use super::write::milliseconds;
use crate::call::record::SessionRecord;
use crate::call::resumption::TokenHash;

/// Keeps a session, and forgets those that have expired.
pub fn keep(connection: &Connection, session: &SessionRecord) -> Result<(), HistoryError> {
    let settings = serde_json::to_string(&session.settings).map_err(|error| HistoryError::Write(error.to_string()))?;
    connection.execute("DELETE FROM sessions WHERE expires_at <= ?1", params![milliseconds(SystemTime::now())])?;
    connection.execute(
        "INSERT INTO sessions (conversation, token, owner, settings, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (conversation) DO UPDATE SET token = ?2, owner = ?3, settings = ?4, expires_at = ?5",
        params![
            session.conversation.as_str(),
            session.token.bytes(),
            session.owner,
            settings,
            milliseconds(session.expires_at)
        ],
    )?;
    Ok(())
}

pub fn forget(connection: &Connection, conversation: &ConversationId) -> Result<(), HistoryError> {
    connection.execute("DELETE FROM sessions WHERE conversation = ?1", params![conversation.as_str()])?;
    Ok(())
}

/// The session of that token which is good at `now`. One whose settings cannot be read, by another version say, is none.
pub fn find(connection: &Connection, token: &TokenHash, now: SystemTime) -> rusqlite::Result<Option<SessionRecord>> {
    let found = connection
        .prepare_cached(
            "SELECT conversation, owner, settings, expires_at FROM sessions WHERE token = ?1 AND expires_at > ?2",
        )?
        .query_row(params![token.bytes(), milliseconds(now)], |row| {
            Ok((row.get::<_, String>(0)?, row.get(1)?, row.get::<_, String>(2)?, row.get::<_, i64>(3)?))
        })
        .optional()?;
    Ok(found.and_then(|(conversation, owner, settings, expires_at)| {
        Some(SessionRecord {
            conversation: ConversationId::from_text(conversation),
            owner,
            token: *token,
            settings: serde_json::from_str(&settings).ok()?,
            expires_at: SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(expires_at).ok()?),
        })
    }))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use signaling::line::TurnEnd;
    use signaling::secret::Secret;
    use tempfile::TempDir;

    use super::*;
    use crate::call::record::{Keeper, SessionSettings};
    use crate::history::History;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn session(conversation: &str, token: &str, instructions: &str) -> SessionRecord {
        SessionRecord {
            conversation: ConversationId::from_text(conversation),
            owner: Some("ada".to_owned()),
            token: hash(token),
            settings: SessionSettings {
                instructions: instructions.to_owned(),
                voice: "flite/slt".to_owned(),
                language: Some("zh-TW".to_owned()),
                turn_end: TurnEnd::Silence(Duration::from_millis(700)),
                create_response: true,
                interrupt_response: false,
            },
            // As it is kept, to the millisecond.
            expires_at: SystemTime::UNIX_EPOCH
                + Duration::from_millis(u64::try_from(milliseconds(SystemTime::now() + HOUR)).unwrap()),
        }
    }

    fn hash(token: &str) -> TokenHash {
        TokenHash::of(&Secret::new(token))
    }

    #[tokio::test]
    async fn a_session_survives_a_restart_as_it_was_last_and_its_former_token_does_not() {
        let folder = TempDir::new().unwrap();
        let history = History::open(folder.path()).unwrap();
        history.keep_session(session("conv_1", "rt_1", "Be brief.")).await.unwrap();
        let last = session("conv_1", "rt_2", "Speak like a pirate.");
        history.keep_session(last.clone()).await.unwrap();
        drop(history);
        let history = History::open(folder.path()).unwrap();
        assert_eq!(history.session(&hash("rt_2")), Some(last));
        assert_eq!(history.session(&hash("rt_1")), None);
        history.forget_session(&ConversationId::from_text("conv_1")).await.unwrap();
        assert_eq!(history.session(&hash("rt_2")), None);
    }

    #[tokio::test]
    async fn an_expired_session_is_none_and_is_swept_with_the_next_that_is_kept() {
        let folder = TempDir::new().unwrap();
        let history = History::open(folder.path()).unwrap();
        let expires_at = SystemTime::now() - HOUR;
        history.keep_session(SessionRecord { expires_at, ..session("conv_1", "rt_1", "") }).await.unwrap();
        assert_eq!(history.session(&hash("rt_1")), None);
        history.keep_session(session("conv_2", "rt_2", "")).await.unwrap();
        let count = |connection: &Connection| {
            connection.query_row("SELECT count(*) FROM sessions", [], |row| row.get::<_, i64>(0))
        };
        assert_eq!(history.read(count).unwrap(), 1);
    }

    #[tokio::test]
    async fn no_token_can_be_read_from_the_file() {
        let folder = TempDir::new().unwrap();
        let history = History::open(folder.path()).unwrap();
        history.keep_session(session("conv_1", "rt_of_this_test", "Be brief.")).await.unwrap();
        drop(history);
        let file = std::fs::read(folder.path().join("history.sqlite3")).unwrap();
        let holds = |text: &str| file.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(holds("Be brief.") && !holds("rt_of_this_test"));
    }
}
