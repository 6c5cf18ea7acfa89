//! How well voices say numbers, dates and money with and without `spoken_form`: each sentence is said both ways and written down again by
//! Moonshine; the word error rate is taken against the words that a person would say.
//!
//! `cargo run --release --workspace --example spoken_wer -- MODELS_FOLDER`, with the starter models in that folder.
#![allow(clippy::print_stdout, reason = "its purpose")]

use std::error::Error;
use std::ops::ControlFlow;
use std::path::PathBuf;

use audio::pcm::{Pcm, SampleRate};
use audio::resample::resample;
use models::cancel::Cancelled;
use models::onnx::OnnxRuntime;
use models::stt::Recognizer;
use models::stt::moonshine::Moonshine;
use models::stt::wer::{word_error_rate, words};
use models::text::spoken_form;
use models::tts::Synthesizer;
use models::tts::festival::Festival;
use models::tts::flite::Flite;

/// What is written, and what a person says who reads it out.
const SENTENCES: &[(&str, &str)] = &[
    (
        "Your appointment is on 3/14 at 2:30 PM and costs $45.50.",
        "your appointment is on March fourteenth at two thirty P M and costs forty five dollars and fifty cents",
    ),
    (
        "The flight leaves on 2026-11-24 at 6:05 AM.",
        "the flight leaves on November twenty fourth twenty twenty six at six oh five A M",
    ),
    ("Dr. Smith lives at 12 Elm St. in Boston.", "doctor Smith lives at twelve Elm street in Boston"),
    (
        "Please call (415) 555-2671 before Friday.",
        "please call four one five five five five two six seven one before Friday",
    ),
    ("My number is 0912-345-678.", "my number is zero nine one two three four five six seven eight"),
    ("The house costs $1.2 million.", "the house costs one point two million dollars"),
    ("It is 98.6°F outside today.", "it is ninety eight point six degrees Fahrenheit outside today"),
    ("The car drove at 100 km/h for 3 hrs.", "the car drove at one hundred kilometers per hour for three hours"),
    ("Write to jane.doe@example.com for help.", "write to Jane dot doe at example dot com for help"),
    (
        "About 50% of the 1,250 people agreed.",
        "about fifty percent of the one thousand two hundred fifty people agreed",
    ),
    ("She was born in 1998 and moved in 2015.", "she was born in nineteen ninety eight and moved in twenty fifteen"),
    ("Music of the 1990s is popular again.", "music of the nineteen nineties is popular again"),
    ("King Henry VIII had six wives.", "king Henry the eighth had six wives"),
    ("World War II ended in 1945.", "world war two ended in nineteen forty five"),
    ("Add 1/2 cup of sugar and 3/4 cup of milk.", "add one half cup of sugar and three quarters cup of milk"),
    (
        "The ticket is NT$1,200 for 2 people.",
        "the ticket is one thousand two hundred new Taiwan dollars for two people",
    ),
    ("It takes 3-5 days to arrive.", "it takes three to five days to arrive"),
    ("The store is open 9:00-17:00 on weekdays.", "the store is open nine o'clock to seventeen hundred on weekdays"),
    ("He finished 21st out of 150 runners.", "he finished twenty first out of one hundred fifty runners"),
    ("The disk holds 512 GB of data.", "the disk holds five hundred twelve gigabytes of data"),
    ("Visit www.example.org for details.", "visit W W W dot example dot org for details"),
    ("The temperature fell to -5°C last night.", "the temperature fell to minus five degrees Celsius last night"),
    ("We need approx. 20 chairs, e.g. folding ones.", "we need approximately twenty chairs for example folding ones"),
    ("Version v2.0.1 fixes bug No. 7.", "version version two point zero point one fixes bug number seven"),
    ("The box weighs 5 kg and is 30 cm wide.", "the box weighs five kilograms and is thirty centimeters wide"),
    ("The meeting is on March 3, 2027 at 10:00.", "the meeting is on March third twenty twenty seven at ten o'clock"),
    (
        "It costs £9.99 or €12.50 online.",
        "it costs nine pounds and ninety nine pence or twelve euros and fifty cents online",
    ),
    ("The score was 3-2 at the end.", "the score was three to two at the end"),
    (
        "Light moves at 3×10^8 m/s in a vacuum.",
        "light moves at three times ten to the power of eight meters per second in a vacuum",
    ),
    ("The company made $3.5M in 2024.", "the company made three point five million dollars in twenty twenty four"),
];

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("give the folder of the starter models")?);
    let verbose = std::env::args().any(|argument| argument == "--verbose");
    let runtime = OnnxRuntime::load(&folder.join("onnxruntime/libonnxruntime.so"))?;
    let mut ear = Moonshine::load(&runtime, &folder.join("moonshine-tiny-en"), 1)?;
    let voices: [(Box<dyn Synthesizer>, &str); 3] = [
        (Box::new(Festival::open()?), "festival/slt-hts"),
        (Box::new(Flite::open()?), "flite/slt"),
        (Box::new(Flite::open()?), "flite/awb"),
    ];
    println!("word error rate over {} sentences: as written, in words", SENTENCES.len());
    for (mut engine, voice) in voices {
        let mut errors = [0.0_f32; 2];
        let mut said = 0_usize;
        for (written, expected) in SENTENCES {
            let count = words(expected).len();
            said += count;
            for (text, errors) in [(*written).to_owned(), spoken_form(written, "en-US")].iter().zip(&mut errors) {
                let heard = ear.recognize(&say(engine.as_mut(), text, voice)?, Some("en"), &Cancelled::default())?.text;
                // The ear writes numbers as it likes; words are compared.
                let rate = word_error_rate(expected, &spoken_form(&heard, "en-US"));
                *errors += rate * count as f32;
                if verbose {
                    println!("{:5.1} % {text}\n        {heard}", 100.0 * rate);
                }
            }
        }
        let [before, after] = errors.map(|errors| 100.0 * errors / said as f32);
        println!("{voice:18} {before:5.1} % → {after:5.1} %");
    }
    Ok(())
}

fn say(engine: &mut dyn Synthesizer, text: &str, voice: &str) -> Result<Vec<f32>, Box<dyn Error>> {
    let mut whole: Option<Pcm> = None;
    engine.synthesize(text, voice, &mut |pcm| {
        match &mut whole {
            Some(whole) => whole.samples.extend(pcm.samples),
            None => whole = Some(pcm),
        }
        ControlFlow::Continue(())
    })?;
    let whole = whole.ok_or("the voice made no sound")?;
    Ok(resample(&whole, SampleRate::HZ_16000)?.samples)
}
