#![allow(clippy::unwrap_used)]

use super::*;

/// A sender of 20 ms packets, the link as far as a test says, and what came of it in words.
struct Ear {
    start: Instant,
    buffer: JitterBuffer,
    heard: Vec<String>,
    /// Ticks of everything that was released.
    ticks: u64,
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

impl Ear {
    fn new() -> Self {
        Self { start: Instant::now(), buffer: JitterBuffer::new(), heard: Vec::new(), ticks: 0 }
    }

    fn packet(&self, at: Duration, sequence: u16, timestamp: u32, ticks: u32) -> Packet {
        let payload = vec![0; if ticks == 0 { 0 } else { 60 }];
        Packet { sequence, timestamp, arrived: self.start + at, ticks, redundancy: ticks, payload }
    }

    /// Packet `number` of an unbroken stream arrives.
    fn take(&mut self, at: Duration, number: u16) {
        self.take_other(at, number, u32::from(number) * 960, 960);
    }

    fn take_other(&mut self, at: Duration, sequence: u16, timestamp: u32, ticks: u32) {
        self.wait(at);
        self.buffer.receive(self.packet(at, sequence, timestamp, ticks));
        self.drain(at);
    }

    fn drain(&mut self, at: Duration) {
        while let Some(release) = self.buffer.poll(self.start + at) {
            let (word, ticks) = match release {
                Release::Packet { packet, restarted } => {
                    (format!("{}{}", if restarted { "restart " } else { "" }, packet.sequence), packet.ticks)
                }
                Release::Lost { ticks, .. } => ("lost".to_owned(), ticks),
                Release::Recover { ticks, .. } => ("recover".to_owned(), ticks),
                Release::Pause { ticks, .. } => ("pause".to_owned(), ticks),
            };
            self.heard.push(word);
            self.ticks += u64::from(ticks);
        }
    }

    /// Time passes; polls when the buffer asks for it.
    fn wait(&mut self, until: Duration) {
        while let Some(wake) = self.buffer.next_wake().filter(|wake| *wake < self.start + until) {
            self.drain(wake.saturating_duration_since(self.start));
        }
    }

    /// What was released since the last question.
    fn said(&mut self) -> String {
        std::mem::take(&mut self.heard).join(" ")
    }

    fn released(&self) -> Duration {
        SampleRate::HZ_48000.duration_of(self.ticks as usize)
    }
}

#[test]
fn a_clean_link_is_heard_without_any_delay() {
    let mut ear = Ear::new();
    for number in 0..100 {
        ear.take(ms(20 * u64::from(number)), number);
        assert_eq!(ear.said(), number.to_string());
    }
    let stats = ear.buffer.stats();
    assert_eq!((stats.received, stats.lost, stats.target), (100, 0, ms(20)));
    assert!(stats.jitter < Duration::from_micros(10), "{:?}", stats.jitter);
}

#[test]
fn an_overtaken_packet_is_put_back_in_order() {
    let mut ear = Ear::new();
    ear.take(ms(0), 0);
    ear.take(ms(20), 1);
    ear.take(ms(40), 3);
    assert_eq!(ear.said(), "0 1");
    ear.take(ms(50), 2);
    assert_eq!(ear.said(), "2 3");
    assert_eq!(ear.buffer.stats().lost, 0);
}

#[test]
fn a_gap_is_given_up_after_the_target_and_not_before() {
    let mut ear = Ear::new();
    ear.take(ms(0), 0);
    ear.take(ms(40), 2);
    ear.said();
    let wake = ear.buffer.next_wake().unwrap();
    assert_eq!(wake - ear.start, ms(40) + ear.buffer.stats().target);
    ear.drain(wake - ear.start - Duration::from_nanos(1));
    assert_eq!(ear.said(), "");
    ear.drain(wake - ear.start);
    assert_eq!(ear.said(), "recover 2");
    assert_eq!(ear.released(), ms(60), "a gap takes exactly its time");
}

#[test]
fn in_a_burst_of_losses_only_the_last_can_be_recovered() {
    let mut ear = Ear::new();
    ear.take(ms(0), 0);
    ear.take(ms(100), 5);
    ear.wait(ms(300));
    // The first was filled in before it was known whether the sender paused.
    assert_eq!(ear.said().trim_end_matches(" pause"), "0 pause lost lost recover 5");
    let stats = ear.buffer.stats();
    assert_eq!((stats.lost, stats.recovered, stats.concealed), (4, 1, ms(60)));
}

#[test]
fn a_late_packet_is_dropped_counted_and_waited_for_the_next_time() {
    let mut ear = Ear::new();
    ear.take(ms(0), 0);
    ear.take(ms(40), 2);
    ear.take(ms(55), 3);
    assert_eq!(ear.said(), "0", "still waiting");
    ear.take(ms(80), 4);
    ear.take(ms(100), 1);
    assert_eq!(ear.said(), "recover 2 3 4");
    let stats = ear.buffer.stats();
    assert_eq!((stats.late, stats.received), (1, 5));
    assert!(stats.target >= ms(60), "{:?} is less than it was late", stats.target);
    ear.take(ms(120), 5);
    ear.take(ms(160), 7);
    ear.take(ms(215), 6);
    assert_eq!(ear.said(), "5 6 7", "the longer wait was worth it");
}

#[test]
fn a_duplicate_is_heard_once() {
    let mut ear = Ear::new();
    for number in [0, 0, 1, 1, 0, 3, 3, 2, 2] {
        ear.take(ms(20), number);
    }
    assert_eq!(ear.said(), "0 1 2 3");
    let stats = ear.buffer.stats();
    assert_eq!((stats.duplicate, stats.late, stats.lost), (5, 0, 0));
}

#[test]
fn the_sequence_number_and_the_timestamp_wrap_unnoticed() {
    let mut ear = Ear::new();
    for number in 0..200u16 {
        let at = ms(20 * u64::from(number));
        let timestamp = (u32::MAX - 50_000).wrapping_add(u32::from(number) * 960);
        ear.take_other(at, 65_500u16.wrapping_add(number), timestamp, 960);
    }
    assert_eq!(ear.heard.len(), 200);
    let stats = ear.buffer.stats();
    assert_eq!((stats.lost, stats.restarts, stats.paused), (0, 0, ms(0)));
}

#[test]
fn padding_uses_a_sequence_number_and_is_no_loss() {
    let mut ear = Ear::new();
    ear.take_other(ms(0), 10, 0, 960);
    ear.take_other(ms(5), 11, 0, 0);
    ear.take_other(ms(6), 12, 0, 0);
    ear.take_other(ms(20), 13, 960, 960);
    assert_eq!(ear.said(), "10 13");
    let stats = ear.buffer.stats();
    assert_eq!((stats.received, stats.lost, stats.concealed, stats.paused), (4, 0, ms(0), ms(0)));
}

#[test]
fn a_loss_before_padding_is_still_recovered_from_the_next_audio() {
    let mut ear = Ear::new();
    ear.take_other(ms(0), 10, 0, 960);
    ear.take_other(ms(25), 12, 960, 0);
    ear.take_other(ms(40), 13, 1_920, 960);
    ear.wait(ms(70));
    assert_eq!(ear.said(), "10 recover 13");
}

#[test]
fn a_discontinuous_sender_is_filled_to_the_length_of_its_silence() {
    let mut ear = Ear::new();
    ear.take_other(ms(0), 0, 0, 960);
    // Twenty frames of silence were not sent.
    ear.take_other(ms(420), 1, 21 * 960, 960);
    assert_eq!(ear.released(), ms(440));
    assert_eq!(ear.said().matches("pause").count(), 20);
    let stats = ear.buffer.stats();
    assert_eq!((stats.lost, stats.paused), (0, ms(400)));
}

#[test]
fn the_clock_of_a_muted_sender_goes_on_and_its_return_does_not_double_the_time() {
    for timestamps_go_on in [true, false] {
        let mut ear = Ear::new();
        ear.take_other(ms(0), 0, 0, 960);
        ear.wait(ms(5_000));
        let before = ear.released();
        assert!(before > ms(4_900) && before <= ms(5_000), "{before:?} of 5 s of silence");
        ear.take_other(ms(5_000), 1, if timestamps_go_on { 250 * 960 } else { 960 }, 960);
        let after = ear.released();
        assert!(after >= before + ms(20) && after <= ms(5_020), "{before:?}, then {after:?}");
    }
}

#[test]
fn speech_that_was_held_up_is_all_heard() {
    let mut ear = Ear::new();
    ear.take(ms(0), 0);
    for number in 1..50 {
        ear.take(ms(1_000), number);
    }
    let said = ear.said();
    let order: Vec<u16> = said.split(' ').filter_map(|word| word.parse().ok()).collect();
    assert_eq!(order, (0..50).collect::<Vec<_>>());
    assert_eq!(ear.buffer.stats().lost, 0);
}

#[test]
fn a_timestamp_jump_does_not_make_an_hour_of_silence() {
    let mut ear = Ear::new();
    ear.take_other(ms(0), 0, 0, 960);
    ear.take_other(ms(20), 1, 3_600 * 48_000, 960);
    assert!(ear.released() <= ms(40 + 200), "{:?}", ear.released());
    // Backwards, too.
    ear.take_other(ms(40), 2, 100, 960);
    ear.take_other(ms(60), 3, 1_060, 960);
    assert!(ear.said().ends_with("2 3"));
}

#[test]
fn a_new_sender_is_believed_on_its_second_packet() {
    let mut ear = Ear::new();
    ear.take(ms(0), 0);
    ear.take_other(ms(20), 40_000, 5, 960);
    assert_eq!(ear.said(), "0");
    ear.take_other(ms(40), 40_001, 965, 960);
    assert_eq!(ear.said(), "restart 40000 40001");
    ear.take_other(ms(60), 40_002, 1_925, 960);
    assert_eq!(ear.said(), "40002");
    let stats = ear.buffer.stats();
    assert_eq!((stats.restarts, stats.lost, stats.received), (1, 0, 4));
}

#[test]
fn a_new_sender_after_a_long_silence_is_believed_at_once() {
    let mut ear = Ear::new();
    ear.take(ms(0), 0);
    ear.take_other(ms(10_000), 40_000, 5, 960);
    assert!(ear.said().ends_with("pause restart 40000"));
}

#[test]
fn one_stray_packet_is_no_new_sender() {
    let mut ear = Ear::new();
    ear.take(ms(0), 0);
    ear.take_other(ms(10), 30_000, 77, 960);
    ear.take(ms(20), 1);
    ear.take_other(ms(30), 50_000, 77, 960);
    ear.take(ms(40), 2);
    assert_eq!(ear.said(), "0 1 2");
    assert_eq!(ear.buffer.stats().restarts, 0);
}

#[test]
fn a_jittery_link_waits_longer_within_bounds() {
    let mut ear = Ear::new();
    for number in 0..400u16 {
        let wobble = if number % 2 == 0 { 0 } else { 15 };
        ear.take(ms(20 * u64::from(number) + wobble), number);
    }
    let stats = ear.buffer.stats();
    // RFC 3550 converges to the mean difference of transit, 15 ms.
    assert!((ms(14)..ms(16)).contains(&stats.jitter), "{:?}", stats.jitter);
    assert!((ms(42)..ms(48)).contains(&stats.target), "{:?}", stats.target);
    assert_eq!(stats.paused, ms(0), "jitter is no pause");
    for number in 400..420u16 {
        ear.take(ms(8_000 + 500 * u64::from(number - 400)), number);
    }
    assert_eq!(ear.buffer.stats().target, ms(200));
}

#[test]
fn packets_nobody_asks_for_do_not_fill_the_memory() {
    let mut ear = Ear::new();
    for number in 0..2_000u16 {
        let packet = ear.packet(ms(1), number, u32::from(number) * 960, 960);
        ear.buffer.receive(packet);
    }
    assert_eq!(ear.buffer.waiting.len(), PACKETS_BOUND);
    ear.drain(ms(1));
    assert_eq!(ear.heard.len(), PACKETS_BOUND);
    assert_eq!(ear.buffer.stats().late, 2_000 - PACKETS_BOUND as u64);
}

#[test]
fn a_suspended_machine_gets_two_seconds_of_silence_not_a_day() {
    let mut ear = Ear::new();
    ear.take(ms(0), 0);
    ear.drain(Duration::from_secs(86_400));
    assert!(ear.released() <= ms(2_040), "{:?}", ear.released());
    assert!(ear.released() >= ms(1_800), "{:?}", ear.released());
}

#[test]
fn nothing_is_heard_before_the_first_packet() {
    let mut ear = Ear::new();
    ear.drain(Duration::from_secs(10));
    assert_eq!((ear.said().as_str(), ear.buffer.next_wake()), ("", None));
}
