//! Where a reply is on its way to better audio, and where it goes from there. Pure: time and chance are arguments.
//!
//! ```text
//!             begun             made
//!   pending ─────────▶ rendering ────▶ ready
//!      ▲  ▲───────────────┤ failed: again, later
//!      │   put back, found │
//!      └── asked anew ─────┴─ (from anywhere)      failed for good, or too often ─▶ failed
//! ```

use serde::Serialize;

/// How often a reply is tried. The server's own end in the middle counts, so that a reply which brings it down does so so often at most.
pub const ATTEMPTS_MAX: u32 = 5;
/// How long after the first failure it is tried again; each further failure doubles it.
pub const FIRST_WAIT_MS: i64 = 5_000;
pub const LONGEST_WAIT_MS: i64 = 10 * 60_000;

/// Where a reply's better audio is, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RenderState {
    /// Waits for its turn, or to be tried again.
    Pending,
    Rendering,
    Ready,
    /// It cannot be made, or was tried as often as is worth it.
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

    pub(super) fn of(word: &str) -> Option<Self> {
        [Self::Pending, Self::Rendering, Self::Ready, Self::Failed].into_iter().find(|state| state.as_str() == word)
    }
}

/// The same with what decides about the way on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Not before `due_at`, milliseconds since 1970.
    Pending {
        due_at: i64,
        attempts: u32,
    },
    /// `attempts` counts the one that runs.
    Rendering {
        attempts: u32,
    },
    Ready,
    Failed {
        attempts: u32,
    },
}

/// What happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// It is wanted anew: by a person, or because less of the reply was heard than had been written.
    Asked,
    /// The renderer takes it.
    Begun,
    Made,
    /// `for_good`: another attempt would come to the same.
    Failed {
        for_good: bool,
    },
    /// The renderer gives it back as it was: the server is told to stop.
    PutBack,
    /// At start: the process had been killed over it.
    Found,
}

impl Stage {
    pub fn state(self) -> RenderState {
        match self {
            Self::Pending { .. } => RenderState::Pending,
            Self::Rendering { .. } => RenderState::Rendering,
            Self::Ready => RenderState::Ready,
            Self::Failed { .. } => RenderState::Failed,
        }
    }

    pub fn attempts(self) -> u32 {
        match self {
            Self::Pending { attempts, .. } | Self::Rendering { attempts } | Self::Failed { attempts } => attempts,
            Self::Ready => 0,
        }
    }

    /// The stage after `happening` at `now`; `None` if that is out of date or out of place, and nothing is to change. `chance` is
    /// from 0.0 to 1.0: how much of the spread in a wait is used, so that many that failed together are not tried together.
    pub fn after(self, happening: Happening, now: i64, chance: f64) -> Option<Self> {
        match (self, happening) {
            (_, Happening::Asked) => Some(Self::Pending { due_at: now, attempts: 0 }),
            (Self::Pending { due_at, attempts }, Happening::Begun) => {
                (due_at <= now).then_some(Self::Rendering { attempts: attempts.saturating_add(1) })
            }
            (Self::Rendering { .. }, Happening::Made) => Some(Self::Ready),
            (Self::Rendering { attempts }, Happening::Failed { for_good }) => {
                Some(if for_good || attempts >= ATTEMPTS_MAX {
                    Self::Failed { attempts }
                } else {
                    Self::Pending { due_at: now.saturating_add(wait(attempts, chance)), attempts }
                })
            }
            (Self::Rendering { attempts }, Happening::PutBack) => {
                Some(Self::Pending { due_at: now, attempts: attempts.saturating_sub(1) })
            }
            (Self::Rendering { attempts }, Happening::Found) => Some(if attempts >= ATTEMPTS_MAX {
                Self::Failed { attempts }
            } else {
                Self::Pending { due_at: now, attempts }
            }),
            (Self::Pending { .. } | Self::Ready | Self::Failed { .. }, _)
            | (Self::Rendering { .. }, Happening::Begun) => None,
        }
    }
}

/// How long to wait after so many attempts, in milliseconds: doubled each time, half of it left to chance.
fn wait(attempts: u32, chance: f64) -> i64 {
    let doublings = attempts.saturating_sub(1).min(20);
    let longest = FIRST_WAIT_MS.saturating_mul(1_i64 << doublings).min(LONGEST_WAIT_MS);
    longest / 2 + (longest as f64 / 2.0 * chance.clamp(0.0, 1.0)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_that_is_made_at_once_is_pending_rendering_ready() {
        let pending = Stage::Pending { due_at: 100, attempts: 0 };
        assert_eq!(pending.after(Happening::Begun, 99, 0.0), None, "not before it is due");
        let rendering = Stage::Rendering { attempts: 1 };
        assert_eq!(pending.after(Happening::Begun, 100, 0.0), Some(rendering));
        assert_eq!(rendering.after(Happening::Made, 200, 0.0), Some(Stage::Ready));
    }

    #[test]
    fn a_failing_engine_is_asked_less_and_less_often_and_not_for_ever() {
        let (mut stage, mut now, mut waits) = (Stage::Pending { due_at: 0, attempts: 0 }, 0, Vec::new());
        while let Stage::Pending { due_at, .. } = stage {
            waits.push(due_at - now);
            now = due_at;
            let begun = stage.after(Happening::Begun, now, 0.0);
            stage =
                begun.and_then(|begun| begun.after(Happening::Failed { for_good: false }, now, 1.0)).unwrap_or(stage);
        }
        assert_eq!(waits, [0, 5_000, 10_000, 20_000, 40_000]);
        assert_eq!(stage, Stage::Failed { attempts: ATTEMPTS_MAX });
        assert_eq!(stage.after(Happening::Begun, i64::MAX, 0.0), None);
        assert_eq!(stage.after(Happening::Asked, now, 0.0), Some(Stage::Pending { due_at: now, attempts: 0 }));
    }

    #[test]
    fn those_that_fail_together_are_not_tried_together() {
        let again = |chance| Stage::Rendering { attempts: 3 }.after(Happening::Failed { for_good: false }, 0, chance);
        assert_eq!(again(0.0), Some(Stage::Pending { due_at: 10_000, attempts: 3 }));
        assert_eq!(again(0.5), Some(Stage::Pending { due_at: 15_000, attempts: 3 }));
        assert_eq!(wait(u32::MAX, 1.0), LONGEST_WAIT_MS);
    }

    #[test]
    fn what_can_never_be_said_is_not_tried_again() {
        let rendering = Stage::Rendering { attempts: 1 };
        assert_eq!(rendering.after(Happening::Failed { for_good: true }, 0, 0.0), Some(Stage::Failed { attempts: 1 }));
    }

    #[test]
    fn a_reply_that_kills_the_server_does_so_a_few_times_only() {
        let mut stage = Stage::Pending { due_at: 0, attempts: 0 };
        let mut deaths = 0;
        while let Some(begun) = stage.after(Happening::Begun, 0, 0.0) {
            deaths += 1;
            stage = begun.after(Happening::Found, 0, 0.0).unwrap_or(begun);
        }
        assert_eq!((deaths, stage), (ATTEMPTS_MAX, Stage::Failed { attempts: ATTEMPTS_MAX }));
    }

    #[test]
    fn an_orderly_stop_costs_no_attempt() {
        let put_back = Stage::Rendering { attempts: 1 }.after(Happening::PutBack, 7, 0.0);
        assert_eq!(put_back, Some(Stage::Pending { due_at: 7, attempts: 0 }));
    }

    #[test]
    fn what_was_made_of_an_older_text_is_not_taken_for_the_new_one() {
        let asked_anew = Stage::Rendering { attempts: 1 }.after(Happening::Asked, 5, 0.0);
        let Some(pending) = asked_anew else { panic!("it is pending again") };
        for stale in [Happening::Made, Happening::Failed { for_good: false }, Happening::PutBack, Happening::Found] {
            assert_eq!(pending.after(stale, 6, 0.0), None, "{stale:?}");
        }
    }
}
