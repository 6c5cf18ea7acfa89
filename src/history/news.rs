//! What changes in the history, told to whoever listens at that moment: the page's event stream, a call that still runs.
//!
//! News say that something changed and where; what it is now is read from the history. Nobody waits for a listener: one who is more
//! than [`NEWS_BOUND`] behind loses the oldest and is told so. News are published once what they tell of would survive a crash.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, Stream};
use signaling::line::{ConversationId, HqAudio, ItemId, ReplyId};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use super::renders::RenderState;
use super::viewer::Viewer;
use crate::call::attendance::Change;

/// How many news a listener may be behind. When more come the oldest are lost to it, and it hears [`Heard::Lagged`].
pub const NEWS_BOUND: usize = 256;
/// How many may listen at once; further ones are refused. Each costs a few hundred bytes, and a wake-up at each news.
pub const LISTENERS_BOUND: usize = 512;

/// One change, and who may hear of it.
#[derive(Debug, Clone, PartialEq)]
pub struct News {
    /// Whose key it was said with; `None` where only those may hear of it who see everything.
    pub owner: Option<String>,
    pub what: HistoryNews,
}

/// What changed.
#[derive(Debug, Clone, PartialEq)]
pub enum HistoryNews {
    /// A turn was written down.
    Turn { conversation: String, turn: i64 },
    /// Somebody corrected a turn: items, and what each says now.
    Edit { conversation: String, turn: i64, items: Vec<(String, String)> },
    /// A conversation was deleted.
    Deleted { conversation: String },
    /// A reply's way to its better audio: it waits, is being rendered, is there, or will not be.
    Render(RenderNews),
    /// A conversation has another title, or none.
    Title { conversation: String, title: Option<String> },
    /// A voice was added, computed, renamed or removed; `state` as the list of voices has it, `deleted` where it is gone.
    Voice { id: String, state: String },
}

/// Where a reply's better audio is.
#[derive(Debug, Clone, PartialEq)]
pub struct RenderNews {
    pub conversation: String,
    pub turn: i64,
    pub reply: String,
    /// The reply's item, by which clients of a call know it.
    pub item: String,
    pub state: RenderState,
    /// Why it failed, or why it is tried again.
    pub reason: Option<String>,
    /// Length of the better audio, once it is there.
    pub duration_ms: Option<i64>,
}

impl News {
    pub fn is_for(&self, viewer: &Viewer) -> bool {
        match viewer {
            Viewer::Everyone => true,
            Viewer::Owner(owner) => self.owner.as_ref() == Some(owner),
        }
    }
}

/// Where news are published and listened to. A clone is the same room.
#[derive(Debug, Clone)]
pub struct Newsroom(broadcast::Sender<Arc<News>>);

/// What a listener hears next.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    News(Arc<News>),
    /// So many were lost: what one has read of the history may be old.
    Lagged(u64),
}

/// So many listen already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{LISTENERS_BOUND} listen to the history's news already; close one, or try again later")]
pub struct Crowded;

impl Default for Newsroom {
    fn default() -> Self {
        Self(broadcast::Sender::new(NEWS_BOUND))
    }
}

impl Newsroom {
    /// Tells everybody who listens now. Never waits.
    pub fn publish(&self, news: News) {
        // An error means that nobody listens.
        let _ = self.0.send(Arc::new(news));
    }

    /// A conversation has another title, or none. For whoever changed it, once that is written down.
    pub fn title_changed(&self, owner: Option<String>, conversation: &str, title: Option<&str>) {
        let (conversation, title) = (conversation.to_owned(), title.map(str::to_owned));
        self.publish(News { owner, what: HistoryNews::Title { conversation, title } });
    }

    /// A voice changed. For whoever changed it, once that is written down.
    pub fn voice_changed(&self, owner: Option<String>, id: &str, state: &str) {
        self.publish(News { owner, what: HistoryNews::Voice { id: id.to_owned(), state: state.to_owned() } });
    }

    /// Hears all that is published from now on.
    pub fn listen(&self) -> Result<Listener, Crowded> {
        if self.0.receiver_count() >= LISTENERS_BOUND { Err(Crowded) } else { Ok(Listener(self.0.subscribe())) }
    }
}

/// Somebody who listens; dropping it leaves the room.
#[derive(Debug)]
pub struct Listener(broadcast::Receiver<Arc<News>>);

impl Listener {
    /// Waits for the next; `None` when the history is closed.
    pub async fn next(&mut self) -> Option<Heard> {
        match self.0.recv().await {
            Ok(news) => Some(Heard::News(news)),
            Err(RecvError::Lagged(lost)) => Some(Heard::Lagged(lost)),
            Err(RecvError::Closed) => None,
        }
    }

    /// Of what is told, a conversation's replies whose better audio is there.
    pub fn better_audio_of(self, conversation: ConversationId) -> impl Stream<Item = HqAudio> + Send {
        stream::unfold((self, conversation), |(mut listener, conversation)| async move {
            loop {
                // What is lost to a call that lags is in the history all the same.
                let Heard::News(news) = listener.next().await? else { continue };
                let HistoryNews::Render(render) = &news.what else { continue };
                let (RenderState::Ready, Some(ms)) = (render.state, render.duration_ms) else { continue };
                if render.conversation == conversation.as_str() {
                    let audio = HqAudio {
                        conversation: conversation.clone(),
                        turn: render.turn,
                        reply: ReplyId::from_text(render.reply.clone()),
                        item: ItemId::from_text(render.item.clone()),
                        duration: Duration::from_millis(ms.unsigned_abs()),
                    };
                    return Some((audio, (listener, conversation)));
                }
            }
        })
    }

    /// Of what is told, what somebody changed of a conversation.
    pub fn changes_of(self, conversation: ConversationId) -> impl Stream<Item = Change> + Send {
        stream::unfold((self, conversation), |(mut listener, conversation)| async move {
            loop {
                let change = match listener.next().await? {
                    Heard::Lagged(_) => Change::Missed,
                    Heard::News(news) => match &news.what {
                        HistoryNews::Edit { conversation: of, items, .. } if of == conversation.as_str() => {
                            let item = |(id, text): &(String, String)| (ItemId::from_text(id.clone()), text.clone());
                            Change::Corrected(items.iter().map(item).collect())
                        }
                        HistoryNews::Deleted { conversation: of } if of == conversation.as_str() => Change::Deleted,
                        _ => continue,
                    },
                };
                return Some((change, (listener, conversation)));
            }
        })
    }

    /// The next if it is there already.
    pub fn try_next(&mut self) -> Option<Heard> {
        match self.0.try_recv() {
            Ok(news) => Some(Heard::News(news)),
            Err(TryRecvError::Lagged(lost)) => Some(Heard::Lagged(lost)),
            Err(TryRecvError::Empty | TryRecvError::Closed) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn turn(owner: Option<&str>, turn: i64) -> News {
        let what = HistoryNews::Turn { conversation: "conv_1".to_owned(), turn };
        News { owner: owner.map(str::to_owned), what }
    }

    #[tokio::test]
    async fn who_falls_behind_is_told_and_then_hears_the_newest() {
        let room = Newsroom::default();
        let mut listener = room.listen().unwrap();
        let published = NEWS_BOUND as i64 + 10;
        (0..published).for_each(|number| room.publish(turn(None, number)));
        assert_eq!(listener.next().await, Some(Heard::Lagged(10)));
        assert_eq!(listener.next().await, Some(Heard::News(Arc::new(turn(None, 10)))));
        let last = std::iter::from_fn(|| listener.try_next()).last();
        assert_eq!(last, Some(Heard::News(Arc::new(turn(None, published - 1)))));
        drop(room);
        assert_eq!(listener.next().await, None);
    }

    #[test]
    fn a_key_hears_of_its_own_and_of_nothing_that_has_no_owner() {
        let (mine, yours) = (Viewer::Owner("key_1".to_owned()), Viewer::Owner("key_2".to_owned()));
        let news = turn(Some("key_1"), 1);
        assert!(news.is_for(&Viewer::Everyone) && news.is_for(&mine) && !news.is_for(&yours));
        let nobodys = turn(None, 1);
        assert!(nobodys.is_for(&Viewer::Everyone) && !nobodys.is_for(&mine));
    }

    #[test]
    fn listeners_beyond_the_bound_are_refused_until_one_leaves() {
        let room = Newsroom::default();
        let mut listeners: Vec<_> = (0..LISTENERS_BOUND).map(|_| room.listen().unwrap()).collect();
        assert_eq!(room.listen().unwrap_err(), Crowded);
        listeners.pop();
        assert!(room.listen().is_ok());
    }
}
