//! Measures Pocket TTS on this machine with random weights in the true shape; `scripts/bench-tts` runs it against the reference package.
//!
//! `tts_bench weights FOLDER [release=english|18m]` writes the weights, the tokenizer and a voice, for the reference and for tests of the
//! server. `tts_bench speak [calls=N] [rounds=N] [release=english|18m] [precision=8|32] [text=…]` prints one line of JSON a round; with no
//! rounds, one for each line it reads.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use models::tts::pocket::random::{random_tokenizer, write_random_weights};
use models::tts::pocket::{PocketTts, Precision, Release};
use models::tts::{SpeakRequest, Speech, TextToSpeech};

/// Words that the random tokenizer has whole, as the real one has most words.
const TEXT: &str = "they can make the first number, and then look for more people in the water today.";

fn option<'a>(arguments: &'a [String], name: &str, otherwise: &'a str) -> &'a str {
    let found = arguments.iter().find_map(|argument| argument.strip_prefix(name)?.strip_prefix('='));
    found.unwrap_or(otherwise)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let release = match option(&arguments, "release", "english") {
        "english" => Release::English,
        "18m" => Release::English18M,
        other => return Err(format!("there is no release {other}").into()),
    };
    match arguments.first().map(String::as_str) {
        Some("weights") => weights(release, Path::new(arguments.get(1).map_or(".", String::as_str))),
        Some("speak") => speak(release, &arguments),
        _ => Err("say `weights FOLDER` or `speak`".into()),
    }
}

fn weights(release: Release, folder: &Path) -> Result<(), Box<dyn Error>> {
    let config = release.config();
    std::fs::write(folder.join("tokenizer.json"), random_tokenizer(config.flow_lm.lookup_table.n_bins))?;
    write_random_weights(config, &folder.join("model.safetensors"))?;
    PocketTts::random(release, Precision::Single, &folder.join("voice-nobody.safetensors"))?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn speak(release: Release, arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let calls: usize = option(arguments, "calls", "1").parse()?;
    let rounds: usize = option(arguments, "rounds", "3").parse()?;
    let precision = match option(arguments, "precision", "8") {
        "8" => Precision::Eight,
        "32" => Precision::Single,
        other => return Err(format!("there is no precision {other}").into()),
    };
    let text = option(arguments, "text", TEXT);
    let voice = std::env::temp_dir().join(format!("tts-bench-{}.safetensors", std::process::id()));
    let opened = PocketTts::random(release, precision, &voice);
    let opened = opened.inspect_err(|_| drop(std::fs::remove_file(&voice)));
    let (tts, speed) = opened?;
    println!(
        "{{\"warm_up_rtf\": {:.3}, \"warm_up_first_ms\": {}}}",
        speed.real_time_factor,
        speed.first_audio.as_millis()
    );
    let mut asked = std::io::stdin().lines();
    for round in 1.. {
        if rounds == 0 && asked.next().is_none() {
            break;
        }
        let began = Instant::now();
        let request = || SpeakRequest { text: text.into(), voice: String::new(), deadline: began };
        let speeches: Vec<Speech> = (0..calls).map(|_| tts.speak(request())).collect::<Result<_, _>>()?;
        let listening = speeches.into_iter().map(|speech| tokio::spawn(listen(speech, began)));
        let mut first = Vec::new();
        let mut spoken = Duration::ZERO;
        let mut late = Duration::ZERO;
        for listening in listening.collect::<Vec<_>>() {
            let heard = listening.await?.map_err(|error| error.to_string())?;
            first.push(heard.first.as_millis());
            spoken += heard.spoken;
            late = late.max(heard.late);
        }
        let rtf = began.elapsed().as_secs_f64() / spoken.as_secs_f64();
        println!(
            "{{\"first_ms\": {first:?}, \"rtf\": {rtf:.3}, \"spoken_s\": {:.2}, \"late_ms\": {}}}",
            spoken.as_secs_f64(),
            late.as_millis()
        );
        if round == rounds {
            break;
        }
    }
    drop(tts);
    std::fs::remove_file(voice)?;
    Ok(())
}

struct Heard {
    first: Duration,
    spoken: Duration,
    /// By how much the listener, who begins with the first chunk, ever had to wait for the next one.
    late: Duration,
}

async fn listen(mut speech: Speech, began: Instant) -> Result<Heard, models::error::EngineError> {
    let mut heard = Heard { first: Duration::ZERO, spoken: Duration::ZERO, late: Duration::ZERO };
    while let Some(chunk) = speech.next().await {
        let chunk = chunk?;
        let now = began.elapsed();
        if heard.spoken.is_zero() {
            heard.first = now;
        }
        heard.late = heard.late.max(now.saturating_sub(heard.first + heard.spoken));
        heard.spoken += chunk.duration();
    }
    Ok(heard)
}
