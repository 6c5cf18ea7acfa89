//! Tables of what was measured and of what is known.

use super::*;

/// (text, seconds of speech or -1 for no detector, log probability, expected)
type Case = (&'static str, f32, f32, Option<Refused>);

fn check(cases: &[Case]) {
    for (text, speech, mean_log_probability, expected) in cases.iter().copied() {
        let speech = (speech >= 0.0).then(|| Duration::from_secs_f32(speech));
        let evidence = Evidence { speech, mean_log_probability, no_speech_probability: None, text };
        assert_eq!(refuse(&evidence), expected, "{evidence:?}");
    }
}

#[test]
fn what_engines_say_on_noise_never_becomes_a_turn() {
    use Refused::{Empty, Phantom, Repetition, Unsure};
    check(&[
        ("You", 0.0, -0.218, Some(Phantom)),
        ("You", 0.0, -1.185, Some(Phantom)),
        ("Thank you.", 0.0, -0.548, Some(Phantom)),
        ("Thank you for watching!", 0.0, -0.328, Some(Phantom)),
        ("Thanks for watching.", 0.1, -0.33, Some(Phantom)),
        ("Thank you. Thank you.", 0.05, -0.1, Some(Phantom)),
        ("♪", 0.0, -0.481, Some(Empty)),
        ("♪♪ ♪♪ �", 0.0, -0.094, Some(Empty)),
        ("", 0.5, -0.1, Some(Empty)),
        (" . ", 0.5, -0.1, Some(Empty)),
        ("Okay.", 0.0, -0.526, Some(Unsure)),
        ("So", 0.0, -1.607, Some(Phantom)),
        ("Mm-h", 0.0, -0.682, Some(Unsure)),
        ("2-3", 0.0, -1.432, Some(Unsure)),
        ("2-3 16/01/2266666666666666666666", 0.0, -0.767, Some(Repetition)),
        ("啊啊啊啊啊啊啊啊�", 0.0, -0.667, Some(Repetition)),
        ("You個個個個個個個個", 0.0, -0.957, Some(Repetition)),
        ("You can also use the same as the same as the same as", 0.0, -1.555, Some(Unsure)),
    ]);
}

#[test]
fn a_noise_that_fooled_the_detector_for_a_moment_still_is_no_turn() {
    use Refused::{Phantom, Unsure};
    check(&[
        ("You", 0.1, -0.3, Some(Phantom)),
        ("You", 0.5, -0.6, Some(Phantom)),
        ("Thank you for watching!", 0.3, -0.1, Some(Phantom)),
        ("Thank you for watching!", 1.2, -0.45, Some(Phantom)),
        ("I don't know what you are talking about here", 0.1, -0.4, Some(Unsure)),
        ("What?", 0.3, -1.373, Some(Unsure)),
    ]);
}

#[test]
fn a_caller_who_says_thank_you_is_heard() {
    check(&[
        ("Thank you.", 0.64, -0.052, None),
        ("Thank you", 0.61, -0.186, None),
        ("You.", 0.32, -0.343, None),
        ("Thanks.", 0.58, -0.31, None),
        ("Bye.", 0.38, -0.24, None),
        ("Thank you for watching.", 1.12, -0.069, None),
        ("Thanks for watching.", 1.09, -0.215, None),
        ("謝謝", 0.5, -0.2, None),
        ("Thank you. Thank you.", 1.1, -0.2, None),
    ]);
}

#[test]
fn what_callers_say_is_heard() {
    check(&[
        ("What's the weather like?", 1.12, -0.019, None),
        ("No", 0.38, -0.685, None),
        ("Not.", 0.42, -0.497, None),
        ("Okay.", 0.51, -0.157, None),
        ("Stop. Stop. Stop.", 0.45, -0.69, None),
        ("No, no, no, no, no.", 1.6, -0.3, None),
        ("You know what I mean?", 0.96, -0.101, None),
        ("Thank you for the tip, what else?", 1.5, -0.3, None),
        ("Ever tried, ever failed, no matter, try again, fail again, fail better.", 4.48, -0.138, None),
        ("今天天氣怎麼樣", 1.1, -0.3, None),
        ("字幕要怎麼打開", 1.3, -0.25, None),
        ("My number is 5000000", 1.8, -0.3, None),
    ]);
}

#[test]
fn endless_repetition_is_refused_however_sure_the_engine_is() {
    let jin = "Jin ".repeat(17);
    let fast = "Jin ".repeat(6);
    let phrase = "I don't know. ".repeat(5);
    let tail = format!("Well then {}", "go on ".repeat(6));
    for (text, speech) in [(&jin, 1.5), (&fast, 0.9), (&phrase, 6.0), (&tail, 8.0)] {
        let speech = Some(Duration::from_secs_f32(speech));
        let evidence = Evidence { speech, mean_log_probability: -0.01, no_speech_probability: None, text };
        assert_eq!(refuse(&evidence), Some(Refused::Repetition), "{evidence:?}");
    }
}

#[test]
fn captions_of_videos_never_become_a_turn() {
    use Refused::Phantom;
    check(&[
        ("谢谢观看", 0.2, -0.1, Some(Phantom)),
        ("謝謝觀看", 0.9, -0.5, Some(Phantom)),
        ("字幕由Amara.org社区提供", 0.4, -0.2, Some(Phantom)),
        ("字幕志愿者 李宗盛", 1.5, -0.4, Some(Phantom)),
        ("请不吝点赞 订阅 转发 打赏支持明镜与点点栏目", 9.0, -0.35, Some(Phantom)),
        ("Subtitles by the Amara.org community", 0.5, -0.1, Some(Phantom)),
        ("請不吝點贊訂閱轉發打賞支持明鏡與點點欄目", 0.0, -0.1, Some(Phantom)),
        ("字幕由 Amara.org 社群提供", 1.0, -0.4, Some(Phantom)),
        ("中文字幕志願者 楊茜茜", 0.2, -0.1, Some(Phantom)),
        ("字幕製作：貝爾", 0.2, -0.1, Some(Phantom)),
        ("优优独播剧场——YoYo Television Series Exclusive", 0.0, -0.1, Some(Phantom)),
        ("感謝您的觀看，我們下期再見", 0.3, -0.2, Some(Phantom)),
        ("作詞 作曲 李宗盛", 0.3, -0.2, Some(Phantom)),
        ("Don't forget to like and subscribe!", 0.2, -0.1, Some(Phantom)),
        ("Transcription by CastingWords", 0.2, -0.1, Some(Phantom)),
        ("Please subscribe to our channel.", 6.0, -0.1, Some(Phantom)),
    ]);
}

#[test]
fn bracketed_and_starred_sounds_never_become_a_turn() {
    use Refused::Empty;
    check(&[
        ("[Music]", 2.0, -0.05, Some(Empty)),
        ("(applause)", 2.0, -0.05, Some(Empty)),
        ("（掌聲）", 2.0, -0.05, Some(Empty)),
        ("【音樂】 [ Silence ]", 2.0, -0.05, Some(Empty)),
        ("*sighs*", 2.0, -0.05, Some(Empty)),
        ("{laughs} ♪♪♪ ...", 2.0, -0.05, Some(Empty)),
        ("[Music", 2.0, -0.05, Some(Empty)),
        ("[laughs] I don't think so (coughs).", 2.0, -0.05, None),
    ]);
}

#[test]
fn a_loop_that_varies_a_little_is_given_away_by_how_well_it_packs() {
    let counting: String = (1..40).map(|number| format!("and then I went to the shop {} ", number % 3)).collect();
    for speech in [None, Some(Duration::from_secs(60))] {
        let evidence = Evidence { speech, mean_log_probability: -0.1, no_speech_probability: None, text: &counting };
        assert_eq!(refuse(&evidence), Some(Refused::Repetition));
    }
    let said = "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of \
        foolishness, it was the epoch of belief, it was the epoch of incredulity.";
    assert!(!packs_well(said) && !packs_well("好"), "people repeat themselves");
}

#[test]
fn a_piece_is_left_out_for_what_it_says_and_kept_when_in_doubt_of_its_length() {
    for (text, mean_log_probability, no_speech, expected) in [
        ("Thank you.", -0.2, 0.1, None),
        ("Thank you.", -0.6, 0.1, Some(Refused::Phantom)),
        ("Thank you for watching!", -0.4, 0.1, Some(Refused::Phantom)),
        ("字幕由Amara.org社区提供", -0.5, 0.1, Some(Refused::Phantom)),
        ("[Music]", -0.1, 0.1, Some(Refused::Empty)),
        ("la la la la la la la la la la", -0.1, 0.1, Some(Refused::Repetition)),
        ("and then we left", -0.7, 0.9, Some(Refused::Unsure)),
        ("and then we left", -0.7, 0.2, None),
        ("and then we left", f32::NAN, 0.2, Some(Refused::Unsure)),
        ("you", f32::NAN, 0.2, Some(Refused::Phantom)),
    ] {
        let recognized = Recognized {
            text: text.to_owned(),
            language: None,
            mean_log_probability,
            tokens: 5,
            no_speech_probability: Some(no_speech),
        };
        assert_eq!(refuse_piece(&recognized), expected, "{text}");
    }
}

#[test]
fn a_phantom_out_of_long_speech_is_not_what_was_said() {
    check(&[
        ("Thank you for watching.", 6.0, -0.1, Some(Refused::Phantom)),
        ("You", 4.0, -0.1, Some(Refused::Phantom)),
    ]);
}

#[test]
fn without_a_detector_only_near_certainty_is_believed_of_phantoms() {
    check(&[
        ("You", -1.0, -0.218, Some(Refused::Phantom)),
        ("Thank you for watching!", -1.0, -0.328, Some(Refused::Phantom)),
        ("Thank you.", -1.0, -0.052, None),
        ("What's the weather like?", -1.0, -0.203, None),
    ]);
}

#[test]
fn annotations_and_an_engine_that_heard_nobody_are_no_speech() {
    check(&[("[BLANK_AUDIO]", 0.4, -0.1, Some(Refused::Empty)), ("(music) [laughs]", 0.4, -0.1, Some(Refused::Empty))]);
    let nobody = Evidence {
        speech: Some(Duration::from_secs(1)),
        mean_log_probability: -0.7,
        no_speech_probability: Some(0.9),
        text: "Hello there.",
    };
    assert_eq!(refuse(&nobody), Some(Refused::Unsure));
    assert_eq!(refuse(&Evidence { no_speech_probability: Some(0.1), ..nobody }), None);
    assert_eq!(refuse(&Evidence { mean_log_probability: f32::NAN, ..nobody }), Some(Refused::Unsure));
}
