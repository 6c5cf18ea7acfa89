//! Up to which frequency a recording has speech in it.

use realfft::RealFftPlanner;

use crate::pcm::SampleRate;

/// Resolution is the rate divided by this: 47 Hz at 48 kHz.
const FRAME: usize = 1_024;
/// Bands are compared over this much.
const BAND_HZ: f32 = 250.0;
/// Speech is what is within this of the loudest band, in decibels, …
const REACH: f32 = 66.0;
/// … and this much above the same band of the pauses.
const ABOVE_PAUSES: f32 = 6.0;

/// The upper edge of the highest band, in hertz, that `speech` fills; `pauses` are what is heard when nobody speaks.
pub(super) fn bandwidth(speech: &[f32], pauses: &[f32], rate: SampleRate) -> u32 {
    let (speech, pauses) = (loud_bands(speech, rate), loud_bands(pauses, rate));
    let loudest = speech.iter().copied().fold(f32::MIN, f32::max);
    let quiet = |band: usize| pauses.get(band).copied().unwrap_or(f32::MIN);
    let fills = |(band, level): &(usize, &f32)| **level > loudest - REACH && **level > quiet(*band) + ABOVE_PAUSES;
    let highest = speech.iter().enumerate().rfind(fills).map_or(0, |(band, _)| band + 1);
    ((highest as f32 * BAND_HZ) as u32).min(rate.hertz() / 2)
}

/// In decibels, what each band reaches in the louder twentieth of the frames: consonants, which fill the upper bands, are rare.
fn loud_bands(samples: &[f32], rate: SampleRate) -> Vec<f32> {
    let bands = (rate.hertz() as f32 / 2.0 / BAND_HZ).ceil() as usize;
    let fft = RealFftPlanner::<f32>::new().plan_fft_forward(FRAME);
    let (mut frame, mut bins) = (fft.make_input_vec(), fft.make_output_vec());
    let mut levels: Vec<Vec<f32>> = vec![Vec::new(); bands];
    for chunk in samples.chunks_exact(FRAME) {
        for (at, (to, from)) in frame.iter_mut().zip(chunk).enumerate() {
            // Blackman: what leaks from the loud bands is below −58 dB at once and falls further.
            let phase = std::f32::consts::TAU * at as f32 / FRAME as f32;
            *to = from * (0.42 - 0.5 * phase.cos() + 0.08 * (2.0 * phase).cos());
        }
        // It fails only for buffers of the wrong length.
        if fft.process(&mut frame, &mut bins).is_err() {
            break;
        }
        let mut power = vec![0.0; bands];
        for (bin, value) in bins.iter().enumerate() {
            let band = (bin as f32 * rate.hertz() as f32 / FRAME as f32 / BAND_HZ) as usize;
            if let Some(power) = power.get_mut(band) {
                *power += value.norm_sqr();
            }
        }
        for (levels, power) in levels.iter_mut().zip(power) {
            levels.push(10.0 * f32::max(power, 1e-12).log10());
        }
    }
    let loud = |mut levels: Vec<f32>| {
        levels.sort_by(f32::total_cmp);
        levels.get(levels.len() * 19 / 20).copied().unwrap_or(f32::MIN)
    };
    levels.into_iter().map(loud).collect()
}
