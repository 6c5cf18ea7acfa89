//! What goes where: a pure function of the rooms there are, the models there are, and how many calls are wanted.
//!
//! Every combination of a model, a place and a context for each engine is looked at; of those that fit, the best is taken. What is
//! best: a better model, on a graphics card, that is fast enough to talk with, with a long context, in this order of weight; and the
//! language model, which everybody waits for, before speech to text, before the voice. Sizes are bytes.

use super::place::Place;

/// What a process that computes on a card needs there besides its models: the driver's context, its kernels, the libraries'
/// workspaces. An allowance, not a measurement.
pub const CARD_OVERHEAD: u64 = 600 << 20;
/// Tokens that a call's prompt and reply may take together, longest first.
const CONTEXTS: [usize; 3] = [4096, 2048, 1024];
/// Combinations that are looked at; past it, the worst candidates of each engine are left out.
const COMBINATIONS: usize = 200_000;

/// What an engine is for, the most important first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    LanguageModel,
    SpeechToText,
    Voice,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::LanguageModel, Self::SpeechToText, Self::Voice];

    pub const fn in_words(self) -> &'static str {
        match self {
            Self::LanguageModel => "language model",
            Self::SpeechToText => "speech to text",
            Self::Voice => "voice",
        }
    }

    const fn weight(self) -> i64 {
        match self {
            Self::LanguageModel => 5,
            Self::SpeechToText => 2,
            Self::Voice => 1,
        }
    }

    /// Weights above which a processor does not keep up with talk.
    const fn slow_above(self) -> u64 {
        match self {
            Self::LanguageModel => 1536 << 20,
            Self::SpeechToText => 400 << 20,
            Self::Voice => 600 << 20,
        }
    }
}

/// One model an engine could run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub model: String,
    /// 0 to 100, as in the catalogue.
    pub quality: u8,
    /// Read once, shared by all calls.
    pub weights: u64,
    /// Activations and work buffers, whatever the number of calls.
    pub working: u64,
    pub per_call: u64,
    /// Of each token that a call's context has room for.
    pub per_token: u64,
    /// Tokens the model was trained for; 0 where it has no context.
    pub longest_context: usize,
    /// Whether its engine can compute on a card at all.
    pub on_card: bool,
}

/// An engine that is wanted, and what it could run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    pub role: Role,
    pub candidates: Vec<Candidate>,
}

/// A graphics card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    pub place: Place,
    pub name: String,
    pub total: u64,
    pub free: u64,
}

/// The rooms there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    pub cards: Vec<Card>,
    /// Free main memory; `None` where the system does not say, which is taken for enough.
    pub memory: Option<u64>,
}

/// One engine's model, place and context, and what it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    pub role: Role,
    pub model: String,
    pub place: Place,
    /// Tokens a call; `None` where there is no context.
    pub context: Option<usize>,
    pub weights: u64,
    pub working: u64,
    /// Of all calls together.
    pub calls: u64,
    /// The processor will not keep up with talk.
    pub is_slow: bool,
    /// Better is more.
    score: i64,
}

impl Placement {
    pub fn bytes(&self) -> u64 {
        self.weights.saturating_add(self.working).saturating_add(self.calls)
    }
}

/// What was decided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    pub calls: u64,
    /// One for each engine that was wanted and has a candidate.
    pub placements: Vec<Placement>,
    /// Every room with what is taken of it, and what was free; main memory last.
    pub rooms: Vec<Room>,
    /// Not even the smallest combination fits; it was taken all the same.
    pub is_short: bool,
    options: Vec<Vec<Placement>>,
}

/// What is taken of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    pub place: Place,
    pub name: String,
    pub taken: u64,
    pub free: Option<u64>,
}

impl Plan {
    pub fn of(&self, role: Role) -> Option<&Placement> {
        self.placements.iter().find(|placement| placement.role == role)
    }

    /// What to try for `role`, best first: what was decided, then what would fit beside the others if that fails after all.
    pub fn tries(&self, role: Role) -> Vec<&Placement> {
        let Some(chosen) = self.of(role) else { return Vec::new() };
        let mut beside: Vec<Placement> = self.placements.iter().filter(|other| other.role != role).cloned().collect();
        let rest = self.options.iter().flatten().filter(|option| option.role == role && *option != chosen);
        let rest = rest.filter(|option| {
            beside.push((*option).clone());
            let fits = fits(&self.rooms, &beside);
            beside.pop();
            fits
        });
        let mut rest: Vec<&Placement> = rest.collect();
        rest.sort_by_key(|option| std::cmp::Reverse(option.score));
        std::iter::once(chosen).chain(rest).collect()
    }
}

/// Decides. `calls`: how many at the same time; at least one is planned for.
pub fn plan(machine: &Machine, wishes: &[Wish], calls: u16) -> Plan {
    let calls = u64::from(calls.max(1));
    let mut rooms: Vec<Room> = machine
        .cards
        .iter()
        .map(|card| Room { place: card.place, name: card.name.clone(), taken: 0, free: Some(card.free) })
        .collect();
    rooms.push(Room { place: Place::Cpu, name: "main memory".to_owned(), taken: 0, free: machine.memory });
    let mut options: Vec<Vec<Placement>> =
        wishes.iter().map(|wish| options(wish, &rooms, calls)).filter(|options| !options.is_empty()).collect();
    bound(&mut options);

    let best = best(&rooms, &options);
    let is_short = best.is_none();
    // Where nothing fits the smallest is tried: what is free now is an estimate, and the kernel may find more.
    let smallest = || options.iter().filter_map(|options| options.iter().min_by_key(|option| option.bytes())).cloned();
    let placements = best.unwrap_or_else(|| smallest().collect());
    for room in &mut rooms {
        room.taken = taken(room.place, &placements);
    }
    Plan { calls, placements, rooms, is_short, options }
}

/// Every way to run the wish, best first.
fn options(wish: &Wish, rooms: &[Room], calls: u64) -> Vec<Placement> {
    let mut options = Vec::new();
    for candidate in &wish.candidates {
        let longest = CONTEXTS.into_iter().filter(|context| *context <= candidate.longest_context);
        let mut contexts: Vec<Option<usize>> = longest.map(Some).collect();
        if contexts.is_empty() {
            contexts.push((candidate.longest_context > 0).then_some(candidate.longest_context));
        }
        for room in rooms.iter().filter(|room| candidate.on_card || room.place == Place::Cpu) {
            let is_slow = room.place == Place::Cpu && candidate.weights > wish.role.slow_above();
            for (halvings, context) in contexts.iter().enumerate() {
                let tokens = context.unwrap_or(0) as u64;
                let worth = i64::from(candidate.quality) + if room.place == Place::Cpu { 0 } else { 20 }
                    - if is_slow { 60 } else { 0 }
                    - 6 * halvings as i64;
                options.push(Placement {
                    role: wish.role,
                    model: candidate.model.clone(),
                    place: room.place,
                    context: *context,
                    weights: candidate.weights,
                    working: candidate.working,
                    calls: calls
                        .saturating_mul(candidate.per_call.saturating_add(candidate.per_token.saturating_mul(tokens))),
                    is_slow,
                    score: wish.role.weight() * worth,
                });
            }
        }
    }
    options.sort_by_key(|option| std::cmp::Reverse(option.score));
    options
}

/// Leaves out the worst of the longest list until all combinations can be looked at.
fn bound(options: &mut [Vec<Placement>]) {
    let count = |options: &[Vec<Placement>]| options.iter().map(Vec::len).fold(1usize, usize::saturating_mul);
    while count(options) > COMBINATIONS {
        let Some(longest) = options.iter_mut().max_by_key(|options| options.len()) else { return };
        longest.pop();
    }
}

/// The best combination that fits.
fn best(rooms: &[Room], options: &[Vec<Placement>]) -> Option<Vec<Placement>> {
    let mut best: Option<(i64, Vec<Placement>)> = None;
    let mut chosen: Vec<&Placement> = Vec::with_capacity(options.len());
    descend(rooms, options, &mut chosen, &mut best);
    best.map(|(_, placements)| placements)
}

fn descend<'a>(
    rooms: &[Room],
    options: &'a [Vec<Placement>],
    chosen: &mut Vec<&'a Placement>,
    best: &mut Option<(i64, Vec<Placement>)>,
) {
    let score = chosen.iter().map(|placement| placement.score).sum::<i64>();
    let Some((next, rest)) = options.split_first() else {
        if best.as_ref().is_none_or(|(found, _)| score > *found) {
            *best = Some((score, chosen.iter().copied().cloned().collect()));
        }
        return;
    };
    // The most that could still be added: the lists are sorted.
    let most: i64 = options.iter().filter_map(|options| options.first()).map(|option| option.score).sum();
    if best.as_ref().is_some_and(|(found, _)| score + most <= *found) {
        return;
    }
    for option in next {
        chosen.push(option);
        let placed: Vec<Placement> = chosen.iter().copied().cloned().collect();
        if fits(rooms, &placed) {
            descend(rooms, rest, chosen, best);
        }
        chosen.pop();
    }
}

fn fits(rooms: &[Room], placements: &[Placement]) -> bool {
    rooms.iter().all(|room| room.free.is_none_or(|free| taken(room.place, placements) <= free))
}

fn taken(place: Place, placements: &[Placement]) -> u64 {
    let here = || placements.iter().filter(|placement| placement.place == place);
    let overhead = if place != Place::Cpu && here().next().is_some() { CARD_OVERHEAD } else { 0 };
    here().map(Placement::bytes).fold(overhead, u64::saturating_add)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
