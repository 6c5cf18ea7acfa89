//! Whose conversations a request may see.

/// Who looks at the history, or changes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Viewer {
    /// The person at the machine, or the holder of one of the configuration's keys: everything.
    #[default]
    Everyone,
    /// The holder of a key that was given out: only what was said with it.
    Owner(String),
}
