use super::*;

fn floor(turn_end: TurnEnd) -> Floor {
    Floor::new(FloorSettings { turn_end, ..FloorSettings::default() })
}

/// Hears `windows` of one probability and gives what changed, with the window it changed at.
fn hear(floor: &mut Floor, windows: u32, probability: f32) -> Vec<(u32, Change)> {
    let now = Instant::now();
    (1..=windows).filter_map(|n| floor.hear(now + WINDOW * n, probability).map(|change| (n, change))).collect()
}

#[test]
fn a_click_of_two_windows_is_not_speech() {
    let mut floor = floor(TurnEnd::Semantic);
    assert!(hear(&mut floor, 2, 0.9).is_empty());
    assert!(hear(&mut floor, 50, 0.1).is_empty());
    assert!(!floor.caller_has_it());
}

#[test]
fn speech_is_seen_within_a_hundred_milliseconds() {
    let mut floor = floor(TurnEnd::Semantic);
    assert_eq!(hear(&mut floor, 3, 0.9), [(3, Change::Started)]);
}

#[test]
fn a_quiet_word_end_is_not_a_pause() {
    let mut floor = floor(TurnEnd::Semantic);
    hear(&mut floor, 10, 0.9);
    assert!(hear(&mut floor, 10, 0.4).is_empty());
    assert!(floor.caller_speaks());
}

#[test]
fn finished_by_sound_and_words_ends_after_288_ms() {
    let mut floor = floor(TurnEnd::Semantic);
    hear(&mut floor, 20, 0.9);
    assert_eq!(hear(&mut floor, 3, 0.0), [(3, Change::Paused { pause: 1 })]);
    assert_eq!(floor.judged(1, 0.95), None);
    assert_eq!(floor.read(1, Reads::Statement), None);
    assert_eq!(hear(&mut floor, 10, 0.0), [(6, Change::Over)]);
}

/// Windows of silence until the end, of a pause with these opinions.
fn windows_until_over(sounds_finished: f32, reads: Reads) -> u32 {
    let mut floor = floor(TurnEnd::Semantic);
    hear(&mut floor, 20, 0.9);
    hear(&mut floor, 3, 0.0);
    floor.judged(1, sounds_finished);
    floor.read(1, reads);
    hear(&mut floor, 60, 0.0).first().map_or(0, |(windows, _)| 3 + windows)
}

#[test]
fn a_question_ends_after_256_ms_however_it_sounds() {
    assert_eq!(windows_until_over(0.02, Reads::Question), 8);
    assert_eq!(windows_until_over(0.98, Reads::Question), 8);
}

#[test]
fn a_sentence_that_does_not_sound_finished_waits_a_little_longer() {
    assert_eq!(windows_until_over(0.02, Reads::Statement), 10);
}

#[test]
fn a_comma_after_what_sounds_finished_costs_an_eighth_of_a_second() {
    assert_eq!(windows_until_over(0.9, Reads::Open), 13);
    assert_eq!(windows_until_over(0.1, Reads::Open), 25);
}

#[test]
fn no_sound_ends_what_leads_on() {
    assert_eq!(windows_until_over(1.0, Reads::LeadingOn), 37);
}

#[test]
fn the_turn_model_alone_does_not_end_a_turn_early() {
    let mut floor = floor(TurnEnd::Semantic);
    hear(&mut floor, 20, 0.9);
    hear(&mut floor, 3, 0.0);
    floor.judged(1, 0.99);
    floor.read(1, Reads::LeadingOn);
    assert!(hear(&mut floor, 15, 0.0).is_empty());
}

#[test]
fn the_turn_model_without_a_transcript_does_not_end_a_turn_early() {
    let mut floor = floor(TurnEnd::Semantic);
    hear(&mut floor, 20, 0.9);
    hear(&mut floor, 3, 0.0);
    floor.judged(1, 0.99);
    assert!(hear(&mut floor, 15, 0.0).is_empty());
}

#[test]
fn an_unfinished_sentence_is_given_over_a_second() {
    let mut floor = floor(TurnEnd::Semantic);
    hear(&mut floor, 20, 0.9);
    hear(&mut floor, 3, 0.0);
    floor.judged(1, 0.1);
    floor.read(1, Reads::LeadingOn);
    assert_eq!(hear(&mut floor, 60, 0.0), [(34, Change::Over)]);
}

#[test]
fn without_any_opinion_silence_ends_the_turn_all_the_same() {
    let mut floor = floor(TurnEnd::Semantic);
    hear(&mut floor, 20, 0.9);
    let changes = hear(&mut floor, 60, 0.0);
    assert_eq!(changes, [(3, Change::Paused { pause: 1 }), (25, Change::Over)]);
}

#[test]
fn an_opinion_of_an_earlier_pause_does_not_end_a_later_one() {
    let mut floor = floor(TurnEnd::Semantic);
    hear(&mut floor, 20, 0.9);
    hear(&mut floor, 6, 0.0);
    assert_eq!(hear(&mut floor, 5, 0.9), [(1, Change::Resumed)]);
    hear(&mut floor, 8, 0.0);
    assert_eq!(floor.judged(1, 1.0), None);
    assert_eq!(floor.read(1, Reads::Statement), None);
    assert!(floor.caller_has_it());
}

#[test]
fn a_late_opinion_ends_the_turn_at_once_when_silence_has_been_long_enough() {
    let mut floor = floor(TurnEnd::Semantic);
    hear(&mut floor, 20, 0.9);
    hear(&mut floor, 15, 0.0);
    assert_eq!(floor.judged(1, 0.9), None);
    assert_eq!(floor.read(1, Reads::Statement), Some(Change::Over));
}

#[test]
fn a_fixed_silence_is_kept_whatever_the_opinions() {
    let mut floor = floor(TurnEnd::Silence(Duration::from_millis(500)));
    hear(&mut floor, 20, 0.9);
    hear(&mut floor, 3, 0.0);
    floor.judged(1, 1.0);
    floor.read(1, Reads::Statement);
    assert_eq!(hear(&mut floor, 60, 0.0), [(13, Change::Over)]);
}

#[test]
fn manual_turns_never_end_by_themselves() {
    let mut floor = floor(TurnEnd::Manual);
    hear(&mut floor, 20, 0.9);
    assert_eq!(hear(&mut floor, 500, 0.0), [(3, Change::Paused { pause: 1 })]);
    assert_eq!(floor.commit(), Some(Change::Over));
    assert_eq!(floor.commit(), None);
}

#[test]
fn endless_speech_is_cut_into_turns() {
    let mut floor = floor(TurnEnd::Semantic);
    let changes = hear(&mut floor, 2_000, 0.9);
    assert_eq!(changes, [(3, Change::Started), (1_875, Change::Over), (1_878, Change::Started)]);
}
