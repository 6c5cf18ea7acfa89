//! What a key that was given out allows its holder.

/// A key that was given out. Its id is the owner of the calls and conversations that are made with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grant {
    /// The key's id; not the key.
    pub key: String,
    /// Most calls at once; `None`: what the server allows each key.
    pub calls: Option<u16>,
    /// `None`: what the server allows each key.
    pub requests_per_minute: Option<u32>,
    /// Minutes of talk a day (UTC); `None`: what the server allows each key.
    pub talk_minutes_per_day: Option<u32>,
    /// Of the engines by themselves, a day (UTC), beside what calls use; `None`: what the server allows each key.
    pub speech_characters_per_day: Option<u32>,
    pub transcribed_minutes_per_day: Option<u32>,
    pub tokens_per_day: Option<u32>,
}
