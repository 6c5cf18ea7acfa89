//! The plan as people read it.

use std::fmt;

use super::place::Place;
use super::plan::Plan;

const MIB: u64 = 1 << 20;

/// A size for people: MiB below a GiB, else GiB with one decimal.
pub(super) struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.pad("-"),
            bytes if bytes < 1024 * MIB => f.pad(&format!("{} MiB", bytes.div_ceil(MIB))),
            bytes => f.pad(&format!("{:.1} GiB", bytes as f64 / (1024 * MIB) as f64)),
        }
    }
}

/// A table of what goes where, a line for each engine, then one for each room.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls = self.calls;
        writeln!(f, "memory plan for {calls} call{}", if calls == 1 { "" } else { "s" })?;
        let width = self.placements.iter().map(|placement| placement.model.len()).max().unwrap_or(0).max(5);
        let head = ["weights", "calls", "work"];
        writeln!(
            f,
            "  {:<14}  {:<width$}  {:<8}  {:>9}  {:>9}  {:>9}",
            "engine", "model", "where", head[0], head[1], head[2]
        )?;
        for placement in &self.placements {
            let [weights, calls, working] = [placement.weights, placement.calls, placement.working].map(Size);
            write!(f, "  {:<14}  {:<width$}  {:<8}", placement.role.in_words(), placement.model, placement.place)?;
            write!(f, "  {weights:>9}  {calls:>9}  {working:>9}")?;
            if let Some(context) = placement.context {
                write!(f, "  {context} tokens a call")?;
            }
            writeln!(f, "{}", if placement.is_slow { "  too slow to talk with" } else { "" })?;
        }
        for room in &self.rooms {
            let free = room.free.map_or_else(|| "an unknown amount".to_owned(), |free| Size(free).to_string());
            let with = if room.place != Place::Cpu && room.taken > 0 { ", the driver's share included" } else { "" };
            writeln!(f, "  {} ({}): {} of {free} free{with}", room.place, room.name, Size(room.taken))?;
        }
        if self.is_short {
            writeln!(f, "  this does not fit: choose smaller models, set max_calls lower, or stop other programs")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::{Candidate, Card, Machine, Role, Wish, plan};
    use super::*;

    #[test]
    fn the_table_says_what_goes_where_and_how_much_it_takes() {
        let candidate = Candidate {
            model: "llama-8b".to_owned(),
            quality: 80,
            weights: 4_700 * MIB,
            working: 256 * MIB,
            per_call: 0,
            per_token: 262_144,
            longest_context: 8_192,
            on_card: true,
        };
        let wish = Wish { role: Role::LanguageModel, candidates: vec![candidate] };
        let card = Card { place: Place::Cuda(0), name: "RTX 4090".to_owned(), total: 24_000 * MIB, free: 23_552 * MIB };
        let machine = Machine { cards: vec![card], memory: Some(16_384 * MIB) };
        let expected = "\
memory plan for 5 calls
  engine          model     where       weights      calls       work
  language model  llama-8b  cuda:0      4.6 GiB    5.0 GiB    256 MiB  4096 tokens a call
  cuda:0 (RTX 4090): 10.4 GiB of 23.0 GiB free, the driver's share included
  cpu (main memory): - of 16.0 GiB free
";
        assert_eq!(plan(&machine, std::slice::from_ref(&wish), 5).to_string(), expected);

        let small = Machine { cards: Vec::new(), memory: Some(1_024 * MIB) };
        let table = plan(&small, &[wish], 1).to_string();
        assert!(table.contains("1 call\n") && table.contains("too slow to talk with"), "{table}");
        assert!(table.contains("does not fit"), "{table}");
    }
}
