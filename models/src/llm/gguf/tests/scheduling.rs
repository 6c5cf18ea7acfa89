//! Who is served, when, and what becomes of those who leave, stall, or break something.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::super::cache::CacheShape;
use super::super::inbox::{Inbox, Job, WAITING_BOUND};
use super::super::kernels::Precision;
use super::super::scheduler::{RUNNING_BOUND, Reader, Scheduler};
use super::super::template::ChatTemplate;
use super::super::{GgufModel, GgufOptions};
use super::*;
use crate::error::EngineError;
use crate::llm::{
    GenerateRequest, Generation, LanguageModel, Message, PIECES_BOUND, Piece, Sampling, Speaker, StopReason, TokenUsage,
};
use crate::queue::QueueDepth;

/// What the network below takes to read a token, unless it is told otherwise: 64 in 80 ms.
const PER_ROW: Duration = Duration::from_micros(1250);

/// A network that says the alphabet for ever, and notes who read how much in each step.
#[derive(Default)]
pub(super) struct Alphabet {
    pub steps: RefCell<Vec<Vec<usize>>>,
    /// Panics while it reads this token.
    poison: Cell<Option<u32>>,
    /// Gives no numbers after this token.
    pub nonsense: Cell<Option<u32>>,
    worked: Cell<Duration>,
    slower: Cell<u32>,
}

impl Reader for &Alphabet {
    fn cache_shape(&self) -> CacheShape {
        CacheShape { layers: 1, heads: 1, head_width: 2, device: Device::Cpu, precision: Precision::Single }
    }

    fn read(&self, segments: &mut [Segment<'_>]) -> candle_core::Result<Vec<Option<Vec<f32>>>> {
        let poisoned = |segment: &Segment<'_>| self.poison.get().is_some_and(|token| segment.tokens.contains(&token));
        assert!(!segments.iter().any(poisoned), "poisoned");
        let rows: usize = segments.iter().map(|segment| segment.tokens.len()).sum();
        self.worked.set(self.worked.get() + PER_ROW * rows as u32 * self.slower.get().max(1));
        self.steps.borrow_mut().push(segments.iter().map(|segment| segment.tokens.len()).collect());
        segments
            .iter_mut()
            .map(|segment| {
                segment.cache.reserve(segment.tokens.len())?;
                segment.cache.advance(segment.tokens);
                let mut logits = vec![0.0; VOCABULARY];
                logits[usize::from(b'a') + segment.cache.len() % 26] = 1.0;
                if self.nonsense.get().is_some_and(|token| segment.tokens.contains(&token)) {
                    logits[7] = f32::NAN;
                }
                Ok(segment.wants_logits.then_some(logits))
            })
            .collect()
    }

    fn now(&self) -> Instant {
        static START: OnceLock<Instant> = OnceLock::new();
        *START.get_or_init(Instant::now) + self.worked.get()
    }
}

pub(super) struct Bench<'a> {
    pub scheduler: Scheduler<&'a Alphabet>,
    pub inbox: Inbox,
}

impl<'a> Bench<'a> {
    pub fn new(alphabet: &'a Alphabet) -> Self {
        Self::with_budget(alphabet, 1 << 20)
    }

    /// A token takes 128 bytes of the budget for caches: rows are filled up to sixteen.
    pub fn with_budget(alphabet: &'a Alphabet, cache_budget: usize) -> Self {
        let file = on_disk(&Draft::new("llama").bytes());
        let tokens = Tokens::read(&GgufFile::open(file.path()).unwrap()).unwrap();
        let template = ChatTemplate::new(CHATML, "", "").unwrap();
        let scheduler = Scheduler::new(alphabet, tokens, template, 4096, cache_budget);
        Self { scheduler, inbox: Inbox::default() }
    }

    pub fn ask(&self, conversation: &str, words: &str, max_tokens: usize) -> Result<Generation, EngineError> {
        self.ask_for(request(conversation, words, max_tokens))
    }

    pub fn ask_for(&self, request: GenerateRequest) -> Result<Generation, EngineError> {
        let (generation, pieces, cancelled) = Generation::new();
        self.inbox.submit(Job { request, pieces, cancelled, yields: false })?;
        Ok(generation)
    }

    /// For somebody who can wait.
    fn ask_when_idle(&self, conversation: &str, words: &str, max_tokens: usize) -> Generation {
        let (generation, pieces, cancelled) = Generation::new();
        let request = request(conversation, words, max_tokens);
        self.inbox.submit(Job { request, pieces, cancelled, yields: true }).unwrap();
        generation
    }

    fn queue(&self) -> (usize, usize) {
        let QueueDepth { waiting, busy } = self.inbox.queue();
        (waiting, busy)
    }

    pub fn step(&mut self) {
        assert!(self.scheduler.take_post(&self.inbox));
        self.scheduler.step();
    }

    /// Steps until there is nothing left to do.
    pub fn work(&mut self) {
        while !self.inbox.lock().jobs.is_empty() || !self.scheduler.is_idle() {
            self.step();
        }
    }
}

pub(super) fn request(conversation: &str, words: &str, max_tokens: usize) -> GenerateRequest {
    GenerateRequest {
        conversation: conversation.into(),
        messages: vec![Message { speaker: Speaker::User, text: words.into() }],
        sampling: Sampling { temperature: 0.0, max_tokens, seed: 1, ..Sampling::default() },
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Everything until the end.
pub(super) fn heard(mut generation: Generation) -> Result<(String, StopReason, TokenUsage), EngineError> {
    block_on(async {
        let mut all = String::new();
        loop {
            match generation.next().await {
                Some(Ok(Piece::Text(text))) => all.push_str(&text),
                Some(Ok(Piece::Done { reason, usage })) => return Ok((all, reason, usage)),
                Some(Err(error)) => return Err(error),
                None => return Err(EngineError::Stopped { engine: "test" }),
            }
        }
    })
}

#[test]
fn a_long_prompt_does_not_silence_the_others() {
    let alphabet = Alphabet::default();
    let mut bench = Bench::new(&alphabet);
    let talking = bench.ask("talking", "hi", 40).unwrap();
    bench.step();
    let _long = bench.ask("long", &"a long story ".repeat(80), 500).unwrap();
    let short = bench.ask("short", "hey", 10).unwrap();
    for _ in 0..12 {
        bench.step();
    }
    let steps = alphabet.steps.borrow();
    assert!(steps[1..].iter().all(|step| step[0] == 1), "the one that talks gets a token in every step: {steps:?}");
    assert!(steps.iter().all(|step| step.iter().sum::<usize>() <= 64 + RUNNING_BOUND), "{steps:?}");
    drop(steps);
    for _ in 0..40 {
        bench.step();
    }
    assert_eq!(heard(talking).unwrap().0.len(), 40);
    assert_eq!(heard(short).unwrap().0.len(), 10);
}

#[test]
fn who_can_wait_stands_still_while_a_call_is_answered_and_loses_nothing() {
    let alphabet = Alphabet::default();
    let mut bench = Bench::new(&alphabet);
    let patient = bench.ask_when_idle("patient", &"a long story ".repeat(30), 40);
    (0..3).for_each(|_| bench.step());
    let before = alphabet.steps.borrow().len();
    let call = bench.ask("call", "hi", 20).unwrap();
    (0..20).for_each(|_| bench.step());
    let steps = alphabet.steps.borrow()[before..].to_vec();
    assert!(before >= 3 && steps.iter().all(|step| step.len() == 1), "{steps:?}");
    assert_eq!(heard(call).unwrap().0.len(), 20);
    bench.work();
    assert_eq!(heard(patient).unwrap().0.len(), 40);
}

#[test]
fn a_slow_machine_reads_less_of_a_long_prompt_in_a_step() {
    let alphabet = Alphabet::default();
    alphabet.slower.set(4);
    let mut bench = Bench::new(&alphabet);
    let talking = bench.ask("talking", "hi", 60).unwrap();
    bench.step();
    let _long = bench.ask("long", &"a long story ".repeat(80), 500).unwrap();
    for _ in 0..30 {
        bench.step();
    }
    let steps = alphabet.steps.borrow();
    let later: Vec<usize> = steps[2..].iter().map(|step| step.iter().sum()).collect();
    assert!(later.iter().all(|rows| PER_ROW * 4 * *rows as u32 <= Duration::from_millis(90)), "{steps:?}");
    assert!(later.iter().any(|rows| *rows >= 15), "and yet it gets on: {steps:?}");
    drop(talking);
}

#[test]
fn a_slow_listener_stalls_only_itself_and_loses_nothing() {
    let alphabet = Alphabet::default();
    let mut bench = Bench::new(&alphabet);
    let slow = bench.ask("slow", "hi", PIECES_BOUND + 50).unwrap();
    let quick = bench.ask("quick", "hi", PIECES_BOUND - 1).unwrap();
    for _ in 0..PIECES_BOUND + 1 {
        bench.step();
    }
    assert_eq!(heard(quick).unwrap().0.len(), PIECES_BOUND - 1);
    let third = bench.ask("third", "hi", 20).unwrap();
    for _ in 0..20 {
        bench.step();
    }
    assert_eq!(heard(third).unwrap().0.len(), 20);
    assert!(alphabet.steps.borrow().iter().rev().take(20).all(|step| step.len() == 1), "the slow one stands still");
    let (text, reason, _) = block_on(async {
        let mut slow = slow;
        let mut all = String::new();
        loop {
            // Each piece taken makes room for one more; the other request keeps the bench from waiting for news.
            match slow.next().await.unwrap().unwrap() {
                Piece::Text(text) => all.push_str(&text),
                Piece::Done { reason, usage } => return (all, reason, usage),
            }
            let _other = bench.ask("other", "hi", 1).unwrap();
            bench.step();
        }
    });
    assert_eq!((text.len(), reason), (PIECES_BOUND + 50, StopReason::Length));
    assert!(text.as_bytes().windows(2).all(|pair| pair[1] == pair[0] + 1 || pair == b"za"), "{text}");
}

fn job_of(conversation: &str) -> Job {
    let (_, pieces, cancelled) = Generation::new();
    Job { request: request(conversation, "hi", 1), pieces, cancelled, yields: false }
}

#[test]
fn a_panic_in_the_network_ends_only_its_own_reply() {
    let alphabet = Alphabet::default();
    alphabet.poison.set(Some(b'#'.into()));
    let mut bench = Bench::new(&alphabet);
    // Token ids of the test vocabulary are bytes.
    let sound = bench.ask("sound", "hi", 30).unwrap();
    let poisoned = bench.ask("poisoned", "#", 30).unwrap();
    for _ in 0..30 {
        bench.step();
    }
    assert!(matches!(heard(poisoned), Err(EngineError::Failed { reason, .. }) if reason.contains("poisoned")));
    assert_eq!(heard(sound).unwrap().0.len(), 30);
    alphabet.poison.set(None);
    let again = bench.ask("poisoned", "#", 3).unwrap();
    for _ in 0..3 {
        bench.step();
    }
    assert_eq!(heard(again).unwrap().0.len(), 3);
}

#[test]
fn a_reply_that_nobody_wants_stops_within_a_step_and_its_successor_reuses_the_prompt() {
    let alphabet = Alphabet::default();
    let mut bench = Bench::new(&alphabet);
    let first = bench.ask("talk", "what is the time in", 1000).unwrap();
    bench.step();
    bench.step();
    let second = bench.ask("talk", "what is the time in Oslo", 5).unwrap();
    drop(first);
    for _ in 0..5 {
        bench.step();
    }
    let (text, _, usage) = heard(second).unwrap();
    assert_eq!(text.len(), 5);
    assert!(usage.cached_tokens > 20, "{usage:?}");
    assert!(alphabet.steps.borrow().iter().all(|step| step.len() == 1), "the two never ran together");
}

#[test]
fn what_was_cancelled_while_it_waited_never_starts() {
    let alphabet = Alphabet::default();
    let mut bench = Bench::new(&alphabet);
    drop(bench.ask("gone", "hi", 10).unwrap());
    let stays = bench.ask("stays", "hi", 2).unwrap();
    bench.step();
    bench.step();
    assert_eq!(heard(stays).unwrap().0.len(), 2);
    assert!(alphabet.steps.borrow().iter().all(|step| step.len() == 1));
}

#[test]
fn a_full_queue_refuses_at_once_and_the_cancelled_make_room() {
    let alphabet = Alphabet::default();
    let bench = Bench::new(&alphabet);
    let waiting: Vec<Generation> =
        (0..WAITING_BOUND).map(|index| bench.ask(&index.to_string(), "hi", 1).unwrap()).collect();
    assert!(matches!(bench.ask("late", "hi", 1), Err(EngineError::Overloaded { .. })));
    drop(waiting);
    assert!(bench.ask("late", "hi", 1).is_ok());
}

#[test]
fn two_requests_of_one_conversation_follow_one_another() {
    let alphabet = Alphabet::default();
    let mut bench = Bench::new(&alphabet);
    let first = bench.ask("talk", "one", 4).unwrap();
    let second = bench.ask("talk", "two", 4).unwrap();
    for _ in 0..8 {
        bench.step();
    }
    assert!(alphabet.steps.borrow().iter().all(|step| step.len() == 1));
    assert_eq!(heard(first).unwrap().0.len(), 4);
    assert_eq!(heard(second).unwrap().0.len(), 4);
}

#[test]
fn a_forgotten_conversation_leaves_nothing_behind() {
    let alphabet = Alphabet::default();
    let mut bench = Bench::new(&alphabet);
    let words = "a question with a good many words in it";
    let mut cached = Vec::new();
    for forget in [false, false, true, false] {
        let generation = bench.ask("talk", words, 2).unwrap();
        bench.step();
        if forget {
            bench.inbox.forget("talk");
        }
        bench.step();
        cached.push(heard(generation).unwrap().2.cached_tokens > 0);
    }
    assert_eq!(cached, [false, true, true, false]);
}

#[test]
fn an_endless_conversation_is_answered_from_its_latest_turns() {
    let alphabet = Alphabet::default();
    let mut bench = Bench::new(&alphabet);
    let mut endless = request("talk", "", 8);
    endless.messages = (0..401)
        .map(|turn| Message {
            speaker: if turn % 2 == 0 { Speaker::User } else { Speaker::Assistant },
            text: format!("turn number {turn}"),
        })
        .collect();
    let generation = bench.ask_for(endless).unwrap();
    let _alive = bench.ask("alive", "hi", 1000).unwrap();
    for _ in 0..80 {
        bench.step();
    }
    let usage = heard(generation).unwrap().2;
    assert!((3_500..=4_088).contains(&usage.prompt_tokens), "{usage:?}");
    assert!((200..400).contains(&usage.dropped_messages), "and it is said so: {usage:?}");
    let too_long = bench.ask("other", &"x".repeat(20_000), 8).unwrap();
    bench.step();
    assert!(matches!(heard(too_long), Err(EngineError::BadRequest(words)) if words.contains("too long")));
}

#[test]
fn conversations_side_by_side_say_what_they_say_alone() {
    let file = on_disk(&Draft::new("llama").bytes());
    let model = Arc::new(GgufModel::load(file.path(), &GgufOptions::default(), &|_| {}).unwrap());
    let ask = |name: &str, index: usize| {
        let words = format!("{index}: {}", "tell me more ".repeat(index * 7));
        heard(model.generate(request(name, &words, 60)).unwrap()).unwrap()
    };
    let alone: Vec<_> = (0..4).map(|index| ask(&format!("alone {index}"), index).0).collect();
    let together: Vec<_> = (0..4)
        .map(|index| {
            let words = format!("{index}: {}", "tell me more ".repeat(index * 7));
            model.generate(request(&format!("together {index}"), &words, 60)).unwrap()
        })
        .collect();
    let together: Vec<_> = together.into_iter().map(|generation| heard(generation).unwrap().0).collect();
    assert_eq!(alone, together);
    assert!(alone.iter().any(|text| !text.is_empty()));
}

#[test]
fn a_stopped_engine_says_so() {
    let inbox = Inbox::default();
    inbox.close();
    assert!(matches!(inbox.submit(job_of("talk")), Err(EngineError::Stopped { .. })));
}

#[test]
fn who_waits_and_who_is_answered_can_be_seen() {
    let alphabet = Alphabet::default();
    let mut bench = Bench::new(&alphabet);
    assert_eq!(bench.queue(), (0, 0));
    let mut replies: Vec<_> = (0..RUNNING_BOUND + 3).map(|n| bench.ask(&n.to_string(), "x", 9).unwrap()).collect();
    assert_eq!(bench.queue(), (RUNNING_BOUND + 3, 0));
    bench.step();
    assert_eq!(bench.queue(), (3, RUNNING_BOUND));
    // Who has gone waits no more.
    replies.pop();
    assert_eq!(bench.queue(), (2, RUNNING_BOUND));
}
