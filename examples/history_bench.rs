//! How fast a long history is listed, searched and shown: fills one with made-up turns and measures.
//!
//! `cargo run --release --workspace --example history_bench -- [--turns 100000] [--rounds 200] [--dir FOLDER] [--key FILE]`
//!
//! Half of the conversations are in made-up words, half in Chinese characters, both as unevenly frequent as in real texts (Zipf's
//! law). Half belong to an owner. No recordings are written: what is measured reads none.

#![allow(clippy::print_stdout, reason = "the numbers are what it is for")]

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use avatar::call::record::{Answer, Keeper, Question, TurnRecord};
use avatar::data_folder::DataFolder;
use avatar::history::{History, Query, Viewer};
use clap::Parser;
use rusqlite::{OpenFlags, params};
use signaling::line::{CallId, ConversationId, ItemId, ReplyId, Timings};

/// Results a page has.
const PAGE: usize = 20;

#[derive(Debug, Parser)]
struct Options {
    #[arg(long, default_value_t = 100_000)]
    turns: u64,
    /// Turns a conversation has
    #[arg(long, default_value_t = 20)]
    long: u64,
    /// How often each thing is measured
    #[arg(long, default_value_t = 200)]
    rounds: usize,
    /// Where the history is kept, to be used again; a folder that goes away if not given
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Encrypted with the key in this file
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

/// The same texts at every run.
struct Chance(u64);

impl Chance {
    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Below `bound`; 0 comes most often, by Zipf's law.
    fn rank(&mut self, bound: f64) -> u64 {
        let share = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        (bound.powf(share) - 1.0) as u64
    }

    fn text(&mut self, chinese: bool) -> String {
        let length = 6 + self.next() % 20;
        if chinese {
            let mut text: String = (0..length).map(|_| character(self.rank(3_000.0))).collect();
            text.push('。');
            text
        } else {
            (0..length).map(|_| word(self.rank(20_000.0))).collect::<Vec<_>>().join(" ")
        }
    }
}

fn character(rank: u64) -> char {
    char::from_u32(0x4E00 + rank as u32).unwrap_or('的')
}

/// A word of that rank: frequent ones are short.
fn word(rank: u64) -> String {
    const SYLLABLES: [&str; 16] =
        ["ta", "ne", "so", "ri", "ka", "mu", "le", "vo", "hi", "pa", "du", "ge", "fo", "bi", "wa", "ze"];
    let mut word = String::new();
    let mut rest = rank + 1;
    while rest > 0 {
        word.push_str(SYLLABLES.get((rest % 16) as usize).copied().unwrap_or("ta"));
        rest /= 16;
    }
    word
}

fn fill(folder: &DataFolder, options: &Options) -> anyhow::Result<()> {
    drop(History::open(folder)?);
    let mut connection = folder.connect(&folder.database(), OpenFlags::default())?;
    let there: i64 = connection.query_row("SELECT count(*) FROM turns", [], |row| row.get(0))?;
    let there = there.unsigned_abs();
    let transaction = connection.transaction()?;
    let mut chance = Chance(there);
    let mut conversation = String::new();
    for turn in there..options.turns {
        let talk = turn / options.long;
        let at = 1_600_000_000_000_i64 + turn as i64 * 60_000;
        if turn.is_multiple_of(options.long) || conversation.is_empty() {
            conversation = format!("conv_{talk:032}");
            let owner = talk.is_multiple_of(2).then_some("ada");
            transaction.execute(
                "INSERT OR IGNORE INTO conversations (id, created_at, updated_at, owner) VALUES (?1, ?2, ?2, ?3)",
                params![conversation, at, owner],
            )?;
        }
        let chinese = talk % 4 < 2;
        transaction.execute(
            "INSERT INTO turns (conversation, call, door, started_at, user_item, user_text, user_audio, user_ms, reply, reply_item,
                                reply_text, reply_heard, reply_audio, reply_ms, voice, model, timings)
             VALUES (?1, 'rtc_bench', 'webrtc', ?2, ?3, ?4, ?3 || '.ogg', 2500, ?5, ?5, ?6, ?6, ?5 || '.ogg', 4000,
                     'flite/slt', 'bench', '{\"turn_commit_ms\": 300.0, \"first_packet_ms\": 650.5}')",
            params![conversation, at, format!("item_{turn}"), chance.text(chinese), format!("resp_{turn}"), chance.text(chinese)],
        )?;
    }
    transaction.commit()?;
    Ok(())
}

/// Times something, over and over, and prints the middle, the worst in a hundred and the worst.
fn measure(name: &str, rounds: usize, mut act: impl FnMut(usize) -> anyhow::Result<usize>) -> anyhow::Result<()> {
    let mut took = Vec::with_capacity(rounds);
    let mut results = 0;
    for round in 0..rounds {
        let start = Instant::now();
        results += act(round)?;
        took.push(start.elapsed());
    }
    took.sort();
    let at = |share: f64| took.get(((took.len() - 1) as f64 * share) as usize).copied().unwrap_or_default();
    let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
    println!(
        "{name:<44} p50 {:>8.2} ms  p99 {:>8.2} ms  max {:>8.2} ms  ({:.1} results)",
        ms(at(0.5)),
        ms(at(0.99)),
        ms(at(1.0)),
        results as f64 / rounds as f64
    );
    Ok(())
}

fn turn(conversation: &ConversationId, chance: &mut Chance) -> TurnRecord {
    let text = chance.text(true);
    let question = Question { item: ItemId::fresh(), text, language: None, audio: None };
    let answer = Answer {
        reply: ReplyId::fresh(),
        item: ItemId::fresh(),
        text: chance.text(true),
        heard: chance.text(true),
        audio: None,
        interrupted: false,
        failure: None,
        voice: "flite/slt".to_owned(),
        model: "bench".to_owned(),
    };
    TurnRecord {
        conversation: conversation.clone(),
        call: CallId::fresh(),
        owner: None,
        door: "webrtc",
        started: SystemTime::now(),
        question: Some(question),
        answer: Some(answer),
        timings: Timings::default(),
    }
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let temporary = tempfile::tempdir()?;
    let dir = options.dir.clone().unwrap_or_else(|| temporary.path().to_owned());
    std::fs::create_dir_all(&dir)?;
    let start = Instant::now();
    let folder = DataFolder::open(&dir, options.key.as_deref())?;
    fill(&folder, &options)?;
    println!("filled in {:.1} s", start.elapsed().as_secs_f64());
    let start = Instant::now();
    let history = History::open(&folder)?;
    println!("opened, time line and search made, in {:.1} s", start.elapsed().as_secs_f64());
    println!("{} MiB of database", std::fs::metadata(folder.database())?.len() >> 20);

    let talks = options.turns / options.long;
    let id = |round: usize| format!("conv_{:032}", Chance(round as u64).next() % talks.max(1));
    let everyone = Viewer::Everyone;
    let ada = Viewer::Owner("ada".to_owned());
    let rounds = options.rounds;
    measure("list, first page", rounds, |_| Ok(history.conversations(&everyone, PAGE, None)?.len()))?;
    measure("list, 100 from anywhere", rounds, |n| Ok(history.conversations(&everyone, 100, Some(&id(n)))?.len()))?;
    measure("list, one owner's", rounds, |_| Ok(history.conversations(&ada, PAGE, None)?.len()))?;
    measure("show one", rounds, |n| Ok(history.conversation(&everyone, &id(n))?.map_or(0, |one| one.turns.len())))?;
    measure("size", rounds, |_| Ok(history.size(&everyone)?.turns as usize))?;
    let (first, second) = (character(0), character(1));
    let (rare, rarer) = (character(2_800), character(2_900));
    let queries = [
        ("the commonest word", word(0)),
        ("a common word", word(40)),
        ("a rare word", word(19_000)),
        ("two common words", format!("{} {}", word(0), word(3))),
        ("a common and a rare word", format!("{} {}", word(0), word(15_000))),
        ("two rare words, seldom together", format!("{} {}", word(15_000), word(15_007))),
        ("a beginning of one letter", "t".to_owned()),
        ("a beginning of three letters", "tas".to_owned()),
        ("a beginning of four letters", "tane".to_owned()),
        ("the commonest character", first.to_string()),
        ("two common characters", format!("{first}{second}")),
        ("four common characters", format!("{first}{second}{first}{first}")),
        ("two rare characters, seldom together", format!("{rare}{rarer}")),
        ("words of two scripts, never together", format!("{} {first}", word(0))),
        ("nothing like it", "qqqq".to_owned()),
    ];
    for (name, typed) in &queries {
        let query = Query::read(typed);
        measure(&format!("search: {name}"), rounds, |_| Ok(history.search(&everyone, &query, PAGE, None)?.len()))?;
    }
    let query = Query::read(&first.to_string());
    measure("search: a page from anywhere", rounds, |n| {
        Ok(history.search(&everyone, &query, PAGE, Some(&id(n)))?.len())
    })?;
    measure("search: 100 results", rounds, |_| Ok(history.search(&everyone, &query, 100, None)?.len()))?;
    measure("search: one owner's", rounds, |_| Ok(history.search(&ada, &query, PAGE, None)?.len()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (conversation, mut chance) = (ConversationId::fresh(), Chance(7));
    measure("write a turn, without sound", rounds, |_| {
        runtime.block_on(history.keep(turn(&conversation, &mut chance)))?;
        Ok(1)
    })?;
    Ok(())
}
