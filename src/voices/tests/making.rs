//! From a sample to a voice that speaks, over restarts.

use std::time::Instant;

use super::*;

async fn say(house: &House, voice: &str) -> Result<usize, String> {
    let request = SpeakRequest { text: "Good morning.".to_owned(), voice: voice.to_owned(), deadline: Instant::now() };
    let mut speech = house.parts.tts.as_ref().unwrap().speak(request).map_err(|error| error.to_string())?;
    let mut samples = 0;
    while let Some(chunk) = speech.next().await {
        samples += chunk.map_err(|error| error.to_string())?.samples.len();
    }
    Ok(samples)
}

fn modified(data: &Path, id: &str) -> std::time::SystemTime {
    std::fs::metadata(data.join(format!("voices/{id}.voice"))).unwrap().modified().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_becomes_a_voice_that_speaks_outlives_a_restart_and_can_be_deleted() {
    let data = folder();
    let house = House::new(data.path(), Parts { stt: Some(recogniser()), ..parts("usual") });
    let added = house.add("Sam", &speech("beckett")).await.unwrap();
    let id = added.profile.id.clone();
    let profile = house.until(&id, State::Ready).await;
    assert_eq!(house.told(), [State::Waiting, State::Computing, State::Ready]);
    let text = profile.transcript.clone().unwrap().to_lowercase();
    assert!(text.contains("ever tried") && text.contains("fail better"), "{text}");
    assert!((6_000..10_000).contains(&profile.duration_ms), "{}", profile.duration_ms);
    let (voice, language) = house.voices.voice(&profile);
    assert_eq!((voice.as_str(), language), (format!("pocket-tts/{id}").as_str(), "en-US"));
    assert!(say(&house, &voice).await.unwrap() > 1_000);
    // As sessions find it, by either name.
    let tts = house.parts.tts.clone().unwrap();
    assert_eq!(tts.added_voice(&id), Some(voice.clone()));
    assert_eq!(tts.added_voice(&voice), Some(voice.clone()));
    assert_eq!(tts.added_voice("pocket-tts/alba"), None);
    let heard = audio::ogg::read_file(&house.voices.sample(&profile)).unwrap();
    assert!((heard.duration().as_millis() as i64 - profile.duration_ms).abs() < 50);
    let computed = modified(data.path(), &id);
    house.stop().await;

    // Another process with the same weights: nothing is computed again.
    let house = House::new(data.path(), parts("usual"));
    let again = house.until(&id, State::Ready).await;
    assert_eq!((house.told(), modified(data.path(), &id)), (vec![State::Ready], computed));
    assert_eq!(again, profile);
    assert!(say(&house, &voice).await.unwrap() > 1_000);
    assert!(house.voices.remove(&Viewer::Everyone, &id).await.unwrap());
    assert!(!house.voices.remove(&Viewer::Everyone, &id).await.unwrap());
    assert!(say(&house, &voice).await.unwrap_err().contains("there is no voice"));
    let left = std::fs::read_dir(data.path().join("voices")).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(left.collect::<Vec<_>>(), ["samples"]);
    house.stop().await;
    assert!(House::new(data.path(), parts("usual")).voices.list(&Viewer::Everyone).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn other_weights_make_the_voice_anew_and_no_engine_leaves_it_waiting() {
    let data = folder();
    let house = House::new(data.path(), parts("usual"));
    let id = house.add("Sam", &speech("beckett")).await.unwrap().profile.id;
    let Stage::Ready { weights, .. } = house.until(&id, State::Ready).await.stage else { panic!("not ready") };
    house.stop().await;

    let without = House::new(data.path(), Parts { cloning: None, ..parts("usual") });
    let profile = without.until(&id, State::Waiting).await;
    let (_, reason) = without.voices.standing(&profile);
    assert!(reason.unwrap().contains("avatar models pull pocket-tts"));
    assert!(matches!(without.voices.workshop(), Workshop::Missing(_)));
    without.stop().await;

    let house = House::new(data.path(), parts("slim"));
    let Stage::Ready { weights: others, .. } = house.until(&id, State::Ready).await.stage else { panic!("not ready") };
    assert_eq!(house.told(), [State::Computing, State::Ready]);
    assert_ne!(others, weights);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_in_between_loses_no_voice_and_leaves_no_litter() {
    let data = folder();
    // Nothing is made here: the process is killed as soon as it began.
    let killed = House::of(data.path(), parts("usual"), false);
    let id = killed.add("Sam", &speech("beckett")).await.unwrap().profile.id;
    killed.voices.store().set_stage(&id, &Stage::Computing).unwrap();
    let voices = data.path().join("voices");
    for litter in [format!("{id}.voice.partial"), "voice_0123.wav".to_owned(), "voice_0123.voice".to_owned()] {
        std::fs::write(voices.join(litter), b"half").unwrap();
    }
    std::fs::write(voices.join("samples/flite+slt.ogg.partial"), b"half").unwrap();
    drop(killed);

    let house = House::new(data.path(), parts("usual"));
    house.until(&id, State::Ready).await;
    let mut left: Vec<String> =
        std::fs::read_dir(&voices).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left, ["samples".to_owned(), format!("{id}.ogg"), format!("{id}.voice"), format!("{id}.wav")]);
    assert_eq!(std::fs::read_dir(voices.join("samples")).unwrap().count(), 0);

    // A computed voice that is damaged is computed again.
    house.stop().await;
    std::fs::write(voices.join(format!("{id}.voice")), b"no voice").unwrap();
    let house = House::new(data.path(), parts("usual"));
    house.until(&id, State::Ready).await;
    assert_eq!(house.told(), [State::Computing, State::Ready]);

    // One whose row was not written before the process ended is used.
    house.voices.store().set_stage(&id, &Stage::Waiting).unwrap();
    house.stop().await;
    let house = House::new(data.path(), parts("usual"));
    house.until(&id, State::Ready).await;
    assert_eq!(house.told(), [State::Ready]);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_that_is_gone_is_a_failure_with_its_reason_not_an_endless_try() {
    let data = folder();
    let before = House::of(data.path(), parts("usual"), false);
    let id = before.add("Sam", &speech("beckett")).await.unwrap().profile.id;
    drop(before);
    std::fs::remove_file(data.path().join(format!("voices/{id}.wav"))).unwrap();
    let house = House::new(data.path(), parts("usual"));
    let profile = house.until(&id, State::Failed).await;
    assert!(house.voices.standing(&profile).1.unwrap().contains("cannot read the WAV"));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_not_disturbed_by_the_making_of_a_voice() {
    let data = folder();
    let house = House::new(data.path(), parts("usual"));
    house.is_calling.store(true, Ordering::SeqCst);
    let id = house.add("Sam", &speech("beckett")).await.unwrap().profile.id;
    let held = async {
        // The first is that it was added.
        while house.told().len() < 2 {
            house.changed.notified().await;
        }
    };
    tokio::time::timeout(PATIENCE, held).await.unwrap();
    let profile = house.until(&id, State::Waiting).await;
    assert!(house.voices.standing(&profile).1.unwrap().contains("a call is going on"));
    house.is_calling.store(false, Ordering::SeqCst);
    house.until(&id, State::Ready).await;
    assert_eq!(house.told(), [State::Waiting, State::Waiting, State::Computing, State::Ready]);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_shows_the_voices_is_told_of_each_that_is_added_renamed_or_deleted() {
    let data = folder();
    // Nothing is made here: what is told is what people do.
    let house = House::of(data.path(), parts("usual"), false);
    let (ann, bob) = (Viewer::Owner("ann".to_owned()), Viewer::Owner("bob".to_owned()));
    let upload = Upload { name: "Sam".to_owned(), recording: wav(&speech("beckett")), transcript: None, consent: true };
    let id = house.voices.add(&ann, upload).await.unwrap().profile.id;
    assert!(house.voices.rename(&bob, &id, "Mine").await.unwrap().is_none());
    assert!(!house.voices.remove(&bob, &id).await.unwrap());
    assert!(house.voices.rename(&ann, &id, "Samuel").await.unwrap().is_some());
    assert!(house.voices.remove(&ann, &id).await.unwrap());
    assert!(!house.voices.remove(&ann, &id).await.unwrap());
    let changes = house.changes.lock().unwrap();
    let told: Vec<_> =
        changes.iter().map(|change| (change.owner.as_deref(), change.id.as_str(), change.word())).collect();
    assert_eq!(told, ["waiting", "waiting", "deleted"].map(|word| (Some("ann"), id.as_str(), word)));
}
