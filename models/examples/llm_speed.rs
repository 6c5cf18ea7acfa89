//! One side of `scripts/bench-llm`: loads a GGUF file and measures what is asked for on standard input, a line each.
//!
//! `prefill N`: milliseconds to read N tokens into an empty conversation and to know the next one.
//! `warm P N`: the same for N tokens after P that are remembered.
//! `decode C P N`: milliseconds of a step, the mean of N, of C conversations that remember P tokens each.
//!
//! The answer is two numbers: milliseconds by the clock, and milliseconds of processor time of all threads (Linux; 0 elsewhere).

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

use models::llm::gguf::measure::BareNetwork;

/// The same tokens at each run and on both sides: ordinary ones, so that nothing special happens.
fn tokens(count: usize, seed: usize, vocabulary: usize) -> Vec<u32> {
    (0..count).map(|index| (1000 + (index * 7919 + seed * 104_729) % (vocabulary - 1000).min(20_000)) as u32).collect()
}

/// What all threads of this process have computed so far.
fn processor_time() -> Duration {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanoseconds = threads.filter_map(|thread| {
        let line = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

/// How long something takes, by the clock and in processor time, in milliseconds.
struct Watch(Instant, Duration);

impl Watch {
    fn start() -> Self {
        Self(Instant::now(), processor_time())
    }

    fn read(&self) -> [f64; 2] {
        [self.0.elapsed(), processor_time().saturating_sub(self.1)].map(|time| time.as_secs_f64() * 1e3)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("usage: llm_speed MODEL.gguf < commands")?;
    let mut network = BareNetwork::load(path.as_ref())?;
    let vocabulary = network.vocabulary();
    println!("ready");
    std::io::stdout().flush()?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let numbers = words.iter().skip(1).map(|word| word.parse()).collect::<Result<Vec<usize>, _>>()?;
        let [wall, processor] = match (words.first().copied(), numbers.as_slice()) {
            (Some("prefill"), &[new]) => {
                network.keep(0, 0);
                let watch = Watch::start();
                network.read(0, &tokens(new, 0, vocabulary))?;
                watch.read()
            }
            (Some("warm"), &[past, new]) => {
                network.keep(0, 0);
                network.read(0, &tokens(past, 0, vocabulary))?;
                let watch = Watch::start();
                network.read(0, &tokens(new, 1, vocabulary))?;
                watch.read()
            }
            (Some("decode"), &[conversations, past, steps]) => {
                let mut next = Vec::new();
                for conversation in 0..conversations {
                    network.keep(conversation, 0);
                    next.push(network.read(conversation, &tokens(past, conversation, vocabulary))?);
                }
                let watch = Watch::start();
                for _ in 0..steps {
                    next = network.step(&next)?;
                }
                watch.read().map(|time| time / steps as f64)
            }
            _ => return Err(format!("not understood: {line}").into()),
        };
        println!("{wall} {processor}");
        std::io::stdout().flush()?;
    }
    Ok(())
}
