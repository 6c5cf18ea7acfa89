//! Real recordings with real flaws: each is refused by its name, and nothing of it is kept.

use super::*;

fn house(folder: &Path) -> House {
    House::of(folder, Parts { vad: Some(detector()), ..Parts::default() }, false)
}

async fn code(house: &House, recording: Bytes) -> String {
    let upload = Upload { name: "Ann".to_owned(), recording, transcript: None, consent: true };
    match house.voices.add(&Viewer::Everyone, upload).await {
        Err(VoiceError::Sample(error)) => {
            assert!(error.to_string().len() > 30, "{error}");
            error.code().to_owned()
        }
        Err(error) => panic!("{error}"),
        Ok(added) => {
            // Five or six seconds of speech in ten: nothing else could be better.
            assert!(added.warnings.iter().all(|warning| warning.contains("ten or more")), "{:?}", added.warnings);
            "taken".to_owned()
        }
    }
}

fn changed(pcm: &Pcm, change: impl FnMut(&f32) -> f32) -> Pcm {
    Pcm::new(pcm.rate, pcm.samples.iter().map(change).map(|sample| sample.clamp(-1.0, 1.0)).collect())
}

/// White noise of that amplitude on top.
fn noise(level: f32) -> impl FnMut(&f32) -> f32 {
    let mut state = 1_u64;
    move |sample| {
        // Knuth's MMIX generator, of which the upper bits are good.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        sample + level * ((state >> 40) as f32 / (1 << 23) as f32 - 1.0)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_that_will_not_do_is_refused_with_what_is_wrong() {
    let data = folder();
    let house = house(data.path());
    let good = speech("beckett");
    let peak = audio::level::peak(&good.samples);
    let mut two = at_16_khz(&first(&speech("two_cities"), 12.0));
    two.samples.extend(speech("clone-test").samples);
    let mut late = Pcm::new(good.rate, vec![0.0; 110 * 16_000]);
    late.samples.extend(&good.samples);
    for (what, recording, expected) in [
        ("a second and a half", wav(&first(&good, 1.8)), "too_short"),
        ("a whisper far away", wav(&changed(&good, |sample| sample * 0.02)), "too_quiet"),
        ("a microphone turned up", wav(&changed(&good, |sample| sample / peak * 6.0)), "clipped"),
        ("a fan beside it", wav(&changed(&good, noise(0.016))), "too_noisy"),
        ("two people, one after the other", wav(&two), "several_voices"),
        ("a dialogue", wav(&speech("endgame_nagg_nell")), "several_voices"),
        ("a fan alone", wav(&changed(&Pcm::new(good.rate, vec![0.0; 80_000]), noise(0.1))), "no_speech"),
        ("silence", wav(&Pcm::new(good.rate, vec![0.0; 80_000])), "no_speech"),
        ("a text", Bytes::from_static(b"Ever tried. Ever failed. No matter."), "not_audio"),
        ("nothing", Bytes::new(), "not_audio"),
        ("a WAV file without its middle", wav(&good).slice(..40), "not_audio"),
        ("two minutes and more", wav(&Pcm::new(good.rate, vec![0.0; 121 * 16_000])), "too_long"),
        ("speech at the end of two minutes", wav(&late), "taken"),
    ] {
        assert_eq!(code(&house, recording).await, expected, "{what}");
    }
    let kept = house.voices.list(&Viewer::Everyone).await.unwrap();
    assert_eq!(kept.len(), 1);
    let files =
        std::fs::read_dir(data.path().join("voices")).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_file());
    assert_eq!(files.count(), 2, "what was refused left files");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_file_that_unfolds_to_an_hour_is_refused() {
    let mut writer = audio::ogg::OggOpusWriter::new(Vec::new()).unwrap();
    for _ in 0..130 {
        writer.push(&Pcm::new(SampleRate::HZ_16000, vec![0.0; 16_000])).unwrap();
    }
    let bomb = writer.finish().unwrap();
    assert!(bomb.len() < 300_000);
    let data = folder();
    assert_eq!(code(&house(data.path()), bomb.into()).await, "too_long");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_sample_is_refused_before_it_is_listened_to() {
    let data = folder();
    let house = house(data.path());
    let good = Upload { name: "Ann".to_owned(), recording: wav(&speech("beckett")), transcript: None, consent: true };
    let add = |change: fn(&mut Upload)| {
        let mut upload = good.clone();
        change(&mut upload);
        house.voices.add(&Viewer::Everyone, upload)
    };
    assert!(matches!(add(|upload| upload.consent = false).await, Err(VoiceError::Consent)));
    assert!(matches!(add(|upload| upload.name = " ".to_owned()).await, Err(VoiceError::Name)));
    assert!(matches!(add(|upload| upload.transcript = Some("a".repeat(2_001))).await, Err(VoiceError::Transcript)));
    add(|_| ()).await.unwrap();
    assert!(matches!(add(|upload| upload.name = "ANN".to_owned()).await, Err(VoiceError::NameTaken(_))));
    // Another key's voices are another namespace.
    let other = Viewer::Owner("key_2".to_owned());
    house.voices.add(&other, good.clone()).await.unwrap();
    assert_eq!(house.voices.list(&other).await.unwrap().len(), 1);
    assert_eq!(house.voices.list(&Viewer::Everyone).await.unwrap().len(), 2);
}

#[test]
fn one_profile_too_many_is_refused() {
    let data = folder();
    let store = Store::open(crate::history::open_database(&data.path().into()).unwrap()).unwrap();
    let profile = |index: usize| Profile {
        id: format!("voice_{index}"),
        owner: Some(format!("key_{index}")),
        name: "Ann".to_owned(),
        created_at: index as i64,
        duration_ms: 9_000,
        bandwidth_hz: 8_000,
        transcript: None,
        is_transcribed: false,
        stage: Stage::Waiting,
    };
    for index in 0..PROFILES_MAX {
        store.insert(&profile(index)).unwrap();
    }
    assert!(matches!(store.insert(&profile(PROFILES_MAX)), Err(VoiceError::TooMany)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_from_a_browser_is_taken_as_a_wav_file_is() {
    let data = folder();
    let house = house(data.path());
    let good = speech("beckett");
    let mut writer = audio::ogg::OggOpusWriter::new(Vec::new()).unwrap();
    writer.push(&good).unwrap();
    assert_eq!(code(&house, writer.finish().unwrap().into()).await, "taken");
    // Nobody has to wait for the detector.
    let deaf = House::of(&data.path().join("deaf"), Parts::default(), false);
    assert_eq!(code(&deaf, wav(&good)).await, "taken");
}
