//! The cards people have, and what comes of them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

const MIB: u64 = 1 << 20;

/// A model of the Llama shape: key-value cache in single precision.
fn llm(model: &str, quality: u8, weights: u64, layers: u64, kv_heads: u64, head: u64) -> Candidate {
    let per_token = 2 * layers * kv_heads * head * 4;
    Candidate {
        model: model.to_owned(),
        quality,
        weights: weights * MIB,
        working: 256 * MIB,
        per_call: 0,
        per_token,
        longest_context: 131_072,
        on_card: true,
    }
}

fn fixed(model: &str, quality: u8, weights: u64, working: u64, per_call: u64) -> Candidate {
    Candidate {
        model: model.to_owned(),
        quality,
        weights: weights * MIB,
        working: working * MIB,
        per_call: per_call * MIB,
        per_token: 0,
        longest_context: 0,
        on_card: true,
    }
}

fn eight_billion() -> Candidate {
    llm("llama-8b-q4", 80, 4_700, 32, 8, 128)
}

fn one_billion() -> Candidate {
    llm("llama-1b-q4", 40, 770, 16, 8, 64)
}

fn turbo() -> Candidate {
    fixed("large-v3-turbo", 90, 1_550, 800, 0)
}

fn small() -> Candidate {
    fixed("small", 60, 260, 350, 0)
}

fn voice() -> Candidate {
    fixed("pocket", 70, 400, 60, 20)
}

fn wishes(llms: Vec<Candidate>, stts: Vec<Candidate>) -> Vec<Wish> {
    let wish = |role, candidates| Wish { role, candidates };
    vec![wish(Role::LanguageModel, llms), wish(Role::SpeechToText, stts), wish(Role::Voice, vec![voice()])]
}

fn everything() -> Vec<Wish> {
    wishes(vec![eight_billion(), one_billion()], vec![turbo(), small()])
}

/// A card that has `free` MiB, in a machine with 16 GiB.
fn with_card(free: u64) -> Machine {
    let card = Card { place: Place::Cuda(0), name: "card".to_owned(), total: (free + 400) * MIB, free: free * MIB };
    Machine { cards: vec![card], memory: Some(16_384 * MIB) }
}

/// `role model place context`, one a line.
fn shown(plan: &Plan) -> Vec<String> {
    let line = |placement: &Placement| {
        let context = placement.context.map_or_else(String::new, |context| format!(" {context}"));
        format!("{} {}{context}", placement.model, placement.place)
    };
    plan.placements.iter().map(line).collect()
}

fn within_its_rooms(plan: &Plan) {
    assert!(!plan.is_short);
    for room in &plan.rooms {
        assert!(room.free.is_none_or(|free| room.taken <= free), "{room:?}");
    }
}

#[test]
fn a_card_of_24_gb_holds_everything_for_five_calls() {
    let plan = plan(&with_card(23_600), &everything(), 5);
    assert_eq!(shown(&plan), ["llama-8b-q4 cuda:0 4096", "large-v3-turbo cuda:0", "pocket cuda:0"]);
    // 4,700 + 256 weights and work, 5 × 4,096 × 256 KiB cache; 1,550 + 800; 400 + 60 + 5 × 20; and what CUDA takes.
    assert_eq!(plan.rooms[0].taken, (4_956 + 5_120 + 2_350 + 560) * MIB + CARD_OVERHEAD);
    assert_eq!(plan.rooms[1].taken, 0);
    within_its_rooms(&plan);
}

#[test]
fn a_card_of_8_gb_keeps_the_large_language_model_and_shortens_its_context() {
    let plan = plan(&with_card(7_600), &everything(), 5);
    assert_eq!(shown(&plan), ["llama-8b-q4 cuda:0 1024", "small cuda:0", "pocket cpu"]);
    within_its_rooms(&plan);
    // For one call there is room for a longer context, and for better ears.
    let alone = super::plan(&with_card(7_600), &everything(), 1);
    assert_eq!(shown(&alone)[0], "llama-8b-q4 cuda:0 4096");
    within_its_rooms(&alone);
}

#[test]
fn a_card_of_4_gb_gets_small_models_rather_than_one_that_does_not_fit() {
    let plan = plan(&with_card(3_600), &everything(), 5);
    assert_eq!(shown(&plan)[0], "llama-1b-q4 cuda:0 4096");
    assert_eq!(shown(&plan)[1], "small cuda:0");
    within_its_rooms(&plan);
}

#[test]
fn without_a_card_the_processor_gets_what_it_can_keep_up_with() {
    let machine = Machine { cards: Vec::new(), memory: Some(16_384 * MIB) };
    let plan = plan(&machine, &everything(), 5);
    assert_eq!(shown(&plan), ["llama-1b-q4 cpu 4096", "small cpu", "pocket cpu"]);
    assert!(plan.placements.iter().all(|placement| !placement.is_slow));
    within_its_rooms(&plan);
}

#[test]
fn a_model_that_was_asked_for_by_name_is_taken_and_called_slow() {
    let machine = Machine { cards: Vec::new(), memory: Some(16_384 * MIB) };
    let plan = plan(&machine, &wishes(vec![eight_billion()], vec![turbo()]), 1);
    assert_eq!(shown(&plan), ["llama-8b-q4 cpu 4096", "large-v3-turbo cpu", "pocket cpu"]);
    assert!(plan.of(Role::LanguageModel).unwrap().is_slow && plan.of(Role::SpeechToText).unwrap().is_slow);
}

#[test]
fn a_machine_too_small_for_anything_tries_the_smallest_and_says_that_it_is_short() {
    let machine = Machine { cards: Vec::new(), memory: Some(100 * MIB) };
    let plan = plan(&machine, &everything(), 5);
    assert!(plan.is_short);
    assert_eq!(shown(&plan), ["llama-1b-q4 cpu 1024", "small cpu", "pocket cpu"]);
}

#[test]
fn two_cards_share_what_one_cannot_hold() {
    let mut machine = with_card(7_600);
    machine.cards.push(Card { place: Place::Cuda(1), ..machine.cards[0].clone() });
    let plan = plan(&machine, &everything(), 5);
    let llm = plan.of(Role::LanguageModel).unwrap();
    let stt = plan.of(Role::SpeechToText).unwrap();
    assert_eq!((stt.model.as_str(), llm.model.as_str()), ("large-v3-turbo", "llama-8b-q4"));
    assert!(llm.place != stt.place && llm.place != Place::Cpu && stt.place != Place::Cpu, "{:?}", shown(&plan));
    within_its_rooms(&plan);
}

#[test]
fn an_engine_that_computes_on_the_processor_only_is_left_there() {
    let flite = Candidate { on_card: false, ..fixed("flite", 20, 10, 0, 0) };
    let wish = Wish { role: Role::Voice, candidates: vec![flite] };
    assert_eq!(shown(&plan(&with_card(24_000), &[wish], 5)), ["flite cpu"]);
}

#[test]
fn what_fails_on_the_card_has_somewhere_else_to_go() {
    let plan = plan(&with_card(23_600), &everything(), 5);
    let tries = plan.tries(Role::LanguageModel);
    assert_eq!((tries[0].place, tries[0].context), (Place::Cuda(0), Some(4096)));
    assert_eq!(
        (tries[1].model.as_str(), tries[1].place, tries[1].context),
        ("llama-8b-q4", Place::Cuda(0), Some(2048))
    );
    assert_eq!(tries.iter().filter(|option| option.place == Place::Cpu).count(), 6);
    // None of them pushes the others out.
    let stt = plan.tries(Role::SpeechToText);
    assert!(stt.iter().any(|option| option.place == Place::Cpu), "{stt:?}");
    let roles = Role::ALL.map(|role| plan.tries(role).iter().all(|option| option.role == role));
    assert_eq!(roles, [true; 3]);
}

#[test]
fn absurd_sizes_overflow_nothing() {
    let huge = Candidate { per_token: u64::MAX, weights: u64::MAX, ..eight_billion() };
    let plan = plan(&with_card(24_000), &[Wish { role: Role::LanguageModel, candidates: vec![huge] }], u16::MAX);
    assert!(plan.is_short);
    assert_eq!(plan.placements[0].bytes(), u64::MAX);
}

#[test]
fn a_model_trained_for_little_gets_no_longer_context() {
    let short = Candidate { longest_context: 512, ..one_billion() };
    let plan = plan(&Machine::default(), &[Wish { role: Role::LanguageModel, candidates: vec![short] }], 1);
    assert_eq!(plan.placements[0].context, Some(512));
}

#[test]
fn a_hundred_models_are_planned_without_looking_at_every_combination() {
    let many = |of: Candidate| (0..100).map(|index| Candidate { quality: index, ..of.clone() }).collect::<Vec<_>>();
    let plan = plan(&with_card(23_600), &wishes(many(eight_billion()), many(turbo())), 5);
    assert_eq!(plan.placements.len(), 3);
    within_its_rooms(&plan);
}
