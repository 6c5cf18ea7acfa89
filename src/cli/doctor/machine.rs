//! What the machine itself has: disk, memory, processor, graphics card.

use std::io;
use std::path::Path;

use models::catalogue::pull::free_space;
use models::error::EngineError;
use models::memory::{Card, Place, Plan, cards};

use super::Check;

/// Below this the history soon has no room: fail, and warn.
const LEAST_DISK: u64 = 200_000_000;
const LITTLE_DISK: u64 = 2_000_000_000;

pub(super) fn data_folder(dir: &Path) -> Check {
    let probe = dir.join(format!(".doctor-{}", std::process::id()));
    let try_it = || -> io::Result<()> {
        std::fs::create_dir_all(dir)?;
        std::fs::write(&probe, b"x")?;
        std::fs::remove_file(&probe)
    };
    match try_it() {
        Ok(()) => Check::ok("data folder", format!("{} can be written", dir.display())),
        Err(error) => Check::fail(
            "data folder",
            format!("{} cannot be written: {error}", dir.display()),
            "give this user the folder (chown), or set --data-dir to another",
        ),
    }
}

pub(super) fn disk(dir: &Path) -> Check {
    let free = match free_space(dir) {
        Ok(free) => free,
        Err(error) => return Check::warn("disk", format!("free space is unknown: {error}"), "look with `df -h`"),
    };
    let found = format!("{:.1} GB free", free as f64 / 1e9);
    match free {
        0..LEAST_DISK => Check::fail("disk", found, "free some; recordings take about 0.4 MB a minute"),
        LEAST_DISK..LITTLE_DISK => Check::warn("disk", found, "free some before long calls, or before pulling models"),
        _ => Check::ok("disk", found),
    }
}

/// Whether what was planned fits; the table itself follows the lines.
pub(super) fn memory(plan: &Plan, others: u64) -> Check {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let rooms = plan.rooms.iter().filter(|room| room.place == Place::Cpu || room.taken > 0).map(|room| {
        let own = if room.place == Place::Cpu { others } else { 0 };
        let taken = mib(room.taken.saturating_add(own));
        match room.free {
            Some(free) => format!("{}: {} MiB free, about {taken} MiB are needed", room.place, mib(free)),
            None => format!("{}: {taken} MiB are needed; this system does not say how much is free", room.place),
        }
    });
    let found = rooms.collect::<Vec<_>>().join("; ");
    let main = plan.rooms.iter().find(|room| room.place == Place::Cpu);
    let is_tight = main.is_some_and(|room| room.free.is_some_and(|free| room.taken.saturating_add(others) > free));
    let slow = plan.placements.iter().filter(|placement| placement.is_slow).map(|placement| placement.model.as_str());
    let slow = slow.collect::<Vec<_>>().join(" and ");
    if plan.is_short || is_tight {
        return Check::warn(
            "memory",
            found,
            "stop other programs, set max_calls lower, or choose smaller models in [engines]",
        );
    }
    match slow.is_empty() {
        true => Check::ok("memory", found),
        false => Check::warn(
            "memory",
            format!("{found}; {slow} will be too slow on the processor to talk with"),
            "choose smaller models in [engines], or \"auto\"",
        ),
    }
}

pub(super) fn cpu() -> Check {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (features, fast) = cpu_features();
    let found = format!("{cores} cores, {features}");
    if !fast {
        let fix = "replies will be slow on this processor; use the smallest models";
        return Check::warn("cpu", found, fix);
    }
    if cores < 2 {
        return Check::warn("cpu", found, "give it two cores: recognition and language model run side by side");
    }
    Check::ok("cpu", found)
}

/// What the engines' kernels can use, and whether that is enough to talk in real time.
#[cfg(target_arch = "x86_64")]
fn cpu_features() -> (String, bool) {
    let all = [
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("fma", std::arch::is_x86_feature_detected!("fma")),
        ("f16c", std::arch::is_x86_feature_detected!("f16c")),
        ("avx512vnni", std::arch::is_x86_feature_detected!("avx512vnni")),
    ];
    let has = all.iter().filter(|(_, has)| *has).map(|(name, _)| *name).collect::<Vec<_>>().join(" ");
    let fast = all.iter().filter(|(name, _)| *name != "avx512vnni").all(|(_, has)| *has);
    (if has.is_empty() { "no vector instructions beyond SSE".into() } else { has }, fast)
}

#[cfg(not(target_arch = "x86_64"))]
fn cpu_features() -> (String, bool) {
    (std::env::consts::ARCH.to_owned(), true)
}

/// The graphics cards, and why they are not used where they are not.
pub(super) fn gpu() -> Check {
    let cards = cards::nvidia();
    let place = Place::Cuda(0);
    match place.is_built_in() {
        true => gpu_with_cuda(&cards, place.device().map(drop)),
        false if Place::Metal.is_built_in() => match Place::Metal.device() {
            Ok(_) => Check::ok("gpu", "Metal"),
            Err(error) => Check::warn("gpu", format!("{error}"), "the processor does everything"),
        },
        false => gpu_without_cuda(&cards),
    }
}

fn gpu_with_cuda(cards: &[Card], opened: Result<(), EngineError>) -> Check {
    let names = cards
        .iter()
        .map(|card| format!("{} {}, {} of {} MiB free", card.place, card.name, card.free >> 20, card.total >> 20));
    let names = names.collect::<Vec<_>>().join("; ");
    match opened {
        Ok(()) => {
            Check::ok("gpu", if names.is_empty() { "CUDA answers; its memory is unknown".to_owned() } else { names })
        }
        Err(error) if cards.is_empty() => Check::warn(
            "gpu",
            format!("none answers, though this build has CUDA ({error}); the processor does everything"),
            "install NVIDIA's driver for the card (`nvidia-smi` shows it), or use the build without CUDA",
        ),
        Err(error) => Check::warn(
            "gpu",
            format!("{names}; CUDA cannot use it ({error}); the processor does everything"),
            "update NVIDIA's driver: it must be as new as the CUDA this was built with (docs/gpu.md)",
        ),
    }
}

fn gpu_without_cuda(cards: &[Card]) -> Check {
    match cards.len() {
        0 => Check::ok("gpu", "none; the CPU does everything"),
        count => Check::warn(
            "gpu",
            format!("{count} NVIDIA; this build computes on the CPU"),
            "build with `scripts/build-cuda` (docs/gpu.md)",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn card() -> Card {
        Card { place: Place::Cuda(0), name: "RTX 4090".into(), total: 24_564 << 20, free: 23_000 << 20 }
    }

    fn no_driver() -> EngineError {
        EngineError::NotInstalled { what: "CUDA on cuda:0".into(), hint: "the driver says: no device".into() }
    }

    #[test]
    fn a_card_that_is_not_used_is_told_why() {
        let used = gpu_with_cuda(&[card()], Ok(()));
        assert!(used.verdict == Verdict::Ok && used.found.contains("RTX 4090, 23000 of 24564 MiB free"), "{used:?}");
        let none = gpu_with_cuda(&[], Err(no_driver()));
        assert!(none.verdict == Verdict::Warn && none.found.contains("no device"), "{none:?}");
        let old = gpu_with_cuda(&[card()], Err(no_driver()));
        assert!(old.fix.is_some_and(|fix| fix.contains("update NVIDIA's driver")));
        let unbuilt = gpu_without_cuda(&[card()]);
        assert!(unbuilt.fix.is_some_and(|fix| fix.contains("scripts/build-cuda")));
        assert_eq!(gpu_without_cuda(&[]).verdict, Verdict::Ok);
    }

    #[test]
    fn a_plan_that_leaves_no_room_for_the_rest_is_a_warning() {
        let machine = models::memory::Machine { cards: Vec::new(), memory: Some(1 << 30) };
        let plan = models::memory::plan(&machine, &[], 5);
        assert_eq!(memory(&plan, 100 << 20).verdict, Verdict::Ok);
        let tight = memory(&plan, 2 << 30);
        assert!(tight.verdict == Verdict::Warn && tight.found.contains("1024 MiB free, about 2048 MiB"), "{tight:?}");
    }
}
