//! What people change: titles, transcripts, and whether a conversation is there at all.

use rusqlite::{Connection, OptionalExtension, params};

use super::HistoryError;
use super::files;
use super::news::{HistoryNews, News};
use super::read::{self, ConversationSummary, Side, StoredTurn};
use super::search::{self, Place};
use super::viewer::Viewer;
use super::write::Scribe;

/// What is put in the place of a side's text: `None` leaves it as it is, `Some(None)` takes an edit back.
pub type Edit = Option<Option<String>>;

impl Scribe {
    /// Gives a conversation a title, or takes it away; `None` if there is none of that id.
    pub(super) fn rename(
        &mut self,
        viewer: &Viewer,
        id: &str,
        title: Option<&str>,
    ) -> Result<Option<ConversationSummary>, HistoryError> {
        let transaction = self.connection.transaction()?;
        let Some(seq) = read::seq(&transaction, viewer, id)? else { return Ok(None) };
        transaction.execute("UPDATE conversations SET title = ?2 WHERE seq = ?1", params![seq, title])?;
        search::put(&transaction, seq, Place::Title, title, None)?;
        let summary = read::summary(&transaction, viewer, seq)?;
        transaction.commit()?;
        self.tell_of_title(id, title)?;
        Ok(summary)
    }

    /// Gives a title to a conversation that still has none; says whether it was taken.
    pub(super) fn name(&mut self, id: &str, title: &str) -> Result<bool, HistoryError> {
        let transaction = self.connection.transaction()?;
        let seq: Option<i64> = transaction
            .query_row(
                "UPDATE conversations SET title = ?2 WHERE id = ?1 AND title IS NULL RETURNING seq",
                [id, title],
                |row| row.get(0),
            )
            .optional()?;
        if let Some(seq) = seq {
            search::put(&transaction, seq, Place::Title, Some(title), None)?;
        }
        transaction.commit()?;
        if seq.is_some() {
            self.tell_of_title(id, Some(title))?;
        }
        Ok(seq.is_some())
    }

    fn tell_of_title(&self, id: &str, title: Option<&str>) -> Result<(), HistoryError> {
        self.newsroom.title_changed(owner(&self.connection, id)?, id, title);
        Ok(())
    }

    /// Edits what a turn says, and gives it as it then stands with its index; `None` if it is not there. A side that the turn does
    /// not have is an error.
    pub(super) fn edit(
        &mut self,
        viewer: &Viewer,
        conversation: &str,
        number: i64,
        edits: [Edit; 2],
    ) -> Result<Option<(usize, StoredTurn)>, HistoryError> {
        let transaction = self.connection.transaction()?;
        let Some(seq) = read::seq(&transaction, viewer, conversation)? else { return Ok(None) };
        let Some((_, turn)) = read::turn(&transaction, viewer, conversation, number)? else { return Ok(None) };
        let [user, assistant] = edits;
        let sides =
            [(Side::User, "user_edit", turn.user, user), (Side::Assistant, "reply_edit", turn.assistant, assistant)];
        let mut items = Vec::new();
        for (side, column, stored, edit) in sides {
            let Some(edit) = edit else { continue };
            let stored = stored.ok_or(HistoryError::NothingSaid(side))?;
            // What says the same as before is no edit.
            let edit = edit.filter(|edit| *edit != stored.text);
            transaction.execute(&format!("UPDATE turns SET {column} = ?2 WHERE number = ?1"), params![number, edit])?;
            search::put(&transaction, seq, Place::Said(number, side), Some(&stored.text), edit.as_deref())?;
            items.push(stored.item);
        }
        let edited = read::turn(&transaction, viewer, conversation, number)?;
        // As a call that begins now would be told.
        let says = items.into_iter().map(|item| {
            let text = read::said(&transaction, number, &item)?;
            Ok((item, text.unwrap_or_default()))
        });
        let items = says.collect::<Result<Vec<_>, HistoryError>>()?;
        let owner = owner(&transaction, conversation)?;
        transaction.commit()?;
        if !items.is_empty() {
            let what = HistoryNews::Edit { conversation: conversation.to_owned(), turn: number, items };
            self.newsroom.publish(News { owner, what });
        }
        Ok(edited)
    }

    /// Takes a conversation out, all its rows at once; gives the names of its files, which are for the caller to remove. If the
    /// process is killed before that, `avatar doctor` finds them.
    pub(super) fn take_out(&mut self, viewer: &Viewer, id: &str) -> Result<Option<Vec<String>>, HistoryError> {
        let transaction = self.connection.transaction()?;
        let Some(seq) = read::seq(&transaction, viewer, id)? else { return Ok(None) };
        let owner = owner(&transaction, id)?;
        let names = files::of_conversation(&transaction, id)?;
        search::remove(&transaction, seq, id)?;
        // With them go the rows of other tables that hang on them.
        transaction.execute("DELETE FROM turns WHERE conversation = ?1", [id])?;
        transaction.execute("DELETE FROM conversations WHERE seq = ?1", [seq])?;
        transaction.commit()?;
        self.newsroom.publish(News { owner, what: HistoryNews::Deleted { conversation: id.to_owned() } });
        Ok(Some(names))
    }
}

/// Whose key a conversation was begun with.
fn owner(connection: &Connection, conversation: &str) -> rusqlite::Result<Option<String>> {
    let owner = connection
        .prepare_cached("SELECT owner FROM conversations WHERE id = ?1")?
        .query_row([conversation], |row| row.get(0))
        .optional()?;
    Ok(owner.flatten())
}
