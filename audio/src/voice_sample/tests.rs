//! The table of limits on made-up numbers, and the measures on made-up sounds. Real speech is checked where the server's tests have it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

const GOOD: Measures = Measures {
    speech: Duration::from_secs(12),
    clipped: 0.000_3,
    level_dbfs: -22.0,
    noise_dbfs: -62.0,
    above_noise: 40.0,
    bandwidth_hz: 9_000,
    change: 150.0,
};

#[test]
fn each_flaw_is_refused_by_its_name_and_the_next_to_it_is_a_warning() {
    let seconds = Duration::from_secs_f32;
    let codes = |measured: Measures| judge(&measured).map_err(Refusal::code).map(|warnings| warnings.len());
    assert_eq!(codes(GOOD), Ok(0));
    for (measured, expected) in [
        (Measures { speech: seconds(0.4), ..GOOD }, Err("no_speech")),
        (Measures { speech: seconds(2.9), ..GOOD }, Err("too_short")),
        (Measures { speech: seconds(3.1), ..GOOD }, Ok(1)),
        (Measures { level_dbfs: -50.0, ..GOOD }, Err("too_quiet")),
        (Measures { level_dbfs: -40.0, ..GOOD }, Ok(1)),
        (Measures { clipped: 0.02, ..GOOD }, Err("clipped")),
        (Measures { clipped: 0.006, ..GOOD }, Ok(1)),
        (Measures { above_noise: 8.0, ..GOOD }, Err("too_noisy")),
        (Measures { above_noise: 15.0, ..GOOD }, Ok(1)),
        (Measures { bandwidth_hz: 3_500, ..GOOD }, Ok(1)),
        (Measures { change: 500.0, ..GOOD }, Err("several_voices")),
        (Measures { change: 450.0, ..GOOD }, Ok(1)),
        // What is mended first is told first.
        (Measures { level_dbfs: -60.0, speech: seconds(1.0), above_noise: 2.0, ..GOOD }, Err("too_quiet")),
        (Measures { speech: seconds(1.0), clipped: 0.1, ..GOOD }, Err("too_short")),
    ] {
        assert_eq!(codes(measured), expected, "{measured:?}");
    }
}

/// Bursts of a harmonic sound of `hertz`, half a second each with pauses between, as loud as `peak`, in noise.
fn bursts(seconds: usize, hertz: f32, peak: f32, noise: f32, rate: SampleRate) -> Pcm {
    let mut random = StdRng::seed_from_u64(3);
    let samples = (0..seconds * rate.hertz() as usize).map(|at| {
        let time = at as f32 / rate.hertz() as f32;
        let sounds = time.fract() < 0.6;
        let wave: f32 = (1..=8)
            .map(|harmonic| (std::f32::consts::TAU * hertz * harmonic as f32 * time).sin() / harmonic as f32)
            .sum();
        let voice = if sounds { peak * wave / 2.0 } else { 0.0 };
        (voice + noise * random.random_range(-1.0_f32..1.0)).clamp(-1.0, 1.0)
    });
    Pcm::new(rate, samples.collect())
}

#[test]
fn a_voice_over_noise_is_measured_as_it_was_made() {
    let rate = SampleRate::HZ_16000;
    for noise in [0.002, 0.02] {
        let pcm = bursts(8, 140.0, 0.4, noise, rate);
        let activity = Activity::by_energy(&pcm);
        let measured = measure(&pcm, &activity).unwrap();
        assert!((4.5..7.0).contains(&measured.speech.as_secs_f32()), "{measured:?}");
        // Uniform noise has the square root of a third of its amplitude as effective value.
        assert!((measured.noise_dbfs - dbfs(noise / 3.0_f32.sqrt())).abs() < 1.5, "{noise}: {measured:?}");
        assert!((measured.level_dbfs - measured.noise_dbfs - measured.above_noise).abs() < 1.0, "{measured:?}");
    }
}

#[test]
fn overdriving_is_seen_also_where_the_file_was_made_quieter_afterwards() {
    let rate = SampleRate::HZ_48000;
    let mut loud = bursts(6, 140.0, 3.0, 0.001, rate);
    let share = |pcm: &Pcm| measure(pcm, &Activity::by_energy(pcm)).unwrap().clipped;
    assert!(share(&loud) > 0.1);
    loud.samples.iter_mut().for_each(|sample| *sample *= 0.3);
    assert!(share(&loud) > 0.1);
}

#[test]
fn the_band_ends_where_the_recording_does() {
    let rate = SampleRate::HZ_48000;
    let mut random = StdRng::seed_from_u64(5);
    let hiss: Vec<f32> = (0..rate.hertz() * 4).map(|_| random.random_range(-0.3..0.3)).collect();
    for (through, expected) in [(SampleRate::HZ_8000, 3_250..4_100), (SampleRate::HZ_16000, 6_500..8_100)] {
        let narrow = resample(&resample(&Pcm::new(rate, hiss.clone()), through).unwrap(), rate).unwrap();
        let hertz = spectrum::bandwidth(&narrow.samples, &[0.0; 9_600], rate);
        assert!(expected.contains(&hertz), "{hertz} Hz through {through:?}");
    }
    assert!(spectrum::bandwidth(&hiss, &[0.0; 9_600], rate) > 22_000);
    assert_eq!(spectrum::bandwidth(&[], &[], rate), 0);
}

#[test]
fn silence_and_nothing_are_measured_without_a_panic_and_refused() {
    for samples in [vec![], vec![0.0; 10], vec![0.0; 160_000], vec![1.0; 100_000]] {
        let pcm = Pcm::new(SampleRate::HZ_16000, samples);
        let activity = Activity::by_energy(&pcm);
        let measured = measure(&pcm, &activity).unwrap();
        assert!(judge(&measured).is_err(), "{measured:?}");
        assert!(prepare(&pcm, &activity).samples.iter().all(|sample| sample.is_finite()));
    }
}

#[test]
fn the_sample_is_cut_in_a_pause_and_levelled_whatever_it_was() {
    let rate = SampleRate::HZ_16000;
    for peak in [0.02, 0.9] {
        let mut pcm = bursts(40, 120.0, peak, 0.000_1, rate);
        // Recorders with an offset exist.
        pcm.samples.iter_mut().for_each(|sample| *sample += 0.01);
        pcm.samples.splice(0..0, vec![0.01; 32_000]);
        let activity = Activity::new(Duration::from_millis(32), &loud_windows(&pcm));
        let used = stretch(&pcm, &activity, LONGEST);
        let length = rate.duration_of(used.len());
        assert!(length <= LONGEST && length > Duration::from_secs(28), "{length:?}");
        assert!((1.7..2.1).contains(&rate.duration_of(used.start).as_secs_f32()));
        let within = activity.within(rate.duration_of(used.start)..rate.duration_of(used.end));
        let cut = prepare(&Pcm::new(rate, pcm.samples[used].to_vec()), &within);
        let level = level::rms_dbfs(&within.samples(&cut, true));
        assert!((level - TARGET_DBFS).abs() < 0.5, "{level}");
        assert!(level::peak_dbfs(&cut.samples) <= HIGHEST_PEAK_DBFS + 0.1);
        let mean = cut.samples.iter().sum::<f32>() / cut.samples.len() as f32;
        assert!(mean.abs() < 0.002 && cut.samples[0].abs() < 0.01, "{mean}");
        // It ends in a pause, not in a word.
        assert!(cut.samples[cut.samples.len() - 800..].iter().all(|sample| sample.abs() < 0.05));
    }
}

fn loud_windows(pcm: &Pcm) -> Vec<f32> {
    let loud = |window: &[f32]| f32::from(u8::from(level::rms(window) > 0.011));
    pcm.samples.chunks_exact(512).map(loud).collect()
}

#[test]
fn a_word_is_not_torn_by_a_moment_of_doubt() {
    let window = Duration::from_millis(32);
    let doubt = [0.9, 0.9, 0.4, 0.2, 0.3, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.45, 0.6];
    let activity = Activity::new(window, &doubt);
    assert_eq!(activity.speech(), window * 7);
    assert!(activity.is_speech(window * 3) && !activity.is_speech(window * 9) && !activity.is_speech(window * 99));
}
