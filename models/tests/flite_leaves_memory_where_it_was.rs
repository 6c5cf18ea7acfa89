//! In a process of its own: what other tests take would be counted with it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ops::ControlFlow;

use models::tts::Synthesizer;
use models::tts::flite::Flite;

#[test]
fn fifty_sentences_leave_memory_where_it_was() {
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/statm").unwrap();
        status.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4
    };
    let mut flite = Flite::open().unwrap();
    // Every other one is cut in half.
    let mut say = |n: usize| {
        let sentence = format!("Sentence number {n} goes to the voice, and is cut in half.");
        let mut left = if n.is_multiple_of(2) { 20 } else { usize::MAX };
        let mut sink = |_| {
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        flite.synthesize(&sentence, "flite/slt", &mut sink).unwrap();
    };
    (0..10).for_each(&mut say);
    let before = resident();
    (0..50).for_each(&mut say);
    let grown = resident().saturating_sub(before);
    // One leaked utterance is over 500 KiB.
    assert!(grown < 4 * 1024, "{grown} KiB more after 50 sentences");
}
