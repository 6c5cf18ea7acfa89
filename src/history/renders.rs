//! A reply's way to its better audio.

/// Where a reply's better audio is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RenderState {
    /// Waits for its turn, or to be tried again.
    Pending,
    Rendering,
    Ready,
    /// Tried as often as is worth it.
    Failed,
}

impl RenderState {
    /// As the store and the REST interface have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Rendering => "rendering",
            Self::Ready => "ready",
            Self::Failed => "failed",
        }
    }
}
