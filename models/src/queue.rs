//! How much an engine has to do, for people to see.

/// Requests of one engine at this moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueDepth {
    /// Taken, and not begun.
    pub waiting: usize,
    /// Being worked on.
    pub busy: usize,
}

impl QueueDepth {
    /// Of several engines that are shown as one; `None` where none of them has a queue here.
    pub fn of_all(queues: impl IntoIterator<Item = Option<QueueDepth>>) -> Option<QueueDepth> {
        queues
            .into_iter()
            .flatten()
            .reduce(|all, one| QueueDepth { waiting: all.waiting + one.waiting, busy: all.busy + one.busy })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_in_a_row_are_counted_together_and_those_elsewhere_not_at_all() {
        let one = Some(QueueDepth { waiting: 2, busy: 1 });
        assert_eq!(QueueDepth::of_all([one, None, one]), Some(QueueDepth { waiting: 4, busy: 2 }));
        assert_eq!(QueueDepth::of_all([None, None]), None);
    }
}
